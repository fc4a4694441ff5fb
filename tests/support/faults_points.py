"""Named points of a pass, and how to stop there.

The product knows nothing of this: a point is a function of its modules that is replaced, where
the code looks it up, by one that first, or afterwards, goes to a meeting. Needs the standard
library only, because stage notebooks of the tests use it as well.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import json
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

PORT_VARIABLE = "FAULTS_PORT"
GO, END = "go", "end"


@dataclass(frozen=True)
class Point:
    """Before or after one call of a function."""

    target: str  # module:name, as the code that calls it looks it up
    after: bool = False
    call: int | None = 1  # which one; None is each


POINTS = {
    "nothing found yet": Point("helpers.batch:get_active_batches"),
    "found, not polled": Point("helpers.monitor.polling_section:jobs_to_poll"),
    "polled, not recorded": Point("helpers.recording:_record"),
    "one chunk recorded of several": Point("helpers.recording:_record", call=2),
    "inside a chunk's transaction": Point("helpers.recording:_worth_keeping"),
    "recorded, not reconciled": Point("helpers.batch:reconcile"),
    "one batch reconciled of several": Point("helpers.batch:reconcile", call=2),
    "batch locked, nothing decided": Point("helpers.batch.reconciling:decide"),
    "status written, not committed": Point("helpers.batch.reconciling:_settle"),
    "all that follows written, not committed": Point(
        "helpers.batch.reconciling:_settle", after=True
    ),
    "batch ended, step not claimed": Point("helpers.chaining.runs:claim"),
    "step claimed, not started": Point("helpers.chaining.runs:claim", after=True),
    "step logged, not started": Point("helpers.step_execution:StepExecution.begin", after=True),
    "notebook about to run": Point("helpers.step_execution:StepExecution.run"),
    "notebook done, not recorded": Point("helpers.step_execution:StepExecution.finish"),
    "end of the step written, not committed": Point(
        "helpers.step_execution:StepExecution._log_end", after=True
    ),
    "cards due, none sent": Point("helpers.notifications.outbox:_send_one"),
    "attempt counted, card not sent": Point("helpers.notifications.outbox:_post"),
    "card sent, not marked": Point("helpers.notifications.outbox:_post", after=True),
    "one card marked, one due": Point("helpers.notifications.outbox:_send_one", call=2),
    "all done, pass not on record": Point("helpers.monitor.monitor_pass:_log_end"),
    "key stored, not posted": Point("helpers.job:_claim_request_id", after=True),
    "posted, id not stored": Point("helpers.job:_record_submission"),
    "locks tried": Point("helpers.monitor.polling_section:_ask", call=None),
    "ready to claim": Point("helpers.step_execution:fail_abandoned", after=True, call=None),
    "ready to send": Point("helpers.monitor.monitor_pass:send_due", call=None),
}


def install(
    name: str,
    reached: Callable[[], object],
    *,
    replace: Callable[[Any, str, Any], object] = setattr,
) -> None:
    """Call ``reached`` whenever this process comes to a point."""
    point = POINTS[name]
    owner, attribute = _owner_of(point.target)
    original = getattr(owner, attribute)
    calls = itertools.count(1)

    @functools.wraps(original)
    def stopped(*args: Any, **kwargs: Any) -> Any:
        number = next(calls)
        here = point.call in {None, number}
        if here and not point.after:
            reached()
        result = original(*args, **kwargs)
        if here and point.after:
            reached()
        return result

    replace(owner, attribute, stopped)


def _owner_of(target: str) -> tuple[Any, str]:
    module, _, path = target.partition(":")
    *owners, attribute = path.split(".")
    return functools.reduce(getattr, owners, importlib.import_module(module)), attribute


def meet(point: str, **facts: Any) -> str:
    """Tell the test where this process stands, and wait for its word: GO or END."""
    with socket.create_connection(("127.0.0.1", int(os.environ[PORT_VARIABLE]))) as meeting:
        line = json.dumps({"point": point, "pid": os.getpid(), **facts})
        meeting.sendall(line.encode() + b"\n")
        with meeting.makefile() as answer:
            return answer.readline().strip() or END  # the test is gone


def stop_at(name: str) -> None:
    """Go to a meeting whenever this process comes to a point."""
    install(name, lambda: meet(name))

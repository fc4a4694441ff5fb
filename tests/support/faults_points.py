"""Named moments of a pass, and how to stop there.

The product knows nothing of this: one table maps each moment to a statement of ``sql/queries``, or
to a function where the code looks it up. What stands there is replaced by something that first, or
afterwards, goes to a meeting. Needs the standard library only, because stage notebooks of the tests
use it as well.
"""

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
class Moment:
    """Before or after one statement, or one call of a function."""

    target: str  # "sql <file>.<query>", or "<module>:<name>" as the code that calls it looks it up
    after: bool = False
    call: int | None = 1  # which one; None is each


MOMENTS = {
    "nothing found yet": Moment("sql batch.active_batches"),
    "found, not polled": Moment("helpers.monitor.polling_section:each_job_to_poll"),
    "polled, not recorded": Moment("sql recording.apply_answers"),
    "one chunk recorded of several": Moment("sql recording.apply_answers", call=2),
    "inside a chunk's transaction": Moment("sql recording.apply_answers", after=True),
    "recorded, not reconciled": Moment("helpers.batch:reconcile"),
    "one batch reconciled of several": Moment("helpers.batch:reconcile", call=2),
    "batch locked, nothing decided": Moment("sql batch.lock_batch", after=True),
    "status written, not committed": Moment("sql batch.end_batch", after=True),
    "all that follows written, not committed": Moment(
        "helpers.notifications.events:announce_batch", after=True
    ),
    "batch ended, step not claimed": Moment("sql chain_runs.claimable_steps"),
    "step locked, rows not stamped": Moment("sql step_claims.take", after=True),
    "step claimed, not started": Moment("helpers.steps.claims:claim_due", after=True),
    "step logged, not started": Moment("helpers.steps.execution:StepExecution.begin", after=True),
    "notebook about to run": Moment("helpers.steps.execution:StepExecution.run"),
    "notebook done, not recorded": Moment("sql steps.run_of_notebook"),
    "end of the step written, not committed": Moment("sql steps.finish_step_run", after=True),
    "verdict recorded, claim not released": Moment("sql step_claims.release"),
    "cards due, none sent": Moment("sql notifications.note_attempt"),
    "attempt counted, card not sent": Moment("helpers.notifications.teams:send"),
    "card sent, not marked": Moment("sql notifications.mark_sent"),
    "one card marked, one due": Moment("sql notifications.note_attempt", call=2),
    "all done, pass not on record": Moment("sql monitor_runs.finish"),
    "key stored, not posted": Moment("helpers.job.submitting:_claim_request_id", after=True),
    "posted, id not stored": Moment("sql job.record_submission"),
    "plan locked, nothing compared": Moment("sql actions.actions_of_plan"),
    "changed, not on record": Moment("sql actions.record_action"),
    "on record, not committed": Moment("sql actions.record_action", after=True),
    "committed, nothing submitted": Moment("helpers.batch.plans.mending:submit_batch"),
    "committed, nothing asked": Moment("helpers.batch.plans.request:RequestPlan._send"),
    "asked once, not again": Moment("helpers.batch.plans.request:RequestPlan._send", call=2),
    "asked, outcome not stored": Moment("sql actions.finish_action"),
    "locks tried": Moment("helpers.monitor.polling_section:each_job_to_poll", call=None),
    "ready to claim": Moment(
        "helpers.monitor.chaining_section:fail_abandoned", after=True, call=None
    ),
    "ready to send": Moment("helpers.monitor.monitor_pass:send_due", call=None),
}


def install(
    name: str,
    reached: Callable[[], object],
    *,
    replace: Callable[[Any, str, Any], object] = setattr,
) -> None:
    """Call ``reached`` whenever this process comes to a moment."""
    moment = MOMENTS[name]
    owner, attribute = _owner_of(moment.target)
    original = getattr(owner, attribute)
    calls = itertools.count(1)

    @functools.wraps(original)
    def stopped(*args: Any, **kwargs: Any) -> Any:
        number = next(calls)
        here = moment.call in {None, number}
        if here and not moment.after:
            reached()
        result = original(*args, **kwargs)
        if here and moment.after:
            reached()
        return result

    replace(owner, attribute, stopped)


def _owner_of(target: str) -> tuple[Any, str]:
    if target.startswith("sql "):
        from helpers.database import queries  # noqa: PLC0415 - not in every notebook

        file, _, query = target.removeprefix("sql ").partition(".")
        return queries(file), query
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
    """Go to a meeting whenever this process comes to a moment."""
    install(name, lambda: meet(name))

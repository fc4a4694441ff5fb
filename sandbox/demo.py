"""``python -m sandbox.demo``: watch a whole cycle run, on this machine alone.

Starts the sandbox, prepares a cycle, starts the first step of each stage as an analyst would,
and then does nothing but run the real monitor notebook, pass after pass, until nothing is
active. A second run starts afresh.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from helpers.database import queries, transaction
from helpers.notebook_executor import execute_next_step
from helpers.notebooks.run import NotebookRun
from helpers.text import counted
from helpers.workflow_paths import MONITOR_NOTEBOOK
from sandbox.demo_cycle import CYCLE_NAME, prepare_cycle
from sandbox.statements import statements
from sandbox.world import SOURCES, open_sandbox, sandbox_parser

_LONGEST_SECONDS = 300.0  # the demo gives up, and says so
_PAUSE_SECONDS = 1.0  # a schedule would wait for the next minute
_PASS_SECONDS = 120.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return 0, or 1 where it did not come to its end."""
    folder = sandbox_parser("sandbox.demo", __doc__).parse_args(arguments).folder
    executed = folder / MONITOR_NOTEBOOK.name
    with open_sandbox(folder, workflows=folder / "workflows", database="demo") as sandbox:
        first_steps = prepare_cycle(SOURCES / "_Template" / "notebooks", sandbox.workflows)
        print(f"The cycle {CYCLE_NAME} is prepared. Starting the first step of each stage:")
        started = all(_start(notebook) for notebook in first_steps)
        print("From here on only the monitor runs, pass after pass:")
        finished = _monitor_until_done(sandbox.workflows / MONITOR_NOTEBOOK, executed)
        print(f"\nThe last executed notebook: {_as_html(executed)}")
        print(_closing_line(len(sandbox.teams.messages)))
    return 0 if started and finished else 1


def _start(notebook: Path) -> bool:
    result = execute_next_step(notebook)
    outcome = "submitted" if result["success"] else f"FAILED: {result['error']}"
    print(
        f"  {notebook.parent.name} / {notebook.stem}: {outcome} ({result['execution_time']:.1f} s)"
    )
    return result["success"]


def _monitor_until_done(notebook: Path, executed: Path) -> bool:
    """Run the monitor notebook until nothing is left to do; False if that did not work out."""
    deadline = time.monotonic() + _LONGEST_SECONDS
    while time.monotonic() < deadline:
        outcome = NotebookRun(notebook, executed, timeout_seconds=_PASS_SECONDS).execute()
        if outcome.error:
            print(f"  The monitor notebook failed: {outcome.error}")
            return False
        _tell_last_pass()
        if not _work_is_left():
            return True
        time.sleep(_PAUSE_SECONDS)
    print(f"  Something is still active after {_LONGEST_SECONDS:.0f} s.")
    return False


def _tell_last_pass() -> None:
    with transaction() as connection:
        run = queries("monitor_runs").last(connection)
    print(
        f"  pass {run['id']}: {counted(run['batches_found'], 'batch', 'batches')} watched, "
        f"{counted(run['jobs_polled'], 'job')} polled, {run['status_changes']} changed status, "
        f"{counted(run['batches_settled'], 'batch', 'batches')} ended, "
        f"{counted(run['chains_run'], 'step')} chained, {counted(run['cards_sent'], 'card')} sent"
    )


def _work_is_left() -> bool:
    with transaction() as connection:
        work: dict[str, int] = queries("monitor_runs").open_work(connection)
    return any(work.values())


def _closing_line(cards: int) -> str:
    with transaction() as connection:
        totals: dict[str, Any] = statements().totals(connection)
    return (
        f"demo: {totals['completed']} batches completed, {totals['failed']} failed, "
        f"{totals['jobs_polled']} jobs polled, {totals['steps_chained']} steps chained, "
        f"{cards} cards sent, {totals['errors']} errors"
    )


def _as_html(executed: Path) -> Path | str:
    from nbconvert import HTMLExporter  # noqa: PLC0415 - heavy, and needed once

    if not executed.exists():
        return "none was written"
    text, _ = HTMLExporter().from_filename(str(executed))
    page = executed.with_suffix(".html")
    page.write_text(text, encoding="utf-8")
    return page


if __name__ == "__main__":
    sys.exit(main())

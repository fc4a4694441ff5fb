"""``python -m helpers.sandbox.demo``: watch a whole cycle run, on this machine alone.

Starts the sandbox, prepares a cycle, starts the first step of each stage as an analyst would,
and then does nothing but run the real monitor notebook, pass after pass, until nothing is
active. A second run starts afresh.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from helpers.constants import JobStatus
from helpers.database import close_pools, queries, transaction
from helpers.database.migrations import migrate
from helpers.notebook_executor import execute_next_step
from helpers.notebook_run import NotebookRun
from helpers.sandbox.demo_cycle import CYCLE_NAME, FAILING_ANALYSES, prepare_cycle
from helpers.sandbox.moodys import MoodysStandIn
from helpers.sandbox.moodys_jobs import Script
from helpers.sandbox.postgres import embedded_postgres, recreate_database
from helpers.sandbox.teams import TeamsStandIn
from helpers.settings import PROJECT_DIR, get_settings
from helpers.text import counted

MONITOR = Path("_Tools", "Batch Management", "Monitor Active Jobs.ipynb")
_SOURCES = PROJECT_DIR / "workflows"
_LONGEST_SECONDS = 300.0  # the demo gives up, and says so
_PAUSE_SECONDS = 1.0  # a schedule would wait for the next minute
_PASS_SECONDS = 120.0


def main() -> int:
    """Run the demo; return 0, or 1 where it did not come to its end."""
    folder = PROJECT_DIR / ".sandbox"
    with sandbox(folder) as teams:
        first_steps = prepare_cycle(
            _SOURCES / "_Template" / "notebooks", get_settings().irp_workflows_dir
        )
        print(f"The cycle {CYCLE_NAME} is prepared. Starting the first step of each stage:")
        for notebook in first_steps:
            _start(notebook)
        print("From here on only the monitor runs, pass after pass:")
        finished = _monitor_until_done(folder / "Monitor Active Jobs.ipynb")
        html = _as_html(folder / "Monitor Active Jobs.ipynb")
        print(f"\nThe last executed notebook: {html}")
        print(_closing_line(len(teams.messages)))
        return 0 if finished else 1


@contextmanager
def sandbox(folder: Path) -> Iterator[TeamsStandIn]:
    """Start the stand-ins and a database of the demo's own, and point the settings at them."""
    workflows = folder / "workflows"
    shutil.rmtree(workflows, ignore_errors=True)
    shutil.copytree(_SOURCES / "_Tools", workflows / "_Tools")
    with (
        embedded_postgres(folder / "postgres", settings={"synchronous_commit": "off"}) as server,
        MoodysStandIn() as moodys,
        TeamsStandIn() as teams,
    ):
        os.environ |= moodys.environment() | {
            "DATABASE_URL": recreate_database(server, "demo"),
            "IRP_WORKFLOWS_DIR": str(workflows),
            "TEAMS_WEBHOOK_URL": teams.webhook_url,
            "PYTHON_DOTENV_DISABLED": "1",  # nothing of the real world reaches the demo
        }
        get_settings.cache_clear()
        _script(moodys)
        migrate()
        try:
            yield teams
        finally:
            close_pools()


def _script(moodys: MoodysStandIn) -> None:
    steps = ((JobStatus.QUEUED, 0.5), (JobStatus.PENDING, 0.5), (JobStatus.RUNNING, 4.0))
    moodys.script(Script(steps))
    moodys.script(Script(((JobStatus.QUEUED, 2.0), (JobStatus.RUNNING, 14.0))), job_type="DLM")
    for name, reason in FAILING_ANALYSES.items():
        ends_badly = Script(((JobStatus.RUNNING, 6.0),), end=JobStatus.FAILED, reason=reason)
        moodys.script(ends_badly, name=name)


def _start(notebook: Path) -> None:
    result = execute_next_step(notebook)
    said = "submitted" if result["success"] else f"FAILED: {result['error']}"
    print(f"  {notebook.parent.name} / {notebook.stem}: {said} ({result['execution_time']:.1f} s)")


def _monitor_until_done(executed: Path) -> bool:
    """Run the monitor notebook until nothing is left to do; False where that took too long."""
    source = get_settings().irp_workflows_dir / MONITOR
    deadline = time.monotonic() + _LONGEST_SECONDS
    while time.monotonic() < deadline:
        outcome = NotebookRun(source, executed, timeout_seconds=_PASS_SECONDS).execute()
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
        f"{counted(run['jobs_polled'], 'job')} polled, {run['status_changes']} moved, "
        f"{counted(run['batches_settled'], 'batch', 'batches')} ended, "
        f"{counted(run['chains_run'], 'step')} chained, {counted(run['cards_sent'], 'card')} sent"
    )


def _work_is_left() -> bool:
    with transaction() as connection:
        work: dict[str, int] = queries("monitor_runs").open_work(connection)
    return any(work.values())


def _closing_line(cards: int) -> str:
    with transaction() as connection:
        totals: dict[str, Any] = queries("sandbox").totals(connection)
    return (
        f"demo: {totals['completed']} batches completed, {totals['failed']} failed, "
        f"{totals['jobs_polled']} jobs polled, {totals['steps_chained']} steps chained, "
        f"{cards} cards sent, {totals['errors']} errors"
    )


def _as_html(executed: Path) -> Path:
    from nbconvert import HTMLExporter  # noqa: PLC0415 - heavy, and needed once

    text, _ = HTMLExporter().from_filename(str(executed))
    page = executed.with_suffix(".html")
    page.write_text(text, encoding="utf-8")
    return page


if __name__ == "__main__":
    sys.exit(main())

"""A world of its own for the demo and for JupyterLab: stand-ins, a database, a workflows folder.

Everything lies below ``.sandbox``, is made afresh each time, and reaches nothing outside.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from helpers.constants import JobStatus
from helpers.database import close_pools
from helpers.database.migrations import migrate
from helpers.settings import PROJECT_DIR, get_settings
from sandbox.demo_cycle import FAILING_ANALYSES
from sandbox.moodys import MoodysStandIn
from sandbox.moodys_jobs import Script
from sandbox.postgres import embedded_postgres, recreate_database
from sandbox.teams import TeamsStandIn

SANDBOX_DIR = PROJECT_DIR / ".sandbox"
SOURCES = PROJECT_DIR / "workflows"

_UNHURRIED = {"synchronous_commit": "off"}  # a practice may lose its last second to a power cut


@dataclass(frozen=True)
class Sandbox:
    """What runs while the sandbox is open."""

    teams: TeamsStandIn
    workflows: Path


@contextmanager
def open_sandbox(folder: Path, *, workflows: Path, database: str) -> Iterator[Sandbox]:
    """Open the sandbox with a fresh workflows folder and database; the settings lead there.

    Args:
        folder: where the server keeps its data.
        workflows: the workflows folder, which is made anew.
        database: its name; one of that name is dropped first.
    """
    shutil.rmtree(workflows, ignore_errors=True)
    shutil.copytree(SOURCES / "_Tools", workflows / "_Tools")
    with (
        embedded_postgres(folder / "postgres", settings=_UNHURRIED) as server,
        MoodysStandIn() as moodys,
        TeamsStandIn() as teams,
    ):
        os.environ |= moodys.environment() | {
            "DATABASE_URL": recreate_database(server, database),
            "IRP_WORKFLOWS_DIR": str(workflows),
            "TEAMS_WEBHOOK_URL": teams.webhook_url,
            "PYTHON_DOTENV_DISABLED": "1",  # nothing of the real world reaches the sandbox
        }
        get_settings.cache_clear()
        _script(moodys)
        migrate()
        try:
            yield Sandbox(teams, workflows)
        finally:
            close_pools()


def sandbox_parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """Return the parser of the arguments that every command of the sandbox takes."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument(
        "--folder",
        type=lambda text: Path(text).resolve(),
        default=SANDBOX_DIR,
        help="where everything is kept (default: .sandbox)",
    )
    return parser


def _script(moodys: MoodysStandIn) -> None:
    """Make the jobs quick enough to watch, and let two analyses fail."""
    steps = ((JobStatus.QUEUED, 0.5), (JobStatus.PENDING, 0.5), (JobStatus.RUNNING, 4.0))
    moodys.script(Script(steps))
    moodys.script(Script(((JobStatus.QUEUED, 2.0), (JobStatus.RUNNING, 14.0))), job_type="DLM")
    for name, reason in FAILING_ANALYSES.items():
        ends_badly = Script(((JobStatus.RUNNING, 6.0),), end=JobStatus.FAILED, reason=reason)
        moodys.script(ends_badly, name=name)

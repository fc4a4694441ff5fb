"""A world of its own for the demo and the lab: stand-ins, a database, a workflows folder.

Everything lies below ``.sandbox`` and reaches nothing outside. One process at a time uses it, and
says so in a file that it holds locked; the system takes the lock away from one that is killed.
"""

import argparse
import contextlib
import fcntl
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from helpers.constants import JobStatus
from helpers.database import close_pools
from helpers.database.migrations import migrate
from helpers.identity import host_name
from helpers.settings import PROJECT_DIR, get_settings
from sandbox.demo_cycle import FAILING_ANALYSIS, FAILURE
from sandbox.guard import is_alive
from sandbox.moodys import MoodysStandIn
from sandbox.moodys_jobs import Script
from sandbox.postgres import embedded_postgres, ensure_database, recreate_database
from sandbox.teams import TeamsStandIn

SANDBOX_DIR = PROJECT_DIR / ".sandbox"
SOURCES = PROJECT_DIR / "workflows"

LAB_URL = "http://127.0.0.1:8888/lab"
# Nothing of the real world reaches the sandbox: no webhook, no database, no team's own packages.
_REAL = ("RISK_MODELER_", "TEAMS_", "MONITOR_", "IRP_", "PG", "PYTHONPATH")
_UNHURRIED = {"synchronous_commit": "off"}  # a practice may lose its last second to a power cut
_LOCK_SECONDS = 5.0  # in which what a killed one has left is stopped


class InUseError(Exception):
    """Another process uses this world."""


@contextmanager
def alone(folder: Path, *, what: str) -> Iterator[int]:
    """Be the only one that uses this folder; give the descriptor of the file that is locked.

    Args:
        folder: made if it does not exist.
        what: is told to those who come later.

    Raises:
        InUseError: another process uses it; the message says which one, and nothing was touched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "in-use").open("a+", encoding="utf-8") as file:
        _lock(file, folder)
        file.truncate(0)
        file.write(f"{what}, process {os.getpid()} on {host_name()}, since {time.ctime()}")
        file.flush()
        yield file.fileno()


def _lock(file: IO[str], folder: Path) -> None:
    """Lock the file; wait for what guards one that was killed, and not for one that goes on."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        with contextlib.suppress(BlockingIOError):
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.seek(0)
        who = file.read()
        if any(map(is_alive, map(int, re.findall(r"process (\d+)", who)))) or (
            time.monotonic() > deadline
        ):
            raise InUseError(
                f"{folder} is in use: {who}. Nothing was touched. End that one first, or "
                "use another folder: ARGS=--folder=…"
            )
        time.sleep(0.05)


@contextmanager
def open_sandbox(
    folder: Path, name: str, *, workflows: Path, hold: int, fresh: bool, time_scale: float = 1.0
) -> Iterator[TeamsStandIn]:
    """Open the world of this name; the settings lead there. Give the stand-in for Teams.

    Args:
        folder: where the server keeps its data.
        name: of its database, and of what Moody's knows.
        workflows: the workflows folder.
        hold: what ``alone`` has given.
        fresh: make all anew, and do not go on with what is there.
        time_scale: what the seconds that a job takes are multiplied with.
    """
    for variable in [one for one in os.environ if one.startswith(_REAL)]:
        del os.environ[variable]
    memory = folder / f"{name}-moodys.pickle"
    if fresh:
        shutil.rmtree(workflows, ignore_errors=True)
        memory.unlink(missing_ok=True)
    for part in ("_Tools", "_Template"):
        if not (workflows / part).exists():
            shutil.copytree(SOURCES / part, workflows / part)
    with (
        embedded_postgres(folder / "postgres", settings=_UNHURRIED, hold=(hold,)) as server,
        MoodysStandIn(time_scale=time_scale, memory=memory, script=_script) as moodys,
        TeamsStandIn() as teams,
    ):
        make = recreate_database if fresh else ensure_database
        os.environ |= moodys.environment() | {
            "DATABASE_URL": make(server, name),
            "IRP_WORKFLOWS_DIR": str(workflows),
            "TEAMS_WEBHOOK_URL": teams.webhook_url,
            "PYTHON_DOTENV_DISABLED": "1",
        }
        get_settings.cache_clear()
        migrate()
        try:
            yield teams
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


def end_on_signals(end: Callable[[], object]) -> None:
    """Call ``end`` for whatever asks this process to end.

    Also for a SIGINT that a shell lets be ignored by what it starts in the background.
    """
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, lambda *_: end())


def _script(moodys: MoodysStandIn) -> None:
    """Make the jobs quick enough to watch, and let one analysis fail the first time."""
    steps = ((JobStatus.QUEUED, 0.5), (JobStatus.PENDING, 0.5), (JobStatus.RUNNING, 4.0))
    moodys.script(Script(steps))
    moodys.script(Script(((JobStatus.QUEUED, 2.0), (JobStatus.RUNNING, 14.0))), job_type="DLM")
    fails = Script(((JobStatus.RUNNING, 6.0),), end=JobStatus.FAILED, reason=FAILURE)
    moodys.script(fails, name=FAILING_ANALYSIS, times=1)

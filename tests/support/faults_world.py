"""A metastore, a Moody's and a Teams around real monitors that a test may stop and kill."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import psutil
import psycopg

from helpers.constants import BatchStatus, BatchType, JobStatus
from sandbox.moodys import MoodysStandIn
from sandbox.seeding import PreparedJob, add_batch, add_step
from sandbox.teams import TeamsStandIn

SUPPORT = Path(__file__).parent
DEADLINE_SECONDS = 120.0  # no wait of a healthy run comes near it, on a busy machine either
MARK, MARKS, GATE, FOLDER = "FAULTS_MARK", "FAULTS_MARKS", "FAULTS_GATE", "FAULTS_SUPPORT"

# What a chained notebook of these tests does: holds a lock for as long as its kernel lives, starts
# a program that outlives it, and notes when it starts and ends.
WORK = f"""
import fcntl, os, pathlib, subprocess, time

def mark(what):
    with open(os.environ["{MARKS}"], "a") as marks:
        marks.write(f"{{what}} {{pathlib.Path.cwd().name}} {{os.getpid()}}\\n")

alone = open("alone.lock", "w")
try:
    fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    mark("overlap")
subprocess.Popen(["sleep", "600"], start_new_session=True)
mark("start")
while not os.path.exists(os.environ["{GATE}"]):
    time.sleep(0.02)
mark("end")
"""


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """Return the condition's value once it is true."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.02)
    return value


class Stop:
    """A process that waits at a point for the test's word."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        connection.settimeout(DEADLINE_SECONDS)
        with connection.makefile() as lines:
            self.facts: dict[str, Any] = json.loads(lines.readline())

    @property
    def point(self) -> str:
        return str(self.facts["point"])

    def answer(self, word: str) -> None:
        with contextlib.suppress(OSError):  # it may be dead
            self._connection.sendall(f"{word}\n".encode())
        self._connection.close()


class Meeting:
    """Where processes say that they have come to a point; a context manager."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(0.2)
        self.port = self._socket.getsockname()[1]

    def next_stop(self, *monitors: subprocess.Popen[bytes]) -> Stop:
        """Return the next process that arrives; fail where one of the monitors ends instead."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                return Stop(self._socket.accept()[0])
            ended = [monitor.returncode for monitor in monitors if monitor.poll() is not None]
            assert not ended, f"ended before it came to the point: {ended}"
        raise AssertionError("nobody came to the point")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


@dataclass
class World:
    """What monitors of one test share."""

    sql: psycopg.Connection
    moodys: MoodysStandIn
    teams: TeamsStandIn
    meeting: Meeting
    workflows: Path
    folder: Path
    mark: str = field(default_factory=lambda: uuid4().hex)
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def gate(self) -> Path:
        """Notebooks run to their end where this file exists."""
        return self.folder / "gate"

    @property
    def marks_file(self) -> Path:
        return self.folder / "marks"

    def environment(self) -> dict[str, str]:
        return {
            **self.moodys.environment(),
            "TEAMS_WEBHOOK_URL": self.teams.webhook_url,
            "IRP_WORKFLOWS_DIR": str(self.workflows),
            MARK: self.mark,
            MARKS: str(self.marks_file),
            GATE: str(self.gate),
            FOLDER: str(SUPPORT),
        }

    def add_watched(
        self,
        cycle_id: int,
        location: tuple[int, int],
        batch_type: BatchType,
        family: str,
        at_moodys: Sequence[str],
    ) -> int:
        """Add an ACTIVE batch whose submitted jobs have come so far at Moody's; return its id."""
        stage_num, step_num = location
        prepared = [
            PreparedJob(JobStatus.SUBMITTED, self.moodys.add_job(family, status=status))
            for status in at_moodys
        ]
        step = add_step(cycle_id, stage_num=stage_num, step_num=step_num)
        return add_batch(step, batch_type, prepared, status=BatchStatus.ACTIVE).batch_id

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a monitor that stops at these points."""
        script = [str(SUPPORT / "faults_monitor.py"), *arguments]
        return self._run(script, {"FAULTS_PORT": str(self.meeting.port), **environment})

    def apply(self, plan_id: object, point: str, call: str) -> subprocess.Popen[bytes]:
        """Let a person apply a plan in a process of its own that stops at a point."""
        script = [str(SUPPORT / "faults_hand.py"), str(plan_id), point, call]
        return self._run(script, {"FAULTS_PORT": str(self.meeting.port)})

    def _run(self, command: list[str], more: dict[str, str]) -> subprocess.Popen[bytes]:
        environment = {**os.environ, **self.environment(), **more}
        with self.output(len(self.started)).open("wb") as output:
            monitor = subprocess.Popen(
                [sys.executable, *command],
                env=environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.started.append(monitor)
        return monitor

    def output(self, number: int) -> Path:
        return self.folder / f"output {number}"

    def output_of(self, monitor: subprocess.Popen[bytes]) -> str:
        return self.output(self.started.index(monitor)).read_text()

    def normal_pass(self) -> str:
        """Run one pass as cron does, to its end; return what it printed."""
        monitor = self._run(["-m", "helpers.monitor"], {})
        monitor.wait(DEADLINE_SECONDS)
        message = self.output_of(monitor)
        assert monitor.returncode in {0, 1}, message
        assert "Traceback" not in message, message
        return message

    def marks(self, what: str, folder: str = "") -> list[str]:
        """Return the notes of this kind that notebooks left."""
        lines = self.marks_file.read_text().splitlines() if self.marks_file.exists() else []
        return [line for line in lines if line.startswith(f"{what} {folder}")]

    def end_connections(self) -> None:
        """End every connection to this metastore but the test's own."""
        self.sql.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    def age_heartbeats(self) -> None:
        """Let 90 s pass for those who watch for a sign of life."""
        self.sql.execute(
            "UPDATE irp_step_claim SET claim_expires_ts = claim_expires_ts - interval '91 s'"
            " WHERE owner IS NOT NULL"
        )

    def processes(self) -> list[str]:
        """Return what still runs of all that this test's monitors have started."""
        return list(_processes_marked(self.mark))

    def sessions(self) -> int:
        query = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        return int(self.sql.execute(query).fetchall()[0][0])

    def wait_until_nothing_is_left(self) -> None:
        wait_until(lambda: not self.processes(), "processes end")
        wait_until(lambda: not self.sessions(), "the server notices")

    def close(self) -> None:
        """Leave nothing behind, also where a test has failed."""
        for monitor in self.started:
            monitor.kill()
            monitor.wait()
        for process in psutil.process_iter():
            if _is_marked(process, self.mark):
                with contextlib.suppress(psutil.Error):
                    process.send_signal(signal.SIGKILL)


def _processes_marked(mark: str) -> Iterator[str]:
    for process in psutil.process_iter():
        if _is_marked(process, mark):
            with contextlib.suppress(psutil.Error):
                yield f"{process.pid} {process.name()}"


def _is_marked(process: psutil.Process, mark: str) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == mark
    except (psutil.Error, OSError):
        return False

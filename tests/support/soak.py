"""Monitors that are killed, frozen and restarted for a while, and a team that keeps them busy."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from helpers.constants import BatchStatus, BatchType, JobStatus
from helpers.errors import DatabaseError
from sandbox.seeding import PreparedJob, add_batch, add_cycle, add_step
from tests.support.notebooks import step_notebook
from tests.support.own_postgres import OwnPostgres
from tests.support.soak_judge import Due, Fault, Strike

MONITORS = 4
CYCLES = ("Q1", "Q2", "Q3")
LOCATIONS = {
    (4, 1): BatchType.ANALYSIS,
    (5, 1): BatchType.GROUPING,
    (6, 1): BatchType.EXPORT_TO_RDM,
}
LEDGER = "SOAK_LEDGER"
LONGEST_FREEZE_SECONDS = 180.0
_TICK_SECONDS = 0.01
_CALM_SECONDS = 30.0  # between strikes on one monitor, on average
_RESTART_SECONDS = 150.0  # between restarts of the database, on average
_AIMED = 0.1  # of the runs that end have their monitor killed just then
_DRAIN_SECONDS = 400.0  # what was struck last waits 90 s for its claim's end, and runs again

# What each notebook notes by itself. Its lock is inherited by a program that outlives the kernel,
# so it is held until everything that the notebook has started is gone.
OPEN = f"""
import fcntl, json, os, random, subprocess, threading, time
import psutil

step_id, attempt = map(int, os.environ["IRP_STEP_CLAIM"].split(":"))
monitor = psutil.Process(os.getppid()).ppid()

def note(what):
    mark = {{"what": what, "step": step_id, "attempt": attempt, "pid": os.getpid(),
            "monitor": monitor, "ts": time.time()}}
    ledger = os.open(os.environ["{LEDGER}"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(ledger, (json.dumps(mark) + "\\n").encode())
    os.close(ledger)

def live():
    while True:
        time.sleep(0.1)
        note("alive")

note("start")
alone = open(f"alone-{{step_id}}.lock", "w")
try:
    fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    note("overlap")
subprocess.Popen(["sleep", "600"], start_new_session=True, pass_fds=[alone.fileno()])
threading.Thread(target=live, daemon=True).start()
"""
WORK = "time.sleep(random.choice([0.1, 1, 3, 8, 20]) * random.random())"
FAIL = "if random.random() < 0.05:\n    note('end')\n    raise ValueError('as planned')"
LAST = "note('last')\nnote('end')"


@dataclass
class _Monitor:
    process: subprocess.Popen[bytes]
    next_strike: float
    frozen_at: float | None = None
    back_at: float = 0.0  # when a frozen one goes on, or a dead one is started again

    @property
    def is_dead(self) -> bool:
        return self.process.poll() is not None


@dataclass
class Soak:
    """One soak: ``run`` it, then read ``runs``, ``dues`` and ``faults``."""

    server: OwnPostgres
    sql_url: str
    workflows: Path
    folder: Path
    rng: random.Random
    longest_freeze: float = LONGEST_FREEZE_SECONDS
    faults: list[Fault] = field(default_factory=list)
    _kinds: dict[int, BatchType] = field(default_factory=dict)  # by step
    _next: dict[int, float] = field(default_factory=dict)  # when a step gets something to do
    _monitors: list[_Monitor] = field(default_factory=list)
    _read: int = 0  # bytes of the ledger
    _aims: list[tuple[float, int]] = field(default_factory=list)  # when to kill which pid

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger"

    def prepare(self) -> None:
        """Make cycles of steps that lead on to notebooks."""
        for name in CYCLES:
            cycle = add_cycle(name)
            for (stage, step), kind in LOCATIONS.items():
                where = {"cycle": name, "stage_num": stage, "step_num": step + 1}
                step_notebook(self.workflows, OPEN, WORK, WORK, FAIL, LAST, **where)
                first = add_step(cycle, stage_num=stage, step_num=step)
                add_step(cycle, stage_num=stage, step_num=step + 1)
                self._kinds[first], self._next[first] = kind, 0.0

    def run(self, seconds: float) -> None:
        """Let monitors work under strikes for so long, and then without until all is served."""
        over = time.time() + seconds
        next_restart = time.time() + self.rng.expovariate(1 / _RESTART_SECONDS)
        self._monitors = [self._started() for _ in range(MONITORS)]
        try:
            while time.time() < over:
                if time.time() > next_restart:
                    self._restart_database()
                    next_restart = time.time() + self.rng.expovariate(1 / _RESTART_SECONDS)
                self._make_due()
                for monitor in self._monitors:
                    self._strike(monitor)
                self._aim()
                time.sleep(_TICK_SECONDS)
            self._drain()
        finally:
            self._end()

    def _started(self) -> _Monitor:
        with (self.folder / f"monitor {time.time()}").open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.soak_monitor"],
                env={**os.environ, LEDGER: str(self.ledger)},
                cwd=Path(__file__).parents[2],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        return _Monitor(process, time.time() + self.rng.expovariate(1 / _CALM_SECONDS))

    def _strike(self, monitor: _Monitor) -> None:
        now = time.time()
        if monitor.is_dead:
            if now > monitor.back_at:
                self._monitors[self._monitors.index(monitor)] = self._started()
        elif monitor.frozen_at is not None:
            if now > monitor.back_at:
                self._thaw(monitor)
        elif now > monitor.next_strike:
            self._hit(monitor, now)

    def _hit(self, monitor: _Monitor, now: float) -> None:
        match self.rng.choices([Strike.KILL, Strike.FREEZE, Strike.TERM], [5, 4, 1])[0]:
            case Strike.KILL:
                self._kill(monitor)
            case Strike.FREEZE:
                monitor.frozen_at = now
                # Short ones, some beyond the lease of 45 s, and some beyond the claim's 90 s.
                longest = self.rng.choice([15.0, 80.0, LONGEST_FREEZE_SECONDS])
                monitor.back_at = now + self.rng.uniform(1, min(longest, self.longest_freeze))
                monitor.process.send_signal(signal.SIGSTOP)
            case Strike.TERM:
                self.faults.append(Fault(Strike.TERM, monitor.process.pid, now))
                monitor.process.terminate()
                monitor.next_strike = now + 60  # it may wait for a notebook's end
                monitor.back_at = now

    def _kill(self, monitor: _Monitor) -> None:
        self._thaw(monitor)
        self.faults.append(Fault(Strike.KILL, monitor.process.pid, time.time()))
        monitor.process.kill()
        monitor.process.wait()
        monitor.back_at = time.time() + self.rng.uniform(0, 5)

    def _thaw(self, monitor: _Monitor) -> None:
        if monitor.frozen_at is None:
            return
        frozen_at, now = monitor.frozen_at, time.time()
        self.faults.append(Fault(Strike.FREEZE, monitor.process.pid, frozen_at, now))
        monitor.frozen_at = None
        monitor.next_strike = now + self.rng.expovariate(1 / _CALM_SECONDS)
        monitor.process.send_signal(signal.SIGCONT)

    def _aim(self) -> None:
        """Kill some monitors in the moment in which the last cell of a notebook has ended."""
        if not self.ledger.exists():
            return
        with self.ledger.open("rb") as ledger:
            ledger.seek(self._read)
            *lines, rest = ledger.read().split(b"\n")
            self._read = ledger.tell() - len(rest)
        for mark in map(json.loads, lines):
            if mark["what"] == "end" and self.rng.random() < _AIMED:
                self._aims.append((time.time() + self.rng.uniform(0, 0.06), mark["monitor"]))
        due = [pid for at, pid in self._aims if at <= time.time()]
        self._aims = [aim for aim in self._aims if aim[0] > time.time()]
        for monitor in self._monitors:
            if monitor.process.pid in due and not monitor.is_dead:
                self._kill(monitor)

    def _restart_database(self) -> None:
        self.faults.append(Fault(Strike.RESTART, None, time.time()))
        self.server.restart()

    def _make_due(self) -> None:
        """End a batch of each step that has nothing to do, after a while."""
        for step_id in [step for step, at in self._next.items() if time.time() > at]:
            self._next[step_id] = time.time() + self.rng.uniform(1, 8)
            try:
                if not self._is_busy(step_id):
                    job = PreparedJob(JobStatus.FINISHED)
                    add_batch(step_id, self._kinds[step_id], [job], status=BatchStatus.ACTIVE)
            except (DatabaseError, psycopg.Error):  # it is being restarted
                return

    def _is_busy(self, step_id: int) -> bool:
        query = (
            "SELECT FROM irp_batch AS batch"
            " LEFT JOIN irp_chain_run AS run ON run.batch_id = batch.id"
            " WHERE batch.step_id = %s AND (batch.status = 'ACTIVE' OR run.completed_ts IS NULL)"
        )
        with psycopg.connect(self.sql_url) as sql:
            return sql.execute(query, [step_id]).fetchone() is not None

    def _drain(self) -> None:
        for monitor in self._monitors:
            self._thaw(monitor)
            monitor.next_strike = float("inf")
        until = time.time() + _DRAIN_SECONDS
        while any(self._is_busy(step_id) for step_id in self._kinds) and time.time() < until:
            for monitor in self._monitors:
                self._strike(monitor)
            time.sleep(0.2)

    def _end(self) -> None:
        for monitor in self._monitors:
            self._thaw(monitor)
            monitor.process.terminate()
        for monitor in self._monitors:
            try:
                monitor.process.wait(60)
            finally:
                monitor.process.kill()
                monitor.process.wait()

    def dues(self) -> list[Due]:
        """Return the chain runs; each was written last by the transaction that ended it."""
        query = (
            "SELECT id, next_step_id, extract(epoch FROM created_ts)::float8, status::text,"
            " coalesce(error_message, ''), served_by,"
            " extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8"
            " FROM irp_chain_run ORDER BY id"
        )
        with psycopg.connect(self.sql_url) as sql:
            return [Due(*row) for row in sql.execute(query)]

    def timeline(self) -> str:
        """Return the strikes in their order, for the report of a failure."""
        return "\n".join(
            f"{fault.ts:.2f} {fault.strike} {fault.pid or ''}"
            + (f" until {fault.until:.2f}" if fault.until else "")
            for fault in sorted(self.faults, key=lambda fault: fault.ts)
        )

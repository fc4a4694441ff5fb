"""Where the simulation takes hold of the product: threads, waiting, processes and connections.

Everything else is the product's own: its SQL, its decisions, its passes.
"""

import os
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, Future
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import psycopg

from helpers import identity
from helpers.batch import submitting
from helpers.database import connection as connections
from helpers.irp_integration import polling
from helpers.notifications import teams
from helpers.steps import acting, execution, heartbeat, runner
from tests.simulation.baton import (
    InlinePool,
    Scheduler,
    SimulatedEvent,
    SimulatedPool,
    SimulatedThread,
    current_process,
)

BEAT_SECONDS = 15.0  # of simulated time: a beat costs what it costs in real time


class _InlineThread:
    """A thread of the poller, which does all its work before its start returns."""

    def __init__(self, *, target: Callable[[], None], **_names: object) -> None:
        self.start = target


class _Condition(threading.Condition):
    """A condition for which nobody else is there: who waits lets time pass."""

    def __init__(self, scheduler: Scheduler, lock: Any) -> None:
        super().__init__(lock)
        self._scheduler = scheduler

    def wait(self, timeout: float | None = None) -> bool:
        self._scheduler.pause(timeout or 0.0)
        return False

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        return predicate() or (self.wait(timeout) or predicate())


class Database:
    """Lets others go on before each transaction and connection, and refuses both in an outage."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.down_until = -1.0
        self.transactions = 0
        self._scheduler = scheduler
        self._opens_pool = False
        self._pool, self._connect = connections._pool, psycopg.connect

    def _enter(self) -> None:
        self._scheduler.boundary()
        self.transactions += 1
        if self._scheduler.elapsed < self.down_until:
            raise psycopg.OperationalError("the simulated database is down")

    def pool(self, info: str) -> Any:
        if current_process() is None:
            return self._pool(info)
        self._enter()
        self._opens_pool = True  # under a lock, for which nobody may wait who holds the baton
        try:
            return self._pool(info)
        finally:
            self._opens_pool = False

    def connect(self, *where: Any, **how: Any) -> Any:
        process = current_process()
        if process is None or self._opens_pool:
            return self._connect(*where, **how)
        self._enter()
        connection = self._connect(*where, **how)
        process.connections = [held for held in process.connections if not held.closed]
        process.connections.append(connection)
        return connection


def _wait(
    scheduler: Scheduler, futures: Collection[Future[Any]], return_when: str = FIRST_COMPLETED
) -> None:
    assert return_when == FIRST_COMPLETED
    scheduler.wait_for(lambda: any(future.done() for future in futures))


def _environment() -> dict[str, str]:
    process = current_process()
    return {**os.environ, **process.environment} if process else dict(os.environ)


class _Environ:
    def get(self, name: str, default: Any = None) -> Any:
        return _environment().get(name, default)


def _getpid() -> int:
    process = current_process()
    return process.pid if process else os.getpid()


@contextmanager
def simulated(
    scheduler: Scheduler, database: Database, *, notebook_run: type, send: Callable[..., None]
) -> Iterator[None]:
    """Run the product on a scheduler while the block runs."""
    system = SimpleNamespace(environ=_Environ(), getpid=_getpid, getuid=os.getuid)
    threads = SimpleNamespace(
        Thread=lambda target, **_names: SimulatedThread(scheduler, target),
        Event=partial(SimulatedEvent, scheduler),
        Lock=threading.Lock,
    )
    inline = SimpleNamespace(
        Thread=_InlineThread, Lock=threading.Lock, Condition=partial(_Condition, scheduler)
    )
    seams: list[tuple[Any, str, Any]] = [
        (identity, "os", system),
        (acting, "os", system),
        (acting, "_lock", nullcontext()),
        (heartbeat, "threading", threads),
        (heartbeat, "BEAT_SECONDS", BEAT_SECONDS),
        (heartbeat, "lease_clock", lambda: scheduler.elapsed),
        (execution, "lease_clock", lambda: scheduler.elapsed),
        (execution, "NotebookRun", notebook_run),
        (runner, "ThreadPoolExecutor", lambda *_, **__: SimulatedPool(scheduler)),
        (runner, "wait", partial(_wait, scheduler)),
        (submitting, "ThreadPoolExecutor", InlinePool),
        (polling, "threading", inline),
        (connections, "_pool", database.pool),
        (psycopg, "connect", database.connect),
        (teams, "send", send),
    ]
    with ExitStack() as stack:
        for target, name, value in seams:
            stack.enter_context(patch.object(target, name, value))
        yield

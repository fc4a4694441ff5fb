"""Hand-overs from a finished batch to the next step: one row each, claimed by one owner.

That a step is started exactly once rests on two unique keys and one guarded UPDATE here, and
on nothing that any pass remembers. An owner renews its heartbeat; one that has fallen silent
loses the claim, and after three attempts people look first.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypedDict

from helpers.chaining.rules import ChainRule
from helpers.constants import ChainRunStatus
from helpers.database import connect, queries, transaction, translated_errors
from helpers.errors import DatabaseError
from helpers.identity import owner_id
from helpers.redaction import redact
from helpers.text import clean

log = logging.getLogger(__name__)

MOST_ATTEMPTS = 3
CLAIM_EXPIRES = timedelta(seconds=90)
"""How long an owner may be silent before others may take its claim."""

HEARTBEAT_SECONDS = 10.0
# When the claim expires the notebook must be gone: ending it takes up to 15 s.
_SILENCE_SECONDS = 45.0
_LOOK_SECONDS = 1.0
_BEAT_LIMIT = "8s"  # for one beat, whatever it waits for
_GOODBYE_SECONDS = 15.0  # for a beat that is under way
_UNIQUE_VIOLATION = "23505"  # PostgreSQL's appendix A


@dataclass(frozen=True)
class ChainRun:
    """A hand-over that this process has claimed."""

    id: int
    batch_id: int
    activation_num: int
    stage_num: int
    from_step_num: int
    next_step_num: int
    next_step_id: int | None  # None: the cycle has no such step
    attempt: int


class OpenChainRun(TypedDict):
    """A hand-over that is due or running."""

    id: int
    batch_id: int
    stage_num: int
    from_step_num: int
    next_step_num: int
    status: str
    attempt: int
    owner: str | None
    heartbeat_ts: datetime | None
    started_ts: datetime | None
    cycle_name: str
    cycle_status: str


class AbandonedChainRun(TypedDict):
    """A hand-over that was given up."""

    id: int
    batch_id: int
    activation_num: int
    stage_num: int
    from_step_num: int
    next_step_num: int
    next_step_id: int | None
    notebook_path: str | None
    step_run_id: int | None
    error_message: str


def make_due(batch_id: int, activation_num: int, rule: ChainRule) -> None:
    """Make the next step due, once per activation, in the transaction that ends the batch."""
    with transaction() as connection:
        queries("chain_runs").due(
            connection,
            batch_id=batch_id,
            activation_num=activation_num,
            stage_num=rule.stage_num,
            from_step_num=rule.step_num,
            next_step_num=rule.next_step_num,
        )


def open_runs() -> list[OpenChainRun]:
    """Return the hand-overs that are due or running, oldest first."""
    with transaction() as connection:
        return list(queries("chain_runs").open_runs(connection))


def claim(*, next_step_id: int | None = None) -> ChainRun | None:
    """Take the oldest hand-over that is due, or whose owner is dead; None where there is none.

    Args:
        next_step_id: only a hand-over to this step.
    """
    try:
        with transaction() as connection:
            row = queries("chain_runs").claim(
                connection,
                owner=owner_id(),
                most_attempts=MOST_ATTEMPTS,
                next_step_id=next_step_id,
                expires=CLAIM_EXPIRES,
            )
    except DatabaseError as exc:
        if exc.sqlstate == _UNIQUE_VIOLATION:
            return None  # another hand-over to the same step was claimed at this very moment
        raise
    return None if row is None else ChainRun(**row)


def owner_at_work(next_step_id: int) -> str | None:
    """Return who runs a step's notebook at this moment; None where nobody does."""
    with transaction() as connection:
        row = queries("chain_runs").running_now(
            connection, next_step_id=next_step_id, expires=CLAIM_EXPIRES
        )
    return None if row is None else str(row["owner"])


def close_abandoned() -> list[AbandonedChainRun]:
    """Cancel what was overtaken and fail what no attempt brought to an end; return the latter."""
    with transaction() as connection:
        queries("chain_runs").cancel_overtaken(
            connection,
            reason="The batch became active again before this step had run.",
            expires=CLAIM_EXPIRES,
        )
        return list(
            queries("chain_runs").give_up(
                connection,
                most_attempts=MOST_ATTEMPTS,
                reason=f"Each of {MOST_ATTEMPTS} attempts ended with the monitor that ran it. "
                "Look at the step's notebook, and run it by hand.",
                expires=CLAIM_EXPIRES,
            )
        )


def note_start(run: ChainRun, *, step_run_id: int, notebook_path: str) -> bool:
    """Say which notebook is about to run, and where its step run is logged.

    Returns:
        False where this process no longer owns the hand-over.
    """
    with transaction() as connection:
        changed = queries("chain_runs").note_start(
            connection,
            id=run.id,
            owner=owner_id(),
            step_run_id=step_run_id,
            notebook_path=notebook_path,
        )
    return bool(changed)


def finish(run: ChainRun, *, error: str | None) -> bool:
    """Record how a hand-over ended; False where this process no longer owns it."""
    status = ChainRunStatus.COMPLETED if error is None else ChainRunStatus.FAILED
    with transaction() as connection:
        changed = queries("chain_runs").finish(
            connection, id=run.id, owner=owner_id(), status=status, error=error and clean(error)
        )
    return bool(changed)


def release(run: ChainRun, *, reason: str) -> None:
    """Give a hand-over back that was stopped on the way; the next pass claims it again."""
    with transaction() as connection:
        queries("chain_runs").release(connection, id=run.id, owner=owner_id(), reason=reason)


class Heartbeat:
    """Renews this process's claims in a thread, on a connection of its own.

    Calls ``on_loss(run_id)`` for a claim that was lost, or that could not be renewed for so long
    that another monitor may soon take it. A second thread judges that, because a beat may hang.
    """

    def __init__(self, on_loss: Callable[[int], None]) -> None:
        self._on_loss = on_loss
        self._renewed: dict[int, float] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [
            self._thread(self.beat, HEARTBEAT_SECONDS),
            self._thread(self.tell_the_silent, _LOOK_SECONDS),
        ]

    def _thread(self, action: Callable[[], None], every: float) -> threading.Thread:
        def repeat() -> None:
            while not self._stop.wait(every):
                action()

        return threading.Thread(target=repeat, name="heartbeat", daemon=True)

    def add(self, run: ChainRun) -> None:
        """Keep this claim alive from now on."""
        with self._lock:
            self._renewed[run.id] = time.monotonic()
        for thread in self._threads:
            if not thread.is_alive():
                thread.start()

    def remove(self, run: ChainRun) -> None:
        """Let go of a claim whose notebook has ended."""
        with self._lock:
            self._renewed.pop(run.id, None)

    def stop(self) -> None:
        """End the threads; a beat that hangs is left to end by itself."""
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(_GOODBYE_SECONDS)

    def beat(self) -> None:
        """Renew every claim once."""
        begun = time.monotonic()
        with self._lock:
            ids = list(self._renewed)
        if not ids:
            return
        try:
            kept = self._renew(ids)
        except Exception as exc:  # noqa: BLE001 - whatever it is, nothing was renewed
            log.warning("Claims were not renewed: %s", redact(f"{type(exc).__name__}: {exc}"))
            return
        with self._lock:
            self._renewed.update((i, begun) for i in kept if i in self._renewed)
        self._lose(set(ids) - kept)

    def tell_the_silent(self) -> None:
        """Lose the claims that could not be renewed for too long."""
        with self._lock:
            longest_ago = time.monotonic() - _SILENCE_SECONDS
            silent = {run_id for run_id, renewed in self._renewed.items() if renewed < longest_ago}
        self._lose(silent)

    def _lose(self, ids: set[int]) -> None:
        for run_id in ids:
            with self._lock:
                still_running = self._renewed.pop(run_id, None) is not None
            if still_running:
                self._on_loss(run_id)

    def _renew(self, ids: list[int]) -> set[int]:
        # A new connection each time costs a few milliseconds in ten seconds, and survives restarts.
        with connect(application_name="monitor heartbeat") as connection, translated_errors():
            queries("connection").limit_statements(connection, limit=_BEAT_LIMIT)
            rows = queries("chain_runs").heartbeat(connection, owner=owner_id(), ids=ids)
            return {row["id"] for row in rows}

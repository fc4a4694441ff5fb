"""What people do in a step: they hold its claim meanwhile, so that no monitor runs it beside them.

In a kernel that a claim runs, that claim is meant, and is not taken again.
"""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from helpers.clock import CLOCK
from helpers.constants import StepStatus
from helpers.database import queries, transaction
from helpers.errors import BatchError, DatabaseError, DatabaseUnavailableError
from helpers.identity import owner_id, person
from helpers.redaction import describe
from helpers.steps import claims
from helpers.steps.claims import Claim
from helpers.steps.heartbeat import Heartbeat
from helpers.steps.signals import deferred_signals

STEP_CLAIM_VARIABLE = "IRP_STEP_CLAIM"
"""Tells a kernel under which claim it runs: ``<step id>:<attempt>``."""

_LOOK_SECONDS = 3.0
_OVERTAKEN = (
    "Another run has claimed this step since this notebook was started, so nothing more is done "
    "here: leave the rest to it."
)


@contextmanager
def acting_on(step_id: int) -> Iterator[Callable[[], bool]]:
    """Hold the claim of a step while its jobs are submitted or worked on.

    Gives a function that tells whether the claim is still held: do nothing more once it is not.

    Raises:
        BatchError: somebody runs the step or works on it; or this is the notebook of a run that
            was overtaken.
    """
    own = _own_attempt(step_id)
    hold = _Own(step_id, own) if own is not None else _enter(step_id)
    if not hold.is_held():
        raise BatchError(_OVERTAKEN)
    try:
        yield hold.is_held
    finally:
        if isinstance(hold, _Taken):
            _leave(hold)


class RunByHand:
    """A step's notebook that a person runs cell by cell, logged as a run of the step.

    A kernel that a claim runs logs nothing here, because its owner does; neither does one beside
    which somebody else runs the step.
    """

    def __init__(self, step_id: int) -> None:
        self._step_id = step_id
        self._logged: StepStatus | None = None

    @contextmanager
    def logged(self) -> Iterator[None]:
        """Log how the block ends: the run's first end, and each one that differs from the last."""
        began = CLOCK.monotonic()
        try:
            yield
        except Exception as exc:
            self._log(StepStatus.FAILED, describe(exc), CLOCK.monotonic() - began)
            raise
        self._log(StepStatus.COMPLETED, None, CLOCK.monotonic() - began)

    def _log(self, status: StepStatus, error: str | None, seconds: float) -> None:
        if self._logged is status or _own_attempt(self._step_id) is not None:
            return
        # A person's cell does not fail because its log cannot be written.
        with suppress(DatabaseError), transaction():
            queries("steps").lock_step(step_id=self._step_id)
            queries("steps").log_run_by_hand(
                step_id=self._step_id,
                status=status,
                error=error,
                seconds=seconds,
                started_by=person()[:255],
                owner=owner_id(),
            )
            self._logged = status


def is_own(step_id: int, holder: Mapping[str, object]) -> bool:
    """Tell whether this process holds the claim of a step, or is the kernel of who holds it."""
    return _own_attempt(step_id) == holder["attempt"] or holder["owner"] == owner_id()


def _own_attempt(step_id: int) -> int | None:
    step, _, attempt = os.environ.get(STEP_CLAIM_VARIABLE, "").partition(":")
    return int(attempt) if step == str(step_id) and attempt.isdecimal() else None


@dataclass
class _Own:
    """The claim that runs this kernel; its owner renews it."""

    step_id: int
    attempt: int
    _held: bool = True
    _looked: float = float("-inf")

    def is_held(self) -> bool:
        """Look now and then; what is not known counts as held, because each write is guarded."""
        if self._held and CLOCK.monotonic() - self._looked > _LOOK_SECONDS:
            self._looked = CLOCK.monotonic()
            with suppress(DatabaseUnavailableError):
                self._held = queries("step_claims").is_current(
                    step_id=self.step_id, attempt=self.attempt
                )
        return self._held


@dataclass
class _Taken:
    """A claim that this process has taken for what a person does, however many do it at once."""

    claim: Claim
    heartbeat: Heartbeat = field(default_factory=Heartbeat)
    users: int = 1

    def __post_init__(self) -> None:
        self.heartbeat.add(self.claim.key)

    def is_held(self) -> bool:
        """Tell whether the claim is renewed."""
        return self.heartbeat.holds(self.claim.key)


_taken: dict[int, _Taken] = {}
_lock = threading.Lock()


def _enter(step_id: int) -> _Taken:
    with _lock, deferred_signals():
        hold = _taken.get(step_id)
        if hold is not None:
            hold.users += 1
            return hold
        claim = claims.claim_for_work(step_id)
        if claim is None:
            raise BatchError(claims.describe_use(step_id))
        _taken[step_id] = _Taken(claim)
        return _taken[step_id]


def _leave(hold: _Taken) -> None:
    with _lock, deferred_signals():
        hold.users -= 1
        if hold.users == 0:
            del _taken[hold.claim.step_id]
            hold.heartbeat.stop()
            with suppress(DatabaseUnavailableError):  # then the claim expires
                claims.release(hold.claim)

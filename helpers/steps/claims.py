"""Claims on chain runs: each is one guarded UPDATE, and has one owner at a time.

A claim carries the location of its step and of the batch that made the step due, so that nobody
has to ask for them again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypedDict

from helpers.constants import ChainRunStatus
from helpers.database import queries, transaction
from helpers.errors import DatabaseError
from helpers.identity import owner_id
from helpers.records import ChainRun, Step
from helpers.steps.rules import ChainRule
from helpers.text import clean

MOST_ATTEMPTS = 3
EXPIRES = timedelta(seconds=90)
"""How long an owner may be silent before others may claim its chain run."""

_UNIQUE_VIOLATION = "23505"  # PostgreSQL's appendix A


@dataclass(frozen=True)
class Claim:
    """A chain run that this process has claimed."""

    run: ChainRun
    step: Step | None  # the step to run; None: the cycle has no such step
    attempt: int

    @property
    def id(self) -> int:
        """The chain run's id."""
        return self.run["id"]

    @property
    def about(self) -> str:
        """The step to run, as reports name it."""
        return f"Stage {self.run['stage_num']}, step {self.run['next_step_num']}"


class OpenChainRun(TypedDict):
    """A chain run that is due or running."""

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


class AbandonedChainRun(ChainRun):
    """A chain run that was given up."""

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
    """Return the chain runs that are due or running, oldest first."""
    with transaction() as connection:
        return list(queries("chain_runs").open_runs(connection))


def claim(*, next_step_id: int | None = None) -> Claim | None:
    """Claim the oldest chain run that is due, or whose claim has expired; None if there is none.

    Args:
        next_step_id: only a chain run of this step.
    """
    try:
        with transaction() as connection:
            row = queries("chain_runs").claim(
                connection,
                owner=owner_id(),
                most_attempts=MOST_ATTEMPTS,
                next_step_id=next_step_id,
                expires=EXPIRES,
            )
            return None if row is None else Claim(row, _step(row), row.pop("attempt"))
    except DatabaseError as exc:
        if exc.sqlstate == _UNIQUE_VIOLATION:
            return None  # another chain run of the same step was claimed at this very moment
        raise


def _step(run: ChainRun) -> Step | None:
    with transaction() as connection:
        step: Step | None = queries("steps").step_by_id(connection, step_id=run["next_step_id"])
    return step


def running_owner(next_step_id: int) -> str | None:
    """Return who runs a step's notebook at this moment; None if nobody does."""
    with transaction() as connection:
        row = queries("chain_runs").running_now(
            connection, next_step_id=next_step_id, expires=EXPIRES
        )
    return None if row is None else str(row["owner"])


def close_abandoned() -> list[AbandonedChainRun]:
    """Cancel what was overtaken and fail what no attempt brought to an end; return the latter."""
    with transaction() as connection:
        queries("chain_runs").cancel_overtaken(
            connection,
            reason="The batch became active again before this step had run.",
            expires=EXPIRES,
        )
        return list(
            queries("chain_runs").give_up(
                connection,
                most_attempts=MOST_ATTEMPTS,
                reason=f"Each of {MOST_ATTEMPTS} attempts ended with the monitor that ran it. "
                "Look at the step's notebook, and run it by hand.",
                expires=EXPIRES,
            )
        )


def note_start(claim: Claim, *, step_run_id: int | None, notebook_path: str) -> bool:
    """Note which notebook is about to run, and where its step run is logged.

    Returns:
        False if this process no longer owns the chain run.
    """
    with transaction() as connection:
        changed = queries("chain_runs").note_start(
            connection,
            id=claim.id,
            owner=owner_id(),
            step_run_id=step_run_id,
            notebook_path=notebook_path,
        )
    return bool(changed)


def finish(claim: Claim, *, error: str | None) -> bool:
    """Record how a chain run ended; False if this process no longer owns it."""
    status = ChainRunStatus.COMPLETED if error is None else ChainRunStatus.FAILED
    with transaction() as connection:
        changed = queries("chain_runs").finish(
            connection, id=claim.id, owner=owner_id(), status=status, error=error and clean(error)
        )
    return bool(changed)


def release(claim: Claim, *, reason: str) -> None:
    """Release a chain run that was stopped on the way; the next pass claims it again."""
    with transaction() as connection:
        queries("chain_runs").release(connection, id=claim.id, owner=owner_id(), reason=reason)

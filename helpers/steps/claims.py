"""Claims on steps: each has one owner at a time, and every write of an owner is guarded.

How it works:

- A step that was ever run has one row in ``irp_step_claim``. Whoever runs it, or acts in it, takes
  that row by one statement, if it is free or expired. ``attempt`` only grows: it is a token, and
  every later write compares owner *and* attempt, so that what comes late changes nothing.
- What is due are the rows of ``irp_chain_run``. A claim serves all of its step that wait for
  nothing, and counts a try on each; what falls due meanwhile waits for the next claim.
- What a chain run waits for is asked when a claim is taken, and never decided before: two batches
  of a step that end at once would each see the other active.
- Owners renew their claims (``heartbeat``). One who was silent for half of ``LASTS`` ends what it
  started (``notebooks.lease``); after all of it others may claim the step.
- The verdict is recorded while the claim is held, which is released when the kernel is gone. A
  claim that expires with a verdict is closed; without one, what it served is due again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypedDict

from helpers.database import queries, transaction
from helpers.display import clock, moment
from helpers.identity import owner_id, owner_name
from helpers.records import ChainRun, Step, step_call, step_in_cycle
from helpers.steps.rules import CHAIN_RULES, ChainRule
from helpers.text import clean, listed

MOST_TRIES = 3
"""A chain run is given up after so many claims that ended without a verdict."""

LASTS = timedelta(seconds=90)
"""How long an owner may be silent before others may claim its step."""

_EXPIRED = "Whoever ran this notebook ended, or lost the database, before the notebook did."
_OVERTAKEN = "The batch became active again before this step had run."
_GIVEN_UP = (
    f"Each of {MOST_TRIES} tries ended with the monitor that ran it. "
    "Look at the step's notebook, and run it by hand."
)
RULES = json.dumps(
    [
        {"stage_num": rule.stage_num, "step_num": rule.step_num, "fires_on": sorted(rule.fires_on)}
        for rule in CHAIN_RULES
    ]
)
_DUE: dict[str, Any] = {"most_tries": MOST_TRIES, "rules": RULES}


@dataclass(frozen=True)
class Claim:
    """A step that this process has claimed, and the chain runs that its run will serve."""

    step: Step
    attempt: int
    served: tuple[ChainRun, ...]  # oldest first
    rerun_by: str | None = None  # who wants the step run again

    @property
    def step_id(self) -> int:
        """The step's id."""
        return self.step["step_id"]

    @property
    def key(self) -> tuple[int, int]:
        """What no other claim has."""
        return self.step_id, self.attempt

    @property
    def about(self) -> str:
        """The step, as reports name it."""
        step = self.step
        return f"Step {step_in_cycle(step['cycle_name'], step['stage_num'], step['step_num'])}"

    @property
    def guard(self) -> dict[str, Any]:
        """What the row must still say for a write of this process to count."""
        return {"step_id": self.step_id, "attempt": self.attempt, "owner": owner_id()}


class WaitsFor(TypedDict):
    """What a chain run waits for: another batch, or a run of the step that no claim names."""

    batch_id: int | None
    batch_status: str | None
    step_run_id: int | None
    started_by: str | None


class OpenChainRun(TypedDict):
    """A chain run that is due or running."""

    id: int
    batch_id: int
    stage_num: int
    next_step_num: int
    status: str
    attempt: int
    owner: str | None
    claim_expires_ts: datetime | None
    started_ts: datetime | None
    cycle_name: str
    cycle_status: str
    held_by: str | None  # who holds its next step
    held_ts: datetime | None
    held_because: str | None
    waits_for: list[WaitsFor]


class GivenUp(ChainRun):
    """A chain run that was given up."""

    notebook_path: str | None
    error_message: str


def make_due(batch_id: int, activation_num: int, rule: ChainRule) -> None:
    """Make the next step due, once per activation, in the transaction that ends the batch."""
    queries("chain_runs").due(
        batch_id=batch_id,
        activation_num=activation_num,
        stage_num=rule.stage_num,
        from_step_num=rule.step_num,
        next_step_num=rule.next_step_num,
    )


def open_runs() -> list[OpenChainRun]:
    """Return the chain runs that are due or running, oldest first."""
    return list(queries("chain_runs").open_runs(rules=RULES))


def waits_for(batch_id: int, *, step_id: int | None, rule: ChainRule) -> list[WaitsFor]:
    """Return what a batch's chain run by this rule waits for."""
    holders = queries("chain_runs").holders(
        batch_id=batch_id, step_id=step_id, fires_on=sorted(rule.fires_on)
    )
    return list(holders)


def is_released(batch_id: int, activation_num: int) -> bool:
    """Tell whether a person has released a batch's chain run from what it waits for."""
    return bool(queries("chain_runs").is_released(batch_id=batch_id, activation_num=activation_num))


def describe_wait(holders: list[WaitsFor]) -> str:
    """Return in one sentence what a chain run waits for."""
    parts = [
        f"batch {holder['batch_id']} ({holder['batch_status']})"
        if holder["batch_id"] is not None
        else f"step run {holder['step_run_id']}, started by {holder['started_by']}"
        for holder in holders
    ]
    return f"waits for {listed(parts)}"


def hold_on(step: Step) -> str:
    """Return who keeps passes from starting a step, since when and why; empty if nobody does."""
    row = queries("step_claims").hold_of(step_id=step["step_id"])
    return describe_hold(row) if row else ""


def describe_hold(hold: Mapping[str, Any]) -> str:
    """Return who holds a step (``held_by``), since when and why."""
    return f"held by {hold['held_by']} since {clock(hold['held_ts'])} ({hold['held_because']})"


def why_not_started(run: OpenChainRun) -> str:
    """Return who holds the step of a chain run, or what it waits for; empty if it may start."""
    if run["held_by"]:
        step = run["cycle_name"], run["stage_num"], run["next_step_num"]
        return f"{describe_hold(run)}, release with {step_call('release_step', *step)}"
    return describe_wait(run["waits_for"]) if run["waits_for"] else ""


def holder_of(step_id: int) -> dict[str, Any] | None:
    """Return attempt, owner and claimed_ts of who runs or works on a step; None if nobody does."""
    row: dict[str, Any] | None = queries("step_claims").holder(step_id=step_id)
    return row


def describe_use(step_id: int, holder: Mapping[str, Any] | None = None) -> str:
    """Return who holds a step's claim, since when, and what to do."""
    held = holder or holder_of(step_id)
    since = f" since {moment(held['claimed_ts'])}" if held else ""
    who = owner_name(held["owner"]) if held else "another process"
    return f"This step is being run by {who}{since}. Wait until it has ended."


def expire() -> None:
    """Release the claims of those who have been silent for too long."""
    with transaction():
        queries("step_claims").cap_expiries(lasts=LASTS)
        queries("step_claims").release(step_id=None, attempt=None, owner=None, reason=_EXPIRED)


def give_up() -> list[GivenUp]:
    """Cancel what was overtaken, and fail what no try brought to an end; return the latter."""
    with transaction():
        expire()
        queries("step_claims").give_up_reruns(most_tries=MOST_TRIES, reason=_GIVEN_UP)
        queries("chain_runs").cancel_overtaken(reason=_OVERTAKEN)
        return list(queries("chain_runs").give_up(most_tries=MOST_TRIES, reason=_GIVEN_UP))


def is_any_due() -> bool:
    """Tell whether there is a step that ``claim_due`` would claim."""
    expire()
    return bool(list(queries("chain_runs").claimable_steps(**_DUE)))


def claim_due() -> Claim | None:
    """Claim the step that has been due for longest, for all chain runs that wait for nothing."""
    expire()
    steps = queries("chain_runs").claimable_steps(**_DUE)
    takes = (_take(step["step_id"], by_hand=False) for step in steps)
    return next((claim for claim in takes if claim is not None), None)


def claim_step(step_id: int) -> Claim | None:
    """Claim a step by hand, due or not, and its chain runs, those that wait too.

    Returns:
        None if somebody holds it.
    """
    expire()
    return _take(step_id, by_hand=True)


def _take(step_id: int, *, by_hand: bool, serves: bool = True) -> Claim | None:
    with transaction():
        taken = queries("step_claims").take(
            step_id=step_id,
            owner=owner_id(),
            lasts=LASTS,
            by_hand=by_hand,
            serves=serves,
            most_tries=MOST_TRIES,
        )
        if taken is None:
            return None
        attempt, rerun_by = taken["attempt"], taken["rerun_by"]
        # By a statement of its own, which sees what was committed before the claim was taken.
        runs = (
            queries("chain_runs").serve(
                step_id=step_id,
                attempt=attempt,
                owner=owner_id(),
                most_tries=MOST_TRIES,
                by_hand=by_hand or rerun_by is not None,
                rules=RULES,
            )
            if serves
            else []
        )
        step = queries("steps").step_by_id(step_id=step_id)
        claim = Claim(step, attempt, tuple(sorted(runs, key=lambda run: run["id"])), rerun_by)
        if not (runs or by_hand or rerun_by):  # another owner has served them in between
            release(claim)
            return None
        return claim


def claim_for_work(step_id: int) -> Claim | None:
    """Claim a step for what a person does in it, which serves no chain run; None if it is held."""
    expire()
    return _take(step_id, by_hand=True, serves=False)


def note_start(claim: Claim, *, step_run_id: int, notebook_path: str) -> bool:
    """Note which notebook is about to run, and where its step run is logged; renews the claim.

    Returns:
        False if this process no longer holds the claim; nothing has changed then.
    """
    with transaction():
        held = queries("step_claims").note_start(
            **claim.guard, step_run_id=step_run_id, lasts=LASTS
        )
        if held:
            queries("chain_runs").note_start(
                step_id=claim.step_id,
                attempt=claim.attempt,
                step_run_id=step_run_id,
                notebook_path=notebook_path,
            )
    return bool(held)


def release(claim: Claim, *, reason: str = "") -> bool:
    """Release a claim; without a verdict, what it served is due again and its run has failed.

    Returns:
        False if this process no longer holds the claim; nothing has changed then.
    """
    return bool(queries("step_claims").release(**claim.guard, reason=clean(reason)))

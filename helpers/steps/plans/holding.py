"""Keep passes from starting a step, and let it go on."""

from collections.abc import Iterator
from typing import Any

from helpers.constants import ActionKind, ChainRunStatus
from helpers.database import queries
from helpers.identity import owner_name
from helpers.steps.claims import describe_wait, hold_on
from helpers.steps.plans.plan import SeenStep, StepPlan, step_to_plan
from helpers.text import listed

_MOST_NAMED = 5


class HoldPlan(StepPlan):
    """Keep passes from starting a step."""

    kind = ActionKind.HOLD
    verb = "hold {}"

    @property
    def why_not(self) -> str:
        """A step is held once."""
        return self.held if self.seen.hold_action_id else ""

    def _rests_on(self, seen: SeenStep) -> dict[str, object]:
        return {**self._claim_and_cycle(seen), "the hold": seen.hold_action_id}

    def _change(self, action_id: int) -> None:
        queries("step_plans").set_hold(step_id=self.step["step_id"], action_id=action_id)

    def _consequences(self) -> Iterator[str]:
        if self.seen.owner:
            yield f"{owner_name(self.seen.owner)} runs it at this moment, and that run goes on."
        yield "No pass starts it, whatever becomes due. A person may still run it by hand."
        yield f"{self.call('release_step')} lets it go on."


class ReleasePlan(StepPlan):
    """Let a step go on that is held; or, if it is not held, that waits for other batches."""

    kind = ActionKind.RELEASE
    verb = "release {}"

    @property
    def why_not(self) -> str:
        """Either it is held or something waits."""
        if self.seen.hold_action_id or self.seen.waiting:
            return ""
        return "It is neither held, nor does it wait for a batch or a run."

    def _rests_on(self, seen: SeenStep) -> dict[str, object]:
        found: dict[str, object] = {"the cycle": seen.cycle_status, "the hold": seen.hold_action_id}
        waiting = {"what the step waits for": _waiting_text(seen)}
        return found if self.seen.hold_action_id else {**found, **waiting}

    def _change(self, action_id: int) -> None:  # noqa: ARG002 - nothing points to it
        if self.seen.hold_action_id:
            queries("step_plans").set_hold(step_id=self.step["step_id"], action_id=None)
        else:
            ids = [run.id for run in self.seen.waiting]
            queries("step_plans").release_chain_runs(chain_run_ids=ids)

    def _details(self) -> dict[str, Any]:
        if self.seen.hold_action_id:
            return {"hold": self.seen.hold_action_id}
        return {"chain_runs": [run.id for run in self.seen.waiting]}

    def _consequences(self) -> Iterator[str]:
        if not self.seen.hold_action_id:
            yield f"The next pass starts it, although it {_waiting_text(self.seen)}."
            return
        yield f"It is {hold_on(self.step)}."
        due = [r for r in self.seen.chain_runs if r.status == ChainRunStatus.PENDING]
        if self.seen.waiting:
            yield f"It still {_waiting_text(self.seen)}; a second release starts it all the same."
        elif due or self.seen.rerun_action_id:
            yield "It is due: the next pass starts it."
        else:
            yield "It starts when it is due."


def hold_step(cycle: str, stage: int, step: int) -> HoldPlan:
    """Plan to keep passes from starting a step, until it is released.

    Races: a pass that claims the step before the plan is applied overtakes it; one that comes after
    it finds the hold. Of two people who apply at once the second is overtaken.

    Raises:
        CycleError: there is no such step, or its cycle is not ACTIVE.
    """
    return HoldPlan(step_to_plan(cycle, stage, step))


def release_step(cycle: str, stage: int, step: int) -> ReleasePlan:
    """Plan to let a step go on: no longer held, or without the batches that it waits for.

    A release from other batches is kept on the chain runs that wait now, and on no later one.

    Races: a hold that was released, or what the step waits for, if it changes before the plan is
    applied, overtakes it: of two people who release at once the second is overtaken.

    Raises:
        CycleError: there is no such step, or its cycle is not ACTIVE.
    """
    return ReleasePlan(step_to_plan(cycle, stage, step))


def _waiting_text(seen: SeenStep) -> str:
    texts = sorted({describe_wait(run.waits_for) for run in seen.waiting})
    return listed(texts, most=_MOST_NAMED) or "waits for nothing"

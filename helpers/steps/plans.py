"""What people do with a step: not tonight, on after all, and once more.

Applying a plan locks the row of the step's claim, as those who claim the step do.

A hold keeps passes from starting a step. It is read by the very statement that takes a claim, so
that no pass starts the step once the hold is applied; what runs by then runs on. A person may run a
held step by hand. A rerun is due until a run of its step has a verdict, whoever runs it; a run that
is cut off is tried again, three times at most.
"""

from collections.abc import Iterator

from helpers.constants import ActionKind, ActionStatus, ChainRunStatus
from helpers.database import queries
from helpers.identity import owner_name
from helpers.steps import claims
from helpers.steps.rules import step_rule
from helpers.steps.step_plan import SeenStep, StepPlan, step_to_plan


class HoldPlan(StepPlan):
    """Keep passes from starting a step."""

    kind = ActionKind.HOLD
    verb = "hold {}"

    @property
    def why_not(self) -> str:
        """A step is held once."""
        return self.held if self.seen.hold_action_id else ""

    def _rests_on(self, seen: SeenStep) -> dict[str, object]:
        return {**seen.claim_and_cycle, "the hold": seen.hold_action_id}

    def _change(self, why: str) -> None:
        action_id = self._record(why)
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
        waiting = {"what the step waits for": seen.waits_for}
        return found if self.seen.hold_action_id else {**found, **waiting}

    def _change(self, why: str) -> None:
        if self.seen.hold_action_id:
            self._record(why, details={"hold": self.seen.hold_action_id})
            queries("step_plans").set_hold(step_id=self.step["step_id"], action_id=None)
        else:
            ids = [run["id"] for run in self.seen.waiting]
            self._record(why, details={"chain_runs": ids})
            queries("step_plans").release_chain_runs(chain_run_ids=ids)

    def _consequences(self) -> Iterator[str]:
        if not self.seen.hold_action_id:
            yield f"The next pass starts it, although it {self.seen.waits_for}."
            return
        yield f"It is {claims.hold_on(self.step)}."
        due = [r for r in self.seen.chain_runs if r["status"] == ChainRunStatus.PENDING]
        if self.seen.waiting:
            yield f"It still {self.seen.waits_for}; a second release starts it all the same."
        elif due or self.seen.rerun_action_id:
            yield "It is due: the next pass starts it."
        else:
            yield "It starts when it is due."


class RerunPlan(StepPlan):
    """Make a step due again, whether or not a batch has."""

    kind = ActionKind.RERUN
    verb = "run {} again"

    @property
    def why_not(self) -> str:
        """It is held, due already, or somebody runs it."""
        if self.seen.owner:
            return claims.describe_use(self.step["step_id"])
        if self.seen.hold_action_id:
            return self.held
        return "It is due already: the next pass runs it." if self.seen.rerun_action_id else ""

    def _rests_on(self, seen: SeenStep) -> dict[str, object]:
        return {
            **seen.claim_and_cycle,
            "the hold": seen.hold_action_id,
            "the rerun that is due": seen.rerun_action_id,
            "what leads to it": seen.leads_here,
        }

    def _change(self, why: str) -> None:
        ids = [run["id"] for run in self.seen.chain_runs]
        action_id = self._record(why, status=ActionStatus.PLANNED, details={"chain_runs": ids})
        queries("step_plans").make_due(step_id=self.step["step_id"], action_id=action_id)
        queries("step_plans").reopen_chain_runs(chain_run_ids=ids)

    def _consequences(self) -> Iterator[str]:
        yield (
            "The next pass runs its notebook; a run that is cut off is tried "
            f"{claims.MOST_TRIES} times at most. It submits what is prepared, and nothing twice: a "
            "batch that has ended is mended with plan_resubmit(…)."
        )
        if self.seen.chain_runs:
            yield f"That run serves what is due after {self.seen.leads_here}."
        if rule := step_rule(self.step["stage_num"], self.step["step_num"]):
            ends = " or ".join(sorted(rule.fires_on))
            follows = f"step {rule.stage_num}.{rule.next_step_num}"
            yield f"When a batch of it ends as {ends}, {follows} starts."


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


def plan_rerun(cycle: str, stage: int, from_step: int) -> RerunPlan:
    """Plan to run a step's notebook again, in the next pass; what follows it follows by its rules.

    Races: a step that somebody runs, or works on, is not made due; one that was claimed, held or
    made due between plan and apply overtakes the plan. Of two people who apply at once the second
    is overtaken. A run by hand that comes first serves the rerun.

    No batch needs to lead to the step.

    Raises:
        CycleError: there is no such step, or its cycle is not ACTIVE.
    """
    return RerunPlan(step_to_plan(cycle, stage, from_step))

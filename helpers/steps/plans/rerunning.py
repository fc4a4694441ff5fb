"""Make a step due again, because a person wants it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from helpers.actions import Action
from helpers.constants import ActionKind, ActionStatus
from helpers.database import queries
from helpers.steps.claims import MOST_TRIES, describe_use
from helpers.steps.plans.plan import SeenChainRun, SeenStep, StepPlan, step_to_plan
from helpers.steps.rules import stage_rules
from helpers.text import listed

_MOST_NAMED = 5


class RerunPlan(StepPlan):
    """Make a step due again, whether or not a batch has."""

    kind = ActionKind.RERUN
    verb = "run {} again"

    @property
    def why_not(self) -> str:
        """It is held, due already, or somebody runs it."""
        if self.seen.owner:
            return describe_use(self.step["step_id"])
        if self.seen.hold_action_id:
            return self.held
        return "It is due already: the next pass runs it." if self.seen.rerun_action_id else ""

    def _rests_on(self, seen: SeenStep) -> dict[str, object]:
        return {
            **self._claim_and_cycle(seen),
            "the hold": seen.hold_action_id,
            "the rerun that is due": seen.rerun_action_id,
            "what leads to it": _batches_text(seen.chain_runs),
        }

    def _action(self) -> Action:
        return replace(super()._action(), status=ActionStatus.PLANNED)

    def _change(self, action_id: int) -> None:
        queries("step_plans").make_due(step_id=self.step["step_id"], action_id=action_id)
        ids = [run.id for run in self.seen.chain_runs]
        queries("step_plans").reopen_chain_runs(chain_run_ids=ids)

    def _details(self) -> dict[str, Any]:
        return {"chain_runs": [run.id for run in self.seen.chain_runs]}

    def _consequences(self) -> Iterator[str]:
        yield (
            f"The next pass runs its notebook; a run that is cut off is tried {MOST_TRIES} times "
            "at most. It submits what is prepared, and nothing twice: a batch that has ended is "
            "mended with plan_resubmit(…)."
        )
        if self.seen.chain_runs:
            yield f"That run serves what is due after {_batches_text(self.seen.chain_runs)}."
        for rule in stage_rules(self.step["stage_num"]):
            if rule.step_num == self.step["step_num"]:
                ends = " or ".join(sorted(rule.fires_on))
                follows = f"step {rule.stage_num}.{rule.next_step_num}"
                yield f"When a batch of it ends as {ends}, {follows} starts."


def plan_rerun(cycle: str, stage: int, from_step: int) -> RerunPlan:
    """Plan to run a step's notebook again, in the next pass; what follows it follows by its rules.

    Races: a step that somebody runs, or works on, is not made due; one that was claimed, held or
    made due between plan and apply overtakes the plan. Of two people who apply at once the second
    is overtaken. A run by hand that comes first serves the rerun.

    Args:
        cycle: its name.
        stage: the number of the stage.
        from_step: the number of the step, also of one that no batch leads to.

    Raises:
        CycleError: there is no such step, or its cycle is not ACTIVE.
    """
    return RerunPlan(step_to_plan(cycle, stage, from_step))


def _batches_text(runs: Sequence[SeenChainRun]) -> str:
    names = [f"batch {run.batch_id} ({run.status})" for run in runs]
    return listed(names, most=_MOST_NAMED) or "nothing"

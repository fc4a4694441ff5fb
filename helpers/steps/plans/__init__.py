"""What people do with a step: not tonight, on after all, and once more.

A plan shows what would happen and writes nothing. Applying it locks the row of the step's claim,
as those who claim the step do, compares what it saw, and does all of it, its row in ``irp_action``
included, or refuses with what has changed. Applying it a second time does nothing again, and
returns the same.

A hold keeps passes from starting a step. It is read by the very statement that takes a claim, so
that no pass starts the step once the hold is applied; what runs by then runs on. A person may run a
held step by hand. A rerun is due until a run of its step has a verdict, whoever runs it; a run that
is cut off is tried again, three times at most.
"""

from helpers.steps.plans.holding import hold_step, release_step
from helpers.steps.plans.plan import StepPlan, StepPlanOutcome
from helpers.steps.plans.rerunning import plan_rerun

__all__ = ["StepPlan", "StepPlanOutcome", "hold_step", "plan_rerun", "release_step"]

"""What people do with a batch by hand: a plan shows itself, and is applied exactly or refused."""

from helpers.batch.plans.mending import plan_resubmit, plan_skip
from helpers.batch.plans.plan import Plan, PlanOutcome
from helpers.batch.plans.request import PRIORITIES, plan_cancel, plan_priority
from helpers.batch.plans.resolve import plan_resolve

__all__ = [
    "PRIORITIES",
    "Plan",
    "PlanOutcome",
    "plan_cancel",
    "plan_priority",
    "plan_resolve",
    "plan_resubmit",
    "plan_skip",
]

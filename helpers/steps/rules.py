"""Which step follows which batch. Pure.

Rules are rows. They look at a batch as it is, never at what happened before: that a rule
fires once per activation is the business of the unique row in ``irp_chain_run``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from helpers.constants import BatchStatus, BatchType

_COMPLETED = frozenset({BatchStatus.COMPLETED})
# Partial results are worth a look: the analyst decides what to do about the failures.
_COMPLETED_OR_FAILED = frozenset({BatchStatus.COMPLETED, BatchStatus.FAILED})


@dataclass(frozen=True)
class ChainRule:
    """When the batch of one step ends in one of these statuses, the next step is due."""

    stage_num: int
    step_num: int
    batch_type: BatchType
    fires_on: frozenset[BatchStatus]
    next_step_num: int


CHAIN_RULES: tuple[ChainRule, ...] = (
    ChainRule(2, 1, BatchType.DATA_EXTRACTION, _COMPLETED, 2),
    ChainRule(3, 1, BatchType.EDM_CREATION, _COMPLETED, 2),
    ChainRule(3, 2, BatchType.PORTFOLIO_CREATION, _COMPLETED, 3),
    ChainRule(3, 3, BatchType.MRI_IMPORT, _COMPLETED, 4),
    ChainRule(3, 4, BatchType.REINSURANCE_TREATIES, _COMPLETED, 5),
    ChainRule(3, 5, BatchType.EDM_DB_UPGRADE, _COMPLETED, 6),
    ChainRule(3, 6, BatchType.GEOHAZ, _COMPLETED, 7),
    ChainRule(3, 7, BatchType.PORTFOLIO_MAPPING, _COMPLETED, 8),
    ChainRule(4, 1, BatchType.ANALYSIS, _COMPLETED_OR_FAILED, 2),
    ChainRule(5, 1, BatchType.GROUPING, _COMPLETED, 2),
    ChainRule(5, 2, BatchType.GROUPING_ROLLUP, _COMPLETED_OR_FAILED, 3),
    ChainRule(6, 1, BatchType.EXPORT_TO_RDM, _COMPLETED_OR_FAILED, 2),
)


def stage_rules(stage_num: int) -> tuple[ChainRule, ...]:
    """Return the rules of one stage, in the order of its steps; empty if it has none."""
    return tuple(rule for rule in CHAIN_RULES if rule.stage_num == stage_num)


def step_rule(stage_num: int, step_num: int) -> ChainRule | None:
    """Return the rule by which a step leads on to the next one; None if it does not."""
    return next((rule for rule in stage_rules(stage_num) if rule.step_num == step_num), None)


def fired_rule(batch: Mapping[str, Any], status: str) -> tuple[ChainRule | None, str]:
    """Return the rule that fires when a batch has this status, None if none does; and why."""
    stage_num, step_num = batch["stage_num"], batch["step_num"]
    rule = step_rule(stage_num, step_num)
    if rule is None:
        return None, f"No chain rule leads on from stage {stage_num}, step {step_num}."
    if rule.batch_type != batch["batch_type"]:
        return None, (
            f"Stage {stage_num}, step {step_num} chains after {rule.batch_type}, "
            f"and this batch is {batch['batch_type']}."
        )
    next_step = f"Step {stage_num}.{rule.next_step_num}"
    if status not in rule.fires_on:
        either = " or ".join(sorted(rule.fires_on))
        return None, f"{next_step} starts when this batch is {either}; it is {status}."
    how = "by itself" if status == BatchStatus.COMPLETED else "all the same"
    return rule, f"{next_step} starts {how}: the batch is {status}."

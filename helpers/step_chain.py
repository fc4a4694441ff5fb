"""Which step follows a batch, and with which notebook.

These functions apply the rules to the batch as it is now and do not look at history: that a
step is started once lives in the unique row of ``irp_chain_run`` and its claim.
"""

from helpers.batch import read_batch
from helpers.constants import CycleStatus
from helpers.database import queries
from helpers.records import Batch, ChainConfig, NextStep, Step
from helpers.steps import claims
from helpers.steps.rules import ChainRule, fired_rule, stage_rules
from helpers.workflow_paths import find_step_notebook

__all__ = ["get_chain_config", "get_next_step_info", "should_execute_next_step"]


def get_chain_config(stage_num: int) -> list[ChainConfig]:
    """Return the chain rules of a stage, in the order of its steps; empty if it has none."""
    return [
        {
            "stage_num": rule.stage_num,
            "step_num": rule.step_num,
            "batch_type": rule.batch_type.value,
            "trigger_on": sorted(status.value for status in rule.fires_on),
            "next_step_num": rule.next_step_num,
        }
        for rule in stage_rules(stage_num)
    ]


def should_execute_next_step(batch_id: int) -> bool:
    """Tell whether the next step is due, for the batch as it is now.

    A batch that ended before chains were counted (activation 0) never chains, and neither does
    one of an archived cycle. While another batch of the same step is ACTIVE, has ended in a status
    that the rule does not name, or has an ending whose consequences are not written yet, the next
    step waits, unless a person has released it; and while a person holds it.

    Raises:
        BatchError: there is no such batch.
    """
    batch = read_batch(batch_id)
    rule = _due_rule(batch)
    return rule is not None and not _waits(batch, rule)


def get_next_step_info(batch_id: int) -> NextStep | None:
    """Return the next step of a batch and its notebook; None if no step is due.

    Raises:
        BatchError: there is no such batch.
        NotebookError: the step has no notebook, or more than one, or one outside the workflows
            folder.
    """
    batch = read_batch(batch_id)
    rule = _due_rule(batch)
    if rule is None:
        return None
    step = _next_step(batch, rule)
    return {
        "cycle_name": batch["cycle_name"],
        "stage_num": rule.stage_num,
        "step_num": rule.next_step_num,
        "notebook_path": find_step_notebook(
            cycle_name=batch["cycle_name"],
            stage_num=rule.stage_num,
            step_num=rule.next_step_num,
            notebook_path=step["notebook_path"] if step else None,
        ),
    }


def _next_step(batch: Batch, rule: ChainRule) -> Step | None:
    step: Step | None = queries("steps").step_by_numbers(
        cycle_name=batch["cycle_name"], stage_num=rule.stage_num, step_num=rule.next_step_num
    )
    return step


def _waits(batch: Batch, rule: ChainRule) -> bool:
    step = _next_step(batch, rule)
    if step and claims.hold_on(step):
        return True
    holders = claims.waits_for(
        batch["batch_id"], step_id=step["step_id"] if step else None, rule=rule
    )
    return bool(holders) and not claims.is_released(batch["batch_id"], batch["activation_num"])


def _due_rule(batch: Batch) -> ChainRule | None:
    if batch["cycle_status"] != CycleStatus.ACTIVE or batch["activation_num"] == 0:
        return None
    return fired_rule(batch, batch["status"])[0]

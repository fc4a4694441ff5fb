"""Forecast a chain of steps to the end of its stage.

A chain stands on the batches that are prepared for its steps. Steps whose jobs are synchronous,
or that have none, count as over at once. If a step's batch is not prepared yet, the forecast
ends before that step.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from helpers.constants import BatchType
from helpers.database import queries
from helpers.forecasting import BatchForecast, BatchState, History, Job, job_size
from helpers.forecasts.history import read_history
from helpers.forecasts.late import SeenJobs
from helpers.steps.rules import ChainRule, stage_rules

StepRef: TypeAlias = tuple[int, int, int]  # the cycle's id, the stage's and the step's number


def later_types(batch: Mapping[str, Any]) -> list[str]:
    """Return the types of the batches that the steps after this batch's submit to Moody's."""
    rules = _rules_after(batch)
    return [rule.batch_type.value for rule in rules if rule.batch_type in BatchType.polled()]


def forecast_chains(seen: Sequence[SeenJobs]) -> dict[StepRef, BatchForecast]:
    """Return when each later step of the stages of these batches will have ended, if it is known.

    Of several batches of one step the last counts. Nothing is written.
    """
    types = {later for of in seen for later in later_types(of.batch)}
    if not seen:
        return {}
    prepared = _prepared(sorted(types))
    history = read_history(sorted(types | {of.state.kind for of in seen}))
    found: dict[StepRef, BatchForecast] = {}
    for of in seen:
        found |= dict(_chain(of, prepared, history))
    return found


def _chain(
    of: SeenJobs, prepared: Mapping[tuple[int, str], BatchState], history: History
) -> Iterator[tuple[StepRef, BatchForecast]]:
    """Give each step after a batch's that follows by itself, with when it will have ended."""
    from helpers.forecasting.batches import forecast_chain  # noqa: PLC0415 - brings numpy

    states, cycle_id, stage_num = [of.state], of.batch["cycle_id"], of.batch["stage_num"]
    last = forecast_chain(history, states)
    for rule in _rules_after(of.batch):
        if rule.batch_type in BatchType.polled():
            state = prepared.get((cycle_id, rule.batch_type.value))
            if state is None:
                return
            states.append(state)
            last = forecast_chain(history, states)
        yield (cycle_id, stage_num, rule.step_num), last
        if rule is stage_rules(stage_num)[-1]:  # its next step has no batch
            yield (cycle_id, stage_num, rule.next_step_num), last


def _rules_after(batch: Mapping[str, Any]) -> list[ChainRule]:
    rules = stage_rules(batch["stage_num"])
    return [rule for rule in rules if rule.step_num > batch["step_num"]]


def _prepared(batch_types: Sequence[str]) -> dict[tuple[int, str], BatchState]:
    """Return the jobs that are prepared in each ACTIVE cycle, by the cycle and their type."""
    jobs: dict[tuple[int, str], list[Job]] = {}
    rows: Iterator[Mapping[str, Any]] = queries("forecasts").prepared_jobs(
        batch_types=list(batch_types)
    )
    for row in rows:
        job = Job(0.0, job_size(row["configuration"], row["members"]))
        jobs.setdefault((row["cycle_id"], row["batch_type"]), []).append(job)
    return {key: BatchState(key[1], queued=of) for key, of in jobs.items()}

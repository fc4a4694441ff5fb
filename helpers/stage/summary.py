"""Read what became of a stage from the metastore."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from helpers.database import queries, transaction
from helpers.notifications.failures import failures_of
from helpers.pass_health import pass_health
from helpers.records import Step
from helpers.settings import get_settings
from helpers.stage.reports import StageBatch, StageSummary


def summarise_stage(step: Step) -> StageSummary:
    """Return what was submitted in the step's stage, what finished, what failed and why."""
    with transaction():
        batches = stage_batches(step)
        failures = failures_of([batch.batch_id for batch in batches])
    interval = timedelta(seconds=get_settings().monitor_interval_seconds)
    health = pass_health(interval=interval)
    # A pass that runs this very notebook is on, however long ago one was completed.
    is_on = queries("stage").is_run_by_pass(step_id=step["step_id"])
    warnings = health.about_schedules() if is_on else health.warnings()
    return StageSummary(step, batches, failures, health, warnings)


def stage_batches(step: Step) -> list[StageBatch]:
    """Return the batches of the step's stage, in the order of the steps."""
    stage = {"cycle_id": step["cycle_id"], "stage_num": step["stage_num"]}
    with transaction():
        totals = _totals(queries("stage").results_of_notebook_work(**stage))
        rows = queries("stage").batches_of_stage(**stage)
        return [StageBatch(**row, totals=dict(totals[row["batch_id"]])) for row in rows]


def _totals(rows: Iterable[dict[str, Any]]) -> dict[int, Counter[str]]:
    """Sum the numbers that notebooks noted of their own work, by batch."""
    totals: dict[int, Counter[str]] = defaultdict(Counter)
    for row in rows:
        # A bool does not count as a number.
        numbers = {k: v for k, v in row["details"].items() if type(v) in {int, float}}
        totals[row["batch_id"]].update(numbers)
    return totals

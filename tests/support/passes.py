"""Worlds for passes of the monitor, and one pass with what each of its sections reported."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from helpers.constants import BatchStatus, BatchType, JobStatus
from helpers.monitor import Monitor
from helpers.monitor.chaining_section import ChainReport
from helpers.monitor.reports import (
    FoundReport,
    PollReport,
    ReconReport,
)
from helpers.monitor.summary import SummaryReport
from helpers.settings import get_settings
from helpers.steps.rules import CHAIN_RULES
from sandbox.moodys import MoodysStandIn
from sandbox.seeding import PreparedJob, SeededBatch, add_batch, add_step

DEADLINE_SECONDS = 60.0
LOCATIONS = {rule.batch_type: (rule.stage_num, rule.step_num) for rule in CHAIN_RULES}
FAMILIES = {
    BatchType.EDM_CREATION: "riskdata",
    BatchType.MRI_IMPORT: "import",
    BatchType.EDM_DB_UPGRADE: "riskdata",
    BatchType.GEOHAZ: "geohaz",
    BatchType.ANALYSIS: "model",
    BatchType.GROUPING: "grouping",
    BatchType.GROUPING_ROLLUP: "grouping",
    BatchType.EXPORT_TO_RDM: "export",
}


@dataclass(frozen=True)
class Pass:
    """What the five sections of one pass reported."""

    found: FoundReport
    polled: PollReport
    reconciled: ReconReport
    chained: ChainReport
    summary: SummaryReport

    @property
    def became(self) -> dict[int, str]:
        """What each reconciled batch became."""
        return {item.outcome.batch_id: str(item.outcome.status) for item in self.reconciled.batches}


def one_pass() -> Pass:
    """Run one pass."""
    monitor = Monitor()
    return Pass(
        monitor.find_batches(),
        monitor.poll_jobs(),
        monitor.reconcile_batches(),
        monitor.execute_next_steps(),
        monitor.summarise(),
    )


def configure(monkeypatch: pytest.MonkeyPatch, **settings: object) -> None:
    """Set settings; None takes one away."""
    for name, value in settings.items():
        if value is None:
            monkeypatch.delenv(name.upper(), raising=False)
        else:
            monkeypatch.setenv(name.upper(), str(value))
    get_settings.cache_clear()


def running(moodys: MoodysStandIn, family: str, status: str = "RUNNING", **job: Any) -> PreparedJob:
    """Return a submitted job that Moody's will say this of."""
    return PreparedJob(JobStatus.SUBMITTED, moodys.add_job(family, status=status, **job))


def active_batch(
    cycle_id: int, batch_type: BatchType | str, jobs: Sequence[PreparedJob] = ()
) -> SeededBatch:
    """Add an ACTIVE batch in its place, with the step that follows."""
    known = batch_type in set(BatchType)
    stage_num, step_num = LOCATIONS[BatchType(batch_type)] if known else (9, 1)
    step_id = add_step(cycle_id, stage_num=stage_num, step_num=step_num)
    add_step(cycle_id, stage_num=stage_num, step_num=step_num + 1)
    return add_batch(step_id, batch_type, jobs, status=BatchStatus.ACTIVE)


def finished_batch(cycle_id: int, batch_type: BatchType) -> SeededBatch:
    """Add an ACTIVE batch whose one job is done already: the next pass completes it."""
    return active_batch(cycle_id, batch_type, [PreparedJob(JobStatus.FINISHED)])


def rows(sql: psycopg.Connection, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Return the rows of a query of a test."""
    return sql.execute(query, parameters).fetchall()  # type: ignore[call-overload,no-any-return]  # a plain str


def jobs_of(sql: psycopg.Connection) -> dict[int, str]:
    """Return every job's status by its id."""
    return dict(rows(sql, "SELECT id, status::text FROM irp_job ORDER BY id"))


def wait_until(condition: Callable[[], Any]) -> Any:
    """Return the condition's value once it is true."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return value

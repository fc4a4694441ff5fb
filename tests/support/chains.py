"""Shorthands for tests of chain runs and step claims."""

from collections.abc import Sequence
from typing import Any

import psycopg

from helpers.steps import claims, verdicts
from helpers.steps.claims import Claim
from helpers.steps.execution import StepExecution
from helpers.workflow_paths import workflows_dir


def age_claims(sql: psycopg.Connection, seconds: float) -> None:
    """Let every claim's owner have been silent for that long."""
    sql.execute(
        "UPDATE irp_step_claim SET claim_expires_ts = clock_timestamp()"
        " + make_interval(secs => 90 - %s) WHERE owner IS NOT NULL",
        [seconds],
    )


def begin(claim: Claim) -> StepExecution:
    """Log the start of a claimed step, whose notebook does not exist."""
    notebook = workflows_dir() / "Step_02_X.ipynb"
    execution = StepExecution(claim, notebook, timeout_seconds=1)
    execution.begin()
    return execution


def finish(claim: Claim, *, error: str | None = None, step_run_id: int | None = None) -> bool:
    """Record that a claim's notebook has ended, and release the claim."""
    run_id = begin(claim)._step_run_id if step_run_id is None else step_run_id
    assert run_id is not None
    folder = workflows_dir()
    recorded = verdicts.record(
        claim,
        error=error,
        step_run_id=run_id,
        seconds=1.0,
        notebook=folder / "Step_02_X.ipynb",
        executed_copy=folder / "runs" / "copy.ipynb",
    )
    claims.release(claim)
    return recorded is not None


def rows(
    sql: psycopg.Connection, columns: str = "status::text, attempt, error_message"
) -> Sequence[tuple[Any, ...]]:
    """Return the chain runs."""
    query = psycopg.sql.SQL("SELECT {} FROM irp_chain_run ORDER BY id")
    return sql.execute(query.format(psycopg.sql.SQL(columns))).fetchall()

"""Run the notebook of one step, with its log and, where it was handed over, its claim.

Three parts, because they belong to different threads: ``begin`` and ``finish`` write to the
metastore, ``run`` only runs the notebook and may do so beside others.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from helpers import chain_runs
from helpers.batch import read_batch
from helpers.chain_runs import AbandonedChainRun, ChainRun
from helpers.constants import StepStatus
from helpers.database import queries, transaction
from helpers.errors import NotebookError
from helpers.identity import person
from helpers.notebook_run import NotebookOutcome, NotebookRun
from helpers.notifications import events
from helpers.records import NotebookResult, Step
from helpers.workflow_paths import (
    executed_copy_path,
    find_step_notebook,
    relative_to_workflows,
)

NOTEBOOK_PATH_VARIABLE = "IRP_NOTEBOOK_PATH"
"""Tells a stage notebook which file it is: a kernel knows only its folder."""


class StepExecution:
    """One run of a step's notebook, from its first row to its last."""

    def __init__(
        self,
        step: Step,
        notebook: Path,
        *,
        timeout_seconds: float,
        claim: ChainRun | None = None,
        on_cell: Callable[[int, int], None] | None = None,
    ) -> None:
        self.step = step
        self.notebook = notebook
        self.claim = claim
        self._run_id: int | None = None
        self._run_num: int | None = None
        self._notebook_run = NotebookRun(
            notebook,
            executed_copy_path(notebook),
            timeout_seconds=timeout_seconds,
            environment={NOTEBOOK_PATH_VARIABLE: str(notebook)},
            on_cell=on_cell,
        )

    def begin(self) -> None:
        """Log that the step starts; an attempt that died before is closed with it."""
        with transaction() as connection:
            if self.claim and self.claim.lost_step_run_id:
                queries("steps").finish_step_run(
                    connection,
                    step_run_id=self.claim.lost_step_run_id,
                    status=StepStatus.FAILED,
                    error="The monitor that ran this notebook ended before it did.",
                    output=None,
                )
            queries("steps").lock_step(connection, step_id=self.step["step_id"])
            row = queries("steps").start_step_run(
                connection, step_id=self.step["step_id"], started_by=self._started_by()
            )
            self._run_id, self._run_num = row["id"], row["run_num"]
            if self.claim:
                chain_runs.note_start(
                    self.claim, step_run_id=row["id"], notebook_path=str(self.notebook)
                )

    def _started_by(self) -> str:
        if self.claim is None:
            return person()
        return f"chain from batch {self.claim.batch_id}, {person()}"[:255]

    def run(self) -> NotebookOutcome:
        """Run the notebook; in any thread."""
        return self._notebook_run.execute()

    def stop(self, reason: str) -> None:
        """End the notebook and everything that it started; from any thread."""
        self._notebook_run.stop(reason)

    def finish(self, outcome: NotebookOutcome) -> NotebookResult:
        """Log how the step ended, and what that means for its hand-over."""
        with transaction():
            self._log_end(outcome)
            if self.claim and chain_runs.finish(self.claim, error=outcome.error) and outcome.error:
                self._announce(outcome)
        return result_of(self.notebook, outcome)

    def release(self, outcome: NotebookOutcome, *, reason: str) -> None:
        """Log that the notebook was stopped on the way, and give its hand-over back."""
        with transaction():
            self._log_end(outcome)
            if self.claim:
                chain_runs.release(self.claim, reason=reason)

    def _log_end(self, outcome: NotebookOutcome) -> None:
        copy = outcome.executed_path
        output = {
            "executed_notebook": relative_to_workflows(copy) if copy else None,
            "execution_seconds": round(outcome.execution_seconds, 3),
        }
        with transaction() as connection:
            queries("steps").finish_step_run(
                connection,
                step_run_id=self._run_id,
                status=StepStatus.FAILED if outcome.error else StepStatus.COMPLETED,
                error=outcome.error,
                output=json.dumps(output),
            )

    def _announce(self, outcome: NotebookOutcome) -> None:
        assert self.claim is not None  # noqa: S101 - the caller has looked
        copy = outcome.executed_path
        events.announce_chain_failure(
            self.claim,
            read_batch(self.claim.batch_id),
            error=outcome.error or "",
            notebook_path=relative_to_workflows(self.notebook),
            executed_path=relative_to_workflows(copy) if copy else None,
        )


def result_of(notebook: Path, outcome: NotebookOutcome) -> NotebookResult:
    """Return an outcome as the public functions give it."""
    return {
        "success": outcome.error is None,
        "notebook_path": notebook,
        "executed_path": outcome.executed_path,
        "execution_time": outcome.execution_seconds,
        "stdout": outcome.stdout,
        "stderr": outcome.stderr,
        "error": outcome.error,
    }


def prepare_claimed(
    claim: ChainRun,
    *,
    timeout_seconds: float,
    on_cell: Callable[[int, int], None] | None = None,
) -> StepExecution:
    """Return the execution of a hand-over that was claimed.

    Raises:
        NotebookError: the step has no notebook that may be started. The hand-over has failed by
            then, with that reason, and a card is due.
    """
    try:
        step = _step_of(claim)
        notebook = find_step_notebook(
            cycle_name=step["cycle_name"],
            stage_num=step["stage_num"],
            step_num=step["step_num"],
            notebook_path=step["notebook_path"],
        )
    except NotebookError as exc:
        fail_unstarted(claim, str(exc))
        raise
    return StepExecution(
        step, notebook, timeout_seconds=timeout_seconds, claim=claim, on_cell=on_cell
    )


def _step_of(claim: ChainRun) -> Step:
    if claim.next_step_id is None:
        raise NotebookError(
            f"The cycle has no step {claim.next_step_num} in stage {claim.stage_num}: "
            "it is not in irp_step."
        )
    with transaction() as connection:
        step: Step = queries("steps").step_by_id(connection, step_id=claim.next_step_id)
    return step


def fail_unstarted(claim: ChainRun, reason: str) -> None:
    """Record that a claimed hand-over could not be started, and put its card into the outbox."""
    with transaction():
        if chain_runs.finish(claim, error=reason):
            events.announce_chain_failure(
                claim,
                read_batch(claim.batch_id),
                error=reason,
                notebook_path=None,
                executed_path=None,
            )


def tidy_up() -> list[AbandonedChainRun]:
    """Fail hand-overs that no attempt brought to an end, with their cards; return them."""
    with transaction() as connection:
        abandoned = chain_runs.tidy_up()
        for run in abandoned:
            if run["step_run_id"] is not None:
                queries("steps").finish_step_run(
                    connection,
                    step_run_id=run["step_run_id"],
                    status=StepStatus.FAILED,
                    error=run["error_message"],
                    output=None,
                )
            events.announce_chain_failure(
                run,
                read_batch(run["batch_id"]),
                error=run["error_message"],
                notebook_path=run["notebook_path"],
                executed_path=None,
            )
    return abandoned

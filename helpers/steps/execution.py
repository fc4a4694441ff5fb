"""One run of a step's notebook: its row in ``irp_step_run``, its claim, its card.

Three parts, because they belong to different threads: ``begin`` and ``finish`` write to the
metastore, ``run`` only runs the notebook and may do so beside others.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from pathlib import Path

from helpers.constants import StepStatus
from helpers.database import queries, transaction
from helpers.errors import NotebookError
from helpers.identity import person
from helpers.notebooks.executor import ExecutorRun
from helpers.notebooks.run import NotebookOutcome, NotebookRun
from helpers.notifications import events
from helpers.records import NotebookResult, Step
from helpers.redaction import describe
from helpers.steps import claims
from helpers.steps.claims import AbandonedChainRun, Claim
from helpers.workflow_paths import executed_copy_path, find_step_notebook, relative_to_workflows

log = logging.getLogger(__name__)

NOTEBOOK_PATH_VARIABLE = "IRP_NOTEBOOK_PATH"
"""Tells a stage notebook which file it is: a kernel knows only its folder."""

STEP_ID_VARIABLE = "IRP_STEP_ID"
"""Tells a stage notebook which step it stands for, whatever its name."""


class StepExecution:
    """One run of a step's notebook, from its first row to its last."""

    def __init__(
        self,
        step: Step,
        notebook: Path,
        *,
        timeout_seconds: float,
        claim: Claim | None = None,
        executor: Executor | None = None,
        on_cell: Callable[[int, int], None] | None = None,
    ) -> None:
        """Prepare a run; with an executor, one of its workers runs the notebook."""
        self.step = step
        self.notebook = notebook
        self.claim = claim
        self._run_id: int | None = None
        prepare = (
            partial(NotebookRun, on_cell=on_cell)
            if executor is None
            else partial(ExecutorRun, executor)
        )
        self._notebook_run: NotebookRun | ExecutorRun = prepare(
            notebook,
            executed_copy_path(notebook),
            timeout_seconds=timeout_seconds,
            environment={
                NOTEBOOK_PATH_VARIABLE: str(notebook),
                STEP_ID_VARIABLE: str(step["step_id"]),
            },
        )

    def begin(self) -> None:
        """Log that the step starts; an attempt that died before is closed with it.

        Raises:
            NotebookError: another monitor has the chain run by now; nothing was logged.
        """
        with transaction() as connection:
            if self.claim:
                queries("steps").close_lost_step_run(
                    connection,
                    chain_run_id=self.claim.id,
                    error="The monitor that ran this notebook ended before it did.",
                )
            queries("steps").lock_step(connection, step_id=self.step["step_id"])
            row = queries("steps").start_step_run(
                connection, step_id=self.step["step_id"], started_by=self._started_by()
            )
            self._run_id = row["id"]
            if self.claim and not claims.note_start(
                self.claim, step_run_id=row["id"], notebook_path=str(self.notebook)
            ):
                raise NotebookError("Another monitor has claimed this chain run.")

    def _started_by(self) -> str:
        if self.claim is None:
            return person()
        return f"chain from batch {self.claim.run['batch_id']}, {person()}"[:255]

    def run(self) -> NotebookOutcome:
        """Run the notebook; in any thread. Whatever goes wrong is an outcome."""
        try:
            return self._notebook_run.execute()
        except Exception as exc:  # noqa: BLE001 - a claim must come to its end
            problem = describe(exc)
            log.error("%s could not be run: %s", self.notebook.name, problem)  # noqa: TRY400 - the traceback may hold a secret
            return NotebookOutcome.failed(f"The notebook could not be run. {problem}")

    def stop(self, reason: str) -> None:
        """End the notebook and everything that it started; from any thread."""
        self._notebook_run.stop(reason)

    def finish(self, outcome: NotebookOutcome) -> NotebookResult:
        """Record how the step ended, and with it its chain run."""
        copy = outcome.executed_path
        with transaction():
            self._log_end(outcome)
            if self.claim:
                fail_or_complete(
                    self.claim,
                    error=outcome.error,
                    notebook=self.notebook,
                    executed_path=relative_to_workflows(copy) if copy else None,
                )
        return result_of(self.notebook, outcome)

    def release(self, outcome: NotebookOutcome, *, reason: str) -> None:
        """Log that the notebook was stopped on the way, and release its chain run."""
        with transaction():
            self._log_end(outcome)
            if self.claim:
                claims.release(self.claim, reason=reason)

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


def notebook_of(claim: Claim) -> Path:
    """Return the notebook of a claimed step.

    Raises:
        NotebookError: the step has no notebook that may be started.
    """
    step, run = claim.step, claim.run
    if step is None:
        raise NotebookError(
            f"The cycle has no step {run['next_step_num']} in stage {run['stage_num']}: "
            "it is not in irp_step."
        )
    return find_step_notebook(
        cycle_name=step["cycle_name"],
        stage_num=step["stage_num"],
        step_num=step["step_num"],
        notebook_path=step["notebook_path"],
    )


def fail_or_complete(
    claim: Claim,
    *,
    error: str | None,
    notebook: Path | None = None,
    executed_path: str | None = None,
) -> None:
    """Record how a claimed chain run ended; the card of a failure goes to the outbox."""
    with transaction():
        if claims.finish(claim, error=error) and error is not None:
            events.announce_chain_failure(
                claim.run,
                error=error,
                notebook_path=relative_to_workflows(notebook) if notebook else None,
                executed_path=executed_path,
            )


def fail_abandoned() -> list[AbandonedChainRun]:
    """Fail chain runs that no attempt brought to an end, with their cards; return them."""
    with transaction() as connection:
        abandoned = claims.close_abandoned()
        for run in abandoned:
            queries("steps").finish_step_run(
                connection,
                step_run_id=run["step_run_id"],
                status=StepStatus.FAILED,
                error=run["error_message"],
                output=None,
            )
            events.announce_chain_failure(
                run,
                error=run["error_message"],
                notebook_path=run["notebook_path"],
                executed_path=None,
            )
    return abandoned

"""One run of a claimed step's notebook.

``begin``, ``judge`` and ``conclude`` write to the metastore; ``run`` only runs the notebook, in any
thread and beside others.
"""

import logging
from collections.abc import Callable
from concurrent.futures import Executor, Future, InvalidStateError
from contextlib import suppress
from functools import partial
from pathlib import Path

from helpers.database import queries, transaction
from helpers.errors import NotebookError
from helpers.identity import person
from helpers.neighbours import step_environment
from helpers.notebooks.executor import ClaimKey, ExecutorRun
from helpers.notebooks.lease import Lease, lease_clock
from helpers.notebooks.run import Ending, NotebookOutcome, NotebookRun, Verdict
from helpers.records import NotebookResult
from helpers.redaction import describe
from helpers.steps import claims, verdicts
from helpers.steps.acting import STEP_CLAIM_VARIABLE
from helpers.steps.claims import Claim
from helpers.steps.verdicts import StepVerdict
from helpers.workflow_paths import (
    executed_copy_path,
    find_step_notebook,
    relative_to_workflows,
)

log = logging.getLogger(__name__)

NOTEBOOK_PATH_VARIABLE = "IRP_NOTEBOOK_PATH"
"""Tells a stage notebook which file it is: a kernel knows only its folder."""

STEP_ID_VARIABLE = "IRP_STEP_ID"
"""Tells a stage notebook which step it stands for, whatever its name."""


class StepExecution:
    """One run of a step's notebook, from its first row to its last."""

    def __init__(
        self,
        claim: Claim,
        notebook: Path,
        *,
        timeout_seconds: float,
        executor: Executor | None = None,
        on_cell: Callable[[int, int], None] | None = None,
    ) -> None:
        """Prepare a run; with an executor, one of its workers runs the notebook."""
        self.claim = claim
        self.notebook = notebook
        self.lease = Lease(0.0)  # not good for a start before that is noted
        self.is_judged = False
        self.recorded: StepVerdict | None = None  # None: it was stopped, or the claim was lost
        self.problem: Exception | None = None  # what kept its end from being recorded
        self.is_failed = False  # with that problem
        self._copy = executed_copy_path(notebook)
        self._step_run_id: int | None = None
        prepare = (
            partial(NotebookRun, on_cell=on_cell, lease=self.lease)
            if executor is None
            else partial(
                ExecutorRun,
                executor,
                claim=ClaimKey(claim.step_id, claim.attempt, claims.LASTS.total_seconds()),
            )
        )
        self._notebook_run: NotebookRun | ExecutorRun = prepare(
            notebook,
            self._copy,
            timeout_seconds=timeout_seconds,
            environment={
                NOTEBOOK_PATH_VARIABLE: str(notebook),
                STEP_ID_VARIABLE: str(claim.step_id),
                STEP_CLAIM_VARIABLE: f"{claim.step_id}:{claim.attempt}",
                **step_environment(),
            },
        )

    def begin(self) -> None:
        """Log that the step starts.

        Raises:
            NotebookError: another has claimed the step by now; nothing was logged.
        """
        with transaction():
            queries("steps").close_unanswered_start(
                step_id=self.claim.step_id,
                attempt=self.claim.attempt,
                error="The reply to this start was lost; the notebook was started by another try.",
            )
            queries("steps").lock_step(step_id=self.claim.step_id)
            row = queries("steps").start_step_run(
                step_id=self.claim.step_id, started_by=self._started_by()
            )
            sent_at = lease_clock()  # a process that freezes from here on starts no kernel later
            if not claims.note_start(
                self.claim, step_run_id=row["id"], notebook_path=str(self.notebook)
            ):
                raise NotebookError("Another monitor has claimed this step.")
        self._step_run_id = row["id"]
        self.lease.renew(sent_at)

    def _started_by(self) -> str:
        batches = [str(run["batch_id"]) for run in self.claim.served[:1]]
        if self.claim.rerun_by is not None:
            return f"rerun for {self.claim.rerun_by}, {person()}"[:255]
        return f"chain from batch {batches[0]}, {person()}"[:255] if batches else person()

    def run(self) -> NotebookOutcome:
        """Run the notebook; in any thread. Whatever goes wrong is an outcome."""
        try:
            outcome = self._notebook_run.execute()
        except Exception as exc:  # noqa: BLE001 - a claim must come to its end
            problem = describe(exc)
            log.error("%s could not be run: %s", self.notebook.name, problem)  # noqa: TRY400 - the traceback may hold a secret
            outcome = NotebookOutcome.failed(f"The notebook could not be run. {problem}")
        with suppress(InvalidStateError):  # a run elsewhere has no verdict before
            self.verdict.set_result(outcome)
        return outcome

    @property
    def verdict(self) -> Future[Verdict]:
        """Completed as soon as the last cell has ended, whatever still runs then."""
        return self._notebook_run.verdict

    @property
    def was_stopped(self) -> bool:
        """Whether the notebook was stopped, by whomever, before it came to its end."""
        return self.verdict.done() and self.verdict.result().ending is Ending.STOPPED

    def stop(self, reason: str) -> None:
        """End the notebook and everything that it started; from any thread."""
        self._notebook_run.stop(reason)

    def judge(self) -> None:
        """Record how the notebook ended, its own word included, unless it was stopped."""
        verdict = self.verdict.result()
        if not self.was_stopped:
            assert self._step_run_id is not None  # noqa: S101 - it has begun
            self.recorded = verdicts.record(
                self.claim,
                error=verdict.error,
                step_run_id=self._step_run_id,
                seconds=verdict.execution_seconds,
                notebook=self.notebook,
                executed_copy=self._copy,
            )
        self.is_judged = True

    def conclude(self, outcome: NotebookOutcome) -> None:
        """Release the claim of a notebook that is gone; what was not recorded is due again."""
        with transaction():
            written = outcome.executed_path
            if self.recorded is not None and written != self._copy:
                queries("steps").note_executed_copy(
                    step_run_id=self._step_run_id,
                    path=written and relative_to_workflows(written),
                )
            claims.release(self.claim, reason=outcome.error or "")


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
    step = claim.step
    return find_step_notebook(
        cycle_name=step["cycle_name"],
        stage_num=step["stage_num"],
        step_num=step["step_num"],
        notebook_path=step["notebook_path"],
    )

"""Run the notebook of one step, with its log and, where it was handed over, its claim.

Three parts, because they belong to different threads: ``begin`` and ``finish`` write to the
metastore, ``run`` only runs the notebook and may do so beside others.
"""

from __future__ import annotations

import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from helpers.batch import read_batch
from helpers.chaining import runs as chain_runs
from helpers.chaining.runs import AbandonedChainRun, ChainRun
from helpers.constants import StepStatus
from helpers.database import queries, transaction
from helpers.errors import DatabaseUnavailableError, NotebookError
from helpers.identity import person
from helpers.notebooks.executor import ExecutorRun
from helpers.notebooks.run import NotebookOutcome, NotebookRun
from helpers.notifications import events
from helpers.records import NotebookResult, Step
from helpers.redaction import redact
from helpers.workflow_paths import (
    executed_copy_path,
    find_step_notebook,
    relative_to_workflows,
)

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 30.0
"""For a database that restarts; a claim does not expire meanwhile, see CLAIM_EXPIRES."""

_T = TypeVar("_T")

NOTEBOOK_PATH_VARIABLE = "IRP_NOTEBOOK_PATH"
"""Tells a stage notebook which file it is: a kernel knows only its folder."""

STEP_ID_VARIABLE = "IRP_STEP_ID"
"""Tells a stage notebook which step it stands for, whatever its name."""


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back until the block is over, and then let them strike.

    For the moments between doing something that must be undone and knowing of it, such as a claim.
    Signals reach the main thread only; in another thread nothing needs to be held.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for held in came:
            signal.raise_signal(held)


def patiently(
    action: Callable[[], _T],
    *,
    is_worth_waiting: Callable[[], bool] = lambda: True,
) -> _T:
    """Do something with the metastore, uninterrupted; where it is gone, wait until it is back.

    Raises:
        DatabaseUnavailableError: it stays away, or waiting for it is not worth it.
    """
    give_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with interrupts_held():
                return action()
        except DatabaseUnavailableError:
            if not is_worth_waiting() or time.monotonic() > give_up:
                raise
        time.sleep(1)


class StepExecution:
    """One run of a step's notebook, from its first row to its last."""

    def __init__(
        self,
        step: Step,
        notebook: Path,
        *,
        timeout_seconds: float,
        claim: ChainRun | None = None,
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
            NotebookError: another monitor has the hand-over by now; nothing was logged.
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
            if self.claim and not chain_runs.note_start(
                self.claim, step_run_id=row["id"], notebook_path=str(self.notebook)
            ):
                raise NotebookError("Another monitor has taken this hand-over.")

    def _started_by(self) -> str:
        if self.claim is None:
            return person()
        return f"chain from batch {self.claim.batch_id}, {person()}"[:255]

    def run(self) -> NotebookOutcome:
        """Run the notebook; in any thread. Whatever goes wrong is an outcome."""
        try:
            return self._notebook_run.execute()
        except Exception as exc:  # noqa: BLE001 - a claim must come to its end
            problem = redact(f"{type(exc).__name__}: {exc}")
            log.error("%s could not be run: %s", self.notebook.name, problem)  # noqa: TRY400 - the traceback may hold a secret
            return NotebookOutcome.failed(f"The notebook could not be run. {problem}")

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
        fail(claim, str(exc))
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


def fail(claim: ChainRun, reason: str) -> None:
    """Record that a claimed hand-over failed outside its notebook; its card goes to the outbox."""
    with transaction():
        if chain_runs.finish(claim, error=reason):
            events.announce_chain_failure(
                claim,
                read_batch(claim.batch_id),
                error=reason,
                notebook_path=None,
                executed_path=None,
            )


def fail_abandoned() -> list[AbandonedChainRun]:
    """Fail hand-overs that no attempt brought to an end, with their cards; return them."""
    with transaction() as connection:
        abandoned = chain_runs.close_abandoned()
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

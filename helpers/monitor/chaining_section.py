"""Section 4: claim what is due, whoever made it due, and run the notebooks side by side.

Notebooks run in threads; everything that touches the metastore is done by the thread that
started the pass, but for the heartbeat.
"""

from __future__ import annotations

import logging
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from helpers import chain_runs, step_execution
from helpers.batch import read_batch
from helpers.chain_runs import ChainRun, Heartbeat
from helpers.display import Progress, progress
from helpers.errors import BatchMonitoringError, DatabaseUnavailableError, NotebookError
from helpers.identity import owner_id
from helpers.monitor.reports import ChainedStep, ChainReport, Remark
from helpers.notebook_run import NotebookOutcome
from helpers.records import NotebookResult
from helpers.settings import Settings, redact
from helpers.step_execution import StepExecution
from helpers.workflow_paths import relative_to_workflows

log = logging.getLogger(__name__)

_INTERRUPTED = "The pass that ran this notebook was interrupted; a later pass starts it again."


def execute_due_steps(*, settings: Settings) -> ChainReport:
    """Run every hand-over that is due or whose owner died, at most so many at a time."""
    report = ChainReport()
    section = _Section(report, settings)
    try:
        _note_abandoned(report)
        section.run()
    finally:
        section.close()
    report.open_elsewhere = [run for run in chain_runs.open_runs() if run["owner"] != owner_id()]
    return report


def _note_abandoned(report: ChainReport) -> None:
    for run in step_execution.tidy_up():
        text = run["error_message"]
        report.errors.append(Remark(f"Stage {run['stage_num']}, step {run['next_step_num']}", text))


@dataclass
class _Section:
    """The notebooks that run at this moment."""

    report: ChainReport
    settings: Settings
    running: dict[Future[NotebookOutcome], StepExecution] = field(default_factory=dict)

    def __post_init__(self) -> None:
        workers = self.settings.monitor_step_workers
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="step")
        self._heartbeat = Heartbeat(self._lost)
        self._bar: Progress | None = None

    def run(self) -> None:
        """Claim and run until nothing is due and nothing runs."""
        while True:
            while len(self.running) < self.settings.monitor_step_workers and self._start_next():
                pass
            if not self.running:
                return
            done, _ = wait(self.running, return_when=FIRST_COMPLETED)
            for future in done:
                self._end(future)

    def _start_next(self) -> bool:
        """Start one hand-over; False where none is due."""
        claim = chain_runs.claim()
        if claim is None:
            return False
        try:
            execution = step_execution.prepare_claimed(
                claim,
                timeout_seconds=self.settings.monitor_step_timeout_seconds,
                on_cell=lambda done, total: self._count_cell(claim, done, total),
            )
            execution.begin()
        except NotebookError as exc:
            self.report.steps.append(_chained(claim, error=str(exc)))
            return True
        self._heartbeat.add(claim)
        self.running[self._pool.submit(execution.run)] = execution
        return True

    def _count_cell(self, claim: ChainRun, done: int, total: int) -> None:
        if self._bar is None:
            self._bar = progress(0, "Running notebooks", "cells")
        if done == 0:
            self._bar.total = (self._bar.total or 0) + total
        self._bar.set_postfix_str(
            f"stage {claim.stage_num} step {claim.next_step_num}: cell {done} of {total}",
            refresh=False,
        )
        self._bar.update(1 if done else 0)

    def _end(self, future: Future[NotebookOutcome]) -> None:
        execution = self.running.pop(future)
        claim = execution.claim
        assert claim is not None  # noqa: S101 - this section runs claimed hand-overs only
        try:
            result = execution.finish(future.result())
        except DatabaseUnavailableError:
            raise
        except BatchMonitoringError as exc:
            log.exception("Stage %s, step %s", claim.stage_num, claim.next_step_num)
            self.report.errors.append(Remark(f"Chain run {claim.id}", str(exc)))
        else:
            self.report.steps.append(_chained(claim, result=result))
        finally:
            self._heartbeat.remove(claim)

    def _lost(self, run_id: int) -> None:
        for execution in list(self.running.values()):
            if execution.claim and execution.claim.id == run_id:
                execution.stop("This hand-over was lost: its heartbeat could not be renewed.")

    def close(self) -> None:
        """Stop what still runs, which it does only where the pass was cut off, and give it back."""
        for execution in self.running.values():
            execution.stop(_INTERRUPTED)
        self._pool.shutdown(wait=True)
        try:
            for future, execution in self.running.items():
                execution.release(future.result(), reason=_INTERRUPTED)
        finally:
            self._heartbeat.stop()
            if self._bar is not None:
                self._bar.close()


def _chained(
    claim: ChainRun, *, result: NotebookResult | None = None, error: str | None = None
) -> ChainedStep:
    copy = result["executed_path"] if result else None
    batch = read_batch(claim.batch_id)
    problem = result["error"] if result else error
    return ChainedStep(
        batch_id=claim.batch_id,
        cycle_name=batch["cycle_name"],
        stage_num=claim.stage_num,
        from_step_num=claim.from_step_num,
        next_step_num=claim.next_step_num,
        error=problem and redact(problem),
        executed_path=relative_to_workflows(copy) if copy else None,
        seconds=result["execution_time"] if result else None,
    )

"""Section 4: claim what is due, whoever made it due, and run the notebooks side by side.

Notebooks run in threads; everything that touches the metastore is done by the thread that
started the pass, but for the heartbeat. A claim is held until its end is on record: whatever
cuts the section off, what is still held then is given back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from helpers import step_execution
from helpers.batch import read_batch
from helpers.chaining import runs as chain_runs
from helpers.chaining.runs import CLAIM_EXPIRES, ChainRun, Heartbeat
from helpers.display import Progress, Remark, progress
from helpers.errors import DatabaseError, NotebookError
from helpers.identity import owner_id
from helpers.monitor.problems import in_words, survived
from helpers.monitor.reports import ChainedStep, ChainReport
from helpers.notebooks.run import Ending, NotebookOutcome
from helpers.records import NotebookResult
from helpers.redaction import redact
from helpers.settings import Settings
from helpers.step_execution import StepExecution, interrupts_held, patiently
from helpers.workflow_paths import relative_to_workflows

log = logging.getLogger(__name__)

_INTERRUPTED = "The pass that ran this notebook was interrupted; a later pass starts it again."
_LOST = "The claim could not be renewed, so the notebook was stopped. It is started again."

_T = TypeVar("_T")


def execute_due_steps(report: ChainReport, *, settings: Settings) -> None:
    """Run every hand-over that is due or whose owner died, at most so many at a time."""
    _note_abandoned(report)
    section = _Section(report, settings)
    try:
        section.run()
    finally:
        with interrupts_held():  # or a second Ctrl-C would leave a kernel or a claim behind
            section.close()
    report.open_elsewhere = [run for run in chain_runs.open_runs() if run["owner"] != owner_id()]


def _note_abandoned(report: ChainReport) -> None:
    with survived("Hand-overs that were given up", report.errors):
        for run in step_execution.fail_abandoned():
            about = f"Stage {run['stage_num']}, step {run['next_step_num']}"
            report.errors.append(Remark(about, run["error_message"]))


@dataclass
class _Section:
    """The notebooks that run at this moment, and the claims whose end is not on record yet."""

    report: ChainReport
    settings: Settings
    running: dict[Future[NotebookOutcome], StepExecution] = field(default_factory=dict)
    held: dict[int, ChainRun] = field(default_factory=dict)

    def __post_init__(self) -> None:
        workers = self.settings.monitor_step_workers
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="step")
        self._heartbeat = Heartbeat(self._lost)
        self._bar: Progress | None = None
        self._cut_off: ChainRun | None = None  # claimed, and its start not on record yet
        self._lost_ids: set[int] = set()

    def run(self) -> None:
        """Claim and run until nothing is due and nothing runs."""
        while True:
            while len(self.running) < self.settings.monitor_step_workers and self._start_next():
                pass
            if not self.running:
                return
            done, _ = wait(self.running, return_when=FIRST_COMPLETED)
            for future in done:
                self._patiently(partial(self._end, future))

    def _patiently(self, action: Callable[[], _T]) -> _T:
        """Do something with the metastore; while notebooks run, a restart of it is waited for."""
        return patiently(action, is_worth_waiting=lambda: bool(self.running))

    def _start_next(self) -> bool:
        """Start one hand-over; False where none is due."""
        return self._patiently(self._claim_and_start)

    def _claim_and_start(self) -> bool:
        claim = self._cut_off or self._claim()
        if claim is None:
            return False
        self._cut_off = claim
        with self._failing(claim):
            try:
                self._start(claim)
            except NotebookError as exc:  # it has failed with it, or is another's
                self._let_go(claim, _chained(claim, error=str(exc)))
        self._cut_off = None
        return True

    def _claim(self) -> ChainRun | None:
        claim = None
        with survived("Next steps", self.report.errors):  # what runs already goes on
            claim = chain_runs.claim()
        if claim is not None:
            self.held[claim.id] = claim
            self._heartbeat.add(claim)
        return claim

    def _start(self, claim: ChainRun) -> None:
        execution = step_execution.prepare_claimed(
            claim,
            timeout_seconds=self.settings.monitor_step_timeout_seconds,
            on_cell=lambda done, total: self._count_cell(claim, done, total),
        )
        execution.begin()
        self.running[self._pool.submit(execution.run)] = execution
        if claim.id in self._lost_ids:  # while its start waited for the database
            execution.stop(_LOST)

    @contextmanager
    def _failing(self, claim: ChainRun) -> Iterator[None]:
        """End a hand-over that something else than its notebook brings down: people look first.

        Where not even that can be put on record, the claim stays held, and is given back later.
        """
        about = f"Stage {claim.stage_num}, step {claim.next_step_num}"
        with survived(about, self.report.errors) as errors:
            yield
        for error in errors:
            with survived(about, self.report.errors):
                step_execution.fail(claim, in_words(error))
                self._let_go(claim)

    def _let_go(self, claim: ChainRun, step: ChainedStep | None = None) -> None:
        """Forget a claim whose end is on record."""
        self._heartbeat.remove(claim)
        self._lost_ids.discard(claim.id)
        self.held.pop(claim.id)
        if step is not None:
            self.report.steps.append(step)

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
        """Put the end of a notebook on record."""
        execution = self.running[future]
        claim = execution.claim
        assert claim is not None  # noqa: S101 - this section runs claimed hand-overs only
        with self._failing(claim):
            outcome = future.result()
            if outcome.ending is Ending.STOPPED:
                self._give_back(execution, outcome)
            else:
                self._let_go(claim, _chained(claim, result=execution.finish(outcome)))
        self.running.pop(future)

    def _give_back(self, execution: StepExecution, outcome: NotebookOutcome) -> None:
        """Let a later pass run what this one had to stop; nothing changes if one does already."""
        claim = execution.claim
        assert claim is not None  # noqa: S101 - this section runs claimed hand-overs only
        execution.release(outcome, reason=_LOST)
        self._let_go(claim)
        about = f"Stage {claim.stage_num}, step {claim.next_step_num}"
        self.report.errors.append(Remark(about, _LOST))

    def _lost(self, run_id: int) -> None:
        self._lost_ids.add(run_id)
        for execution in list(self.running.values()):
            if execution.claim and execution.claim.id == run_id:
                execution.stop(_LOST)

    def close(self) -> None:
        """Stop what still runs, which it does only where the pass was cut off, and give it back."""
        for execution in self.running.values():
            execution.stop(_INTERRUPTED)
        self._pool.shutdown(wait=True)
        try:
            for future, execution in list(self.running.items()):
                if future.result().ending is Ending.STOPPED:
                    execution.release(future.result(), reason=_INTERRUPTED)
                else:  # it came to its end all the same
                    self._end(future)
            for claim in self.held.values():
                chain_runs.release(claim, reason=_INTERRUPTED)
        except DatabaseError as exc:  # whatever cut the section off is told; claims run out
            seconds = CLAIM_EXPIRES.total_seconds()
            log.error("Claims were not given back, and run out in %g s: %s", seconds, exc)  # noqa: TRY400
        finally:
            self._heartbeat.stop()
            if self._bar is not None:
                self._bar.close()


def _chained(
    claim: ChainRun, *, result: NotebookResult | None = None, error: str | None = None
) -> ChainedStep:
    copy = result["executed_path"] if result else None
    problem = result["error"] if result else error
    return ChainedStep(
        batch_id=claim.batch_id,
        cycle_name=read_batch(claim.batch_id)["cycle_name"],
        stage_num=claim.stage_num,
        from_step_num=claim.from_step_num,
        next_step_num=claim.next_step_num,
        error=problem and redact(problem),
        executed_path=relative_to_workflows(copy) if copy else None,
        seconds=result["execution_time"] if result else None,
    )

"""Section 4: run the steps that are due, whoever made them due, and report how they ended."""

from __future__ import annotations

from helpers.display import Progress, Remark, progress
from helpers.errors import NotebookError
from helpers.identity import owner_id
from helpers.monitor.problems import isolated
from helpers.monitor.reports import ChainedStep, ChainReport
from helpers.settings import Settings
from helpers.steps import claims
from helpers.steps.claims import Claim
from helpers.steps.execution import fail_abandoned
from helpers.steps.runner import LOST, Runner, StepEnd
from helpers.workflow_paths import relative_to_workflows


def execute_due_steps(report: ChainReport, *, settings: Settings) -> None:
    """Run every chain run that is due or whose claim has expired, so many at a time."""
    with isolated("Chain runs that were given up", report.errors):
        for run in fail_abandoned():
            about = f"Stage {run['stage_num']}, step {run['next_step_num']}"
            report.errors.append(Remark(about, run["error_message"]))
    cells = _Cells()
    runner = Runner(
        timeout_seconds=settings.monitor_step_timeout_seconds,
        workers=settings.monitor_step_workers,
        on_cell=cells.count,
    )
    try:
        with runner:
            for end in runner.run_due():
                _report(end, report)
    finally:
        cells.close()
    report.open_elsewhere = [run for run in claims.open_runs() if run["owner"] != owner_id()]


def _report(end: StepEnd, report: ChainReport) -> None:
    about = end.claim.about if end.claim else "Next steps"
    if end.was_released:
        report.errors.append(Remark(about, LOST))
    elif end.claim is not None and (end.result or isinstance(end.problem, NotebookError)):
        report.steps.append(_chained(end, end.claim))
    elif end.problem is not None:
        with isolated(about, report.errors):
            raise end.problem


def _chained(end: StepEnd, claim: Claim) -> ChainedStep:
    copy = end.result["executed_path"] if end.result else None
    problem = end.result["error"] if end.result else str(end.problem)
    return ChainedStep(
        batch_id=claim.run["batch_id"],
        cycle_name=claim.run["cycle_name"],
        stage_num=claim.run["stage_num"],
        from_step_num=claim.run["step_num"],
        next_step_num=claim.run["next_step_num"],
        error=problem,
        executed_path=relative_to_workflows(copy) if copy else None,
        seconds=end.result["execution_time"] if end.result else None,
    )


class _Cells:
    """A bar of the cells of all notebooks that run."""

    def __init__(self) -> None:
        self._bar: Progress | None = None

    def count(self, claim: Claim, done: int, total: int) -> None:
        """Count a cell that is done, 0 when a notebook begins."""
        if self._bar is None:
            self._bar = progress(0, "Running notebooks", "cells")
        if done == 0:
            self._bar.total = (self._bar.total or 0) + total
        run = claim.run
        self._bar.set_postfix_str(
            f"stage {run['stage_num']} step {run['next_step_num']}: cell {done} of {total}",
            refresh=False,
        )
        self._bar.update(1 if done else 0)

    def close(self) -> None:
        """End the bar."""
        if self._bar is not None:
            self._bar.close()

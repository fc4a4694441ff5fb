"""Section 4: run the steps that are due, whoever made them due, and report how they ended."""

from collections.abc import Sequence

from helpers.display import Progress, Remark, progress
from helpers.errors import NotebookError
from helpers.identity import owner_id
from helpers.monitor.problems import isolated
from helpers.monitor.reports import ChainedStep, ChainReport
from helpers.records import ChainRun, NotebookResult, Step
from helpers.settings import Settings
from helpers.steps import claims
from helpers.steps.claims import Claim
from helpers.steps.runner import LOST, Runner, StepEnd
from helpers.steps.verdicts import fail_abandoned
from helpers.workflow_paths import relative_to_workflows


def execute_due_steps(report: ChainReport, *, settings: Settings) -> None:
    """Run every chain run that is due or whose claim has expired, so many at a time."""
    with isolated("Chain runs that were given up", report.errors):
        for run in fail_abandoned():
            step_num = run["next_step_num"]
            report.steps.append(_chained(run, step_num, [run], error=run["error_message"]))
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
    claim, result, problem = end.claim, end.result, end.problem
    if claim is None or (problem is not None and not isinstance(problem, NotebookError)):
        with isolated(claim.about if claim else "Next steps", report.errors):
            raise problem or AssertionError("A step ends with a result or a problem.")
    elif end.was_lost and result:
        report.errors.append(Remark(claim.about, result["error"] or LOST))
    else:
        error = result["error"] if result else str(problem)
        step = claim.step
        report.steps.append(
            _chained(step, step["step_num"], claim.served, error=error, result=result)
        )


def _chained(
    step: Step | ChainRun,
    step_num: int,
    served: Sequence[ChainRun],
    *,
    error: str | None,
    result: NotebookResult | None = None,
) -> ChainedStep:
    copy = result["executed_path"] if result else None
    return ChainedStep(
        batch_id=served[0]["batch_id"] if served else None,
        also_after=tuple(run["batch_id"] for run in served[1:]),
        cycle_name=step["cycle_name"],
        stage_num=step["stage_num"],
        from_step_num=served[0]["step_num"] if served else None,
        next_step_num=step_num,
        error=error,
        executed_path=relative_to_workflows(copy) if copy else None,
        seconds=result["execution_time"] if result else None,
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
        self._bar.set_postfix_str(f"{claim.about}: cell {done} of {total}", refresh=False)
        self._bar.update(1 if done else 0)

    def close(self) -> None:
        """End the bar."""
        if self._bar is not None:
            self._bar.close()

"""Section 4: run the steps that are due, whoever made them due, and report how they ended."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from helpers.constants import ChainRunStatus, CycleStatus
from helpers.display import (
    Block,
    Cell,
    Headline,
    Note,
    Progress,
    Remark,
    Remarks,
    Report,
    Row,
    Severity,
    Table,
    Value,
    badge,
    clock,
    duration,
    progress,
)
from helpers.errors import NotebookError
from helpers.identity import owner_id, owner_name
from helpers.monitor.problems import isolated
from helpers.records import ChainRun, NotebookResult, Step, step_in_cycle
from helpers.settings import get_settings
from helpers.steps.claims import (
    Claim,
    OpenChainRun,
    open_runs,
    why_not_started,
)
from helpers.steps.runner import LOST, Runner, StepEnd, step_cluster
from helpers.steps.verdicts import fail_abandoned
from helpers.text import counted, listed, shorten
from helpers.workflow_paths import relative_to_workflows


@dataclass(frozen=True)
class ChainedStep:
    """A next step that this pass started, or tried to."""

    cycle_name: str
    stage_num: int
    next_step_num: int
    after: str  # the batches that the run has served
    error: str | None
    executed_path: str | None = None
    seconds: float | None = None  # None: it was not started

    @property
    def name(self) -> str:
        """The step, as reports name it."""
        return f"Step {step_in_cycle(self.cycle_name, self.stage_num, self.next_step_num)}"

    @property
    def status(self) -> ChainRunStatus:
        """How it ended."""
        return ChainRunStatus.COMPLETED if self.error is None else ChainRunStatus.FAILED


@dataclass(repr=False)
class ChainReport(Report):
    """Section 4: the steps that followed."""

    steps: list[ChainedStep] = field(default_factory=list)
    open_elsewhere: list[OpenChainRun] = field(default_factory=list)
    blocked: str | None = None  # why nothing was started
    errors: list[Remark] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)  # about the cluster that runs notebooks

    @property
    def failed(self) -> list[ChainedStep]:
        """Steps whose notebook failed or could not be started."""
        return [step for step in self.steps if step.error is not None]

    def state(self, run: OpenChainRun) -> str:
        """Return why this pass does not run a chain run that is due or running."""
        if run["cycle_status"] != CycleStatus.ACTIVE:
            return f"waits, because the cycle is {run['cycle_status']}"
        if run["status"] == ChainRunStatus.RUNNING:
            since, until = clock(run["started_ts"]), clock(run["claim_expires_ts"])
            who = owner_name(run["owner"] or "another run")
            return f"run by {who} since {since}, claimed until {until}"
        return why_not_started(run) or "due; the next pass starts it"

    @property
    def headline(self) -> str:
        """The section in one sentence."""
        if self.blocked:
            return f"No step was started, because it would fail as well: {self.blocked}"
        if not self.steps:
            return "No step was started." if self.errors else "No step was due."
        failed = f", {len(self.failed)} failed" if self.failed else ""
        return f"{counted(len(self.steps), 'next step')} started{failed}."

    @property
    def severity(self) -> Severity:
        """How it looks."""
        if self.failed or self.errors or self.blocked:
            return Severity.ERROR
        if self.warnings:
            return Severity.WARNING
        return Severity.OK if self.steps else Severity.NEUTRAL

    def blocks(self) -> Iterator[Block]:
        """Give what is shown, from the top."""
        yield Headline(self.severity, self.headline)
        yield Remarks(self.errors)
        for warning in self.warnings:
            yield Note(warning, Severity.WARNING)
        yield Table(
            ["Step", "After", "How it ended", "Took", "Executed copy"],
            [_chained_row(step) for step in self.steps],
            "step",
        )
        steps = [(r["cycle_name"], r["stage_num"], r["next_step_num"]) for r in self.open_elsewhere]
        waiting = [
            Remark(f"Step {step_in_cycle(*step)}", self.state(run))
            for step, run in zip(steps, self.open_elsewhere, strict=True)
        ]
        yield Remarks(waiting, "step", title="Not run by this pass")


def _chained_row(step: ChainedStep) -> Row:
    cells: list[Value] = [
        step.name,
        step.after,
        badge(step.status),
        duration(step.seconds),
        Cell(step.executed_path, link=step.executed_path) if step.executed_path else "—",
    ]
    error = [Note(shorten(step.error), Severity.ERROR)] if step.error else []
    return Row(cells, error)


def execute_due_steps(report: ChainReport) -> None:
    """Run every chain run that is due or whose claim has expired, so many at a time."""
    with isolated("Chain runs that were given up", report.errors):
        for run in fail_abandoned():
            step_num = run["next_step_num"]
            report.steps.append(_chained(run, step_num, [run], error=run["error_message"]))
    with isolated("Next steps", report.errors):
        _run_due(report)
    report.open_elsewhere = [run for run in open_runs() if run["owner"] != owner_id()]


def _run_due(report: ChainReport) -> None:
    settings = get_settings()
    cells = _Cells()
    with ExitStack() as stack:
        stack.callback(cells.close)
        cluster = stack.enter_context(step_cluster(settings.monitor_step_executor))
        runner = Runner(
            timeout_seconds=settings.monitor_step_timeout_seconds,
            workers=settings.monitor_step_workers,
            cluster=cluster,
            on_cell=cells.count,
        )
        for end in stack.enter_context(runner).run_due():
            _report(end, report)
        report.warnings = cluster.warnings if cluster else []


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
    batches = listed([run["batch_id"] for run in served])
    return ChainedStep(
        cycle_name=step["cycle_name"],
        stage_num=step["stage_num"],
        next_step_num=step_num,
        after=f"batch {batches}" if served else "a person's plan",
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

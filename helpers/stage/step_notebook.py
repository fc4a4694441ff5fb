"""The step that a stage notebook stands for."""

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from helpers.batch import (
    BatchValidation,
    NamedBatch,
    get_batch_jobs,
    left_to_submit,
    submit_batch,
    validate_batch,
)
from helpers.batch.named import batch_with
from helpers.batch.plans.plan import BatchPlan
from helpers.batch.preparing import PreparedBatch, PreparePlan, create_batch
from helpers.batch.rows import Source
from helpers.constants import BatchStatus, BatchType
from helpers.database import queries
from helpers.display import Block, Headline, Report, Row, Severity, Table, badge, tally
from helpers.errors import BatchError, NotebookError
from helpers.irp_integration import IRPClient
from helpers.irp_integration.building import can_be_built, row_columns
from helpers.records import BatchSubmission, Step
from helpers.stage.location import current_step
from helpers.stage.own_work import Work, do_batch
from helpers.stage.reports import (
    StageBatch,
    StageSummary,
    SubmissionReport,
    stage_batches,
    summarise_stage,
)
from helpers.steps import claims
from helpers.steps.acting import RunByHand, is_own
from helpers.steps.execution import STEP_ID_VARIABLE
from helpers.steps.rules import step_rule
from helpers.text import counted, listed
from helpers.workflow_paths import ACTIVE_PREFIX, StepReference, workflows_dir

RETRY_AFTER_SECONDS = (10.0, 30.0, 90.0)
"""A host that throttles, or restarts, has mostly recovered by then."""


def open_step(notebook: Path | str | None = None) -> "StepNotebook":
    """Return the step that the running notebook belongs to.

    If the executor runs it, that says which; else the notebook's path does. Warns if somebody else
    runs the step, works on it or holds it.

    Args:
        notebook: the notebook of another step, relative to the workflows folder.

    Raises:
        NotebookError: the notebook cannot tell, or the metastore does not know the step.
    """
    if notebook is None:
        step = _step_named() or _step_at(current_step())
    else:
        step = _step_at(current_step(workflows_dir() / notebook))
    holder = claims.holder_of(step["step_id"])
    if holder is not None and not is_own(step["step_id"], holder):
        warnings.warn(claims.describe_use(step["step_id"], holder), stacklevel=2)
    held = claims.hold_on(step)
    if held:
        warnings.warn(f"This step is {held}: no pass starts it.", stacklevel=2)
    return StepNotebook(step)


def _step_named() -> Step | None:
    """Return the step that the executor has named; None if it does not run this notebook."""
    named = os.environ.get(STEP_ID_VARIABLE, "")
    if not named.isdecimal():
        return None
    return cast("Step | None", queries("steps").step_by_id(step_id=int(named)))


def _step_at(reference: StepReference) -> Step:
    step: Step | None = queries("steps").step_by_numbers(**vars(reference))
    if step is None:
        raise NotebookError(
            f"The metastore has no stage {reference.stage_num}, step {reference.step_num} in cycle "
            f"{reference.cycle_name}. Create it there, or correct the names of folder and file."
        )
    return step


class StepNotebook(Report):
    """A step with its batches. In a cell by itself it shows where it stands.

    If a person runs the notebook, what ``submit_batch``, ``do_work`` and ``summary`` come to is
    logged as a run of the step.
    """

    def __init__(self, step: Step) -> None:
        self.step = step
        self._run = RunByHand(step["step_id"])

    @property
    def data_folder(self) -> Path:
        """The folder ``data`` of the cycle."""
        return workflows_dir() / f"{ACTIVE_PREFIX}{self.step['cycle_name']}" / "data"

    def blocks(self) -> Iterator[Block]:
        """Show where the notebook stands, and the batches of its step."""
        step = self.step
        yield Headline(
            Severity.INFO,
            f"{step['cycle_name']}: stage {step['stage_num']} {step['stage_name']}, "
            f"step {step['step_num']} {step['step_name']}",
        )
        rows = [
            Row([str(b.batch_id), b.batch_type, badge(b.status), tally(b.job_counts)])
            for b in self._batches()
        ]
        yield Table(["Batch", "Type", "Status", "Jobs"], rows, "batch", "batches")

    def _batches(self) -> list[StageBatch]:
        batches = stage_batches(self.step)
        return [batch for batch in batches if batch.step_num == self.step["step_num"]]

    def prepare(self, rows: Source, *, batch_type: str | None = None) -> PreparePlan:
        """Plan the batch of this step, with one job for each row; names are looked up at Moody's.

        A file that is missing or has no rows leaves the step with the batch that it has.

        Args:
            rows: dicts, a ``.csv`` or ``.xlsx`` file (relative to ``data_folder``), or a DataFrame.
            batch_type: None takes the type that belongs to this step.

        Raises:
            BatchError: the rows cannot be read, or no type belongs to this step.
        """
        kind = batch_type or self._usual_type()
        prepared = self._prepared_batch()
        if isinstance(rows, str | Path):
            rows = self.data_folder / rows
            if not rows.exists():
                if not prepared:
                    raise BatchError(f"There is no file {rows}. {_columns_of(kind)}")
                rows = ()
        plan = create_batch(kind, self.step["step_id"], rows, check_names=can_be_built(kind))
        plan.prepared = None if plan.rows else prepared
        return plan

    def _prepared_batch(self) -> PreparedBatch | None:
        """Return the newest batch of this step."""
        for row in list(queries("steps").batches_of_step(step_id=self.step["step_id"]))[-1:]:
            jobs = len(get_batch_jobs(row["batch_id"]))
            return PreparedBatch(batch_id=row["batch_id"], jobs=jobs, created=False)
        return None

    def validate(self) -> BatchValidation:
        """Return all that keeps Moody's from accepting this step's prepared batch; nothing is made.

        Raises:
            BatchError: no batch of this step is open, or more than one is.
        """
        match self._open_batches():
            case [batch_id]:
                return validate_batch(batch_id)
            case []:
                raise BatchError("This step has no prepared batch: step.prepare(…) makes one.")
            case several:
                calls = listed([f"validate_batch({i})" for i in several])
                raise BatchError(f"Several batches of this step are open: {calls}.")

    def _usual_type(self) -> BatchType:
        rule = step_rule(self.step["stage_num"], self.step["step_num"])
        if rule is None:
            raise BatchError("No batch type belongs to this step: name one, batch_type=….")
        return rule.batch_type

    def submit_batch(self, *, client: Callable[[], IRPClient] = IRPClient) -> SubmissionReport:
        """Submit what is prepared in this step; calling it again submits nothing twice.

        If Moody's does not say whether it has accepted a job, it is asked again for a while.

        Raises:
            BatchError: another run is submitting the batch at this moment; or jobs are left that
                Moody's has neither accepted nor rejected, so that the step is not done.
            SettingsError: the settings for Moody's are incomplete.
        """
        with self._run.logged():
            batch_ids = self._open_batches()
            if not batch_ids:
                return SubmissionReport(self.step, [], "submitted")
            with client() as irp_client:
                done = [
                    submit_batch(batch_id, irp_client, retry_after=RETRY_AFTER_SECONDS)
                    for batch_id in batch_ids
                ]
            _require_nothing_left(done)
            return SubmissionReport(self.step, done, "submitted")

    def do_work(self, work: Work) -> SubmissionReport:
        """Do the work of each job here, one after another, and record how it went.

        A job whose work raises has FAILED, with that error as its reason; the others go on. Calling
        it again does what is left, and nothing twice.

        Raises:
            BatchError: another run is doing this work at this moment.
        """
        with self._run.logged():
            done = [
                do_batch(batch_id, work, about=self.step["step_name"])
                for batch_id in self._open_batches()
            ]
        return SubmissionReport(self.step, done, "done")

    def failed(self) -> NamedBatch:
        """Return the batch of this step that has failed jobs, which shows them first.

        Raises:
            BatchError: there is none, or more than one.
        """
        return batch_with(self.step, ())

    def resubmit(self, *names: str | int) -> BatchPlan:
        """Plan to resubmit these jobs; without names all that failed or were cancelled.

        Raises:
            BatchError: the names belong to no batch of this step, or to several.
        """
        return batch_with(self.step, names).plan_resubmit(*names)

    def skip(self, *names: str | int) -> BatchPlan:
        """Plan to do without these jobs; without names all that failed or were cancelled."""
        return batch_with(self.step, names).plan_skip(*names)

    def cancel(self, *names: str | int) -> BatchPlan:
        """Plan to ask Moody's to stop the jobs with these names."""
        return batch_with(self.step, names).plan_cancel(*names)

    def finished_configurations(self, batch_type: BatchType) -> list[dict[str, Any]]:
        """Return what the finished jobs of this type were made from, in this cycle."""
        rows = queries("stage").finished_configurations(
            cycle_id=self.step["cycle_id"], batch_type=batch_type
        )
        return [row["configuration"] or {} for row in rows]

    def summary(self) -> StageSummary:
        """Return what became of this step's stage."""
        with self._run.logged():
            return summarise_stage(self.step)

    def _open_batches(self) -> list[int]:
        rows = queries("steps").batches_of_step(step_id=self.step["step_id"])
        return [row["batch_id"] for row in rows if row["status"] not in BatchStatus.terminal()]


def _columns_of(batch_type: str) -> str:
    """Return what a list of this type looks like, optional columns in brackets."""
    if not can_be_built(batch_type):
        return "Make it, with a row for each job."
    names = [c.name if c.required else f"({c.name})" for c in row_columns(batch_type)]
    return f"Make it, with a row for each job and the columns {', '.join(names)}."


def _require_nothing_left(done: Sequence[BatchSubmission]) -> None:
    """Raise if jobs are still due: nobody submits them unless this notebook fails visibly."""
    left = sum(len(left_to_submit(item["batch_id"])) for item in done)
    if left:
        problems = [problem for item in done for problem in item["errors"]]
        raise BatchError(
            f"{counted(left, 'job')} could not be submitted: {listed(problems, most=3)} "
            "Run this notebook again; what Moody's has accepted is not sent twice."
        )

"""Make a batch of a list of rows, once.

A plan first: it shows how many jobs would be made and everything that is wrong, by row, and writes
nothing. Applying it makes the batch with one configuration and one job for each row. What the step
holds already, from this plan, another one or another person, is found and not made again.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from helpers.batch.rows import NumberedRow, Source, read_rows
from helpers.constants import BatchType, CycleStatus, unknown_batch_type
from helpers.database import in_transaction, queries, transaction
from helpers.display import (
    Block,
    Headline,
    Note,
    Remark,
    Remarks,
    Report,
    Row,
    Severity,
    Table,
    progress,
)
from helpers.errors import BatchError, BuildError
from helpers.irp_integration.building import NotChecked, RequestBuilder, can_be_built, row_columns
from helpers.irp_integration.columns import arguments, header_problems
from helpers.job_names import job_name
from helpers.records import Step, step_title
from helpers.text import counted, listed, storable_json

HEADER = 0
"""In place of a row's number: what is wrong with a column, in several rows."""


class PreparedBatch(TypedDict):
    """What became of a plan to prepare a batch."""

    batch_id: int
    jobs: int  # how many the batch holds of the rows
    created: bool  # False: it was there already


@dataclass(frozen=True)
class Problem:
    """What is wrong with one row, or with the header."""

    row: int  # or ``HEADER``
    text: str


@dataclass(repr=False)
class PreparePlan(Report):
    """A batch that would be made."""

    batch_type: str
    step: Step
    rows: Sequence[NumberedRow]
    problems: list[Problem] = field(default_factory=list)
    held: dict[int, list[int]] = field(default_factory=dict)  # by batch, the rows that it holds
    remark: str = ""
    prepared: PreparedBatch | None = None  # what the step holds, if no rows are given for it
    made: PreparedBatch | None = None  # what applying it has come to

    def apply(self) -> PreparedBatch:
        """Make the batch, unless the step holds all of its rows already.

        Two people who apply plans of the same rows at once make one batch.

        Raises:
            BatchError: something is wrong with a row, the rows are in several batches or only some
                are in one, or there are none; nothing was written.
        """
        if in_transaction():
            raise BatchError("A plan is not applied inside a transaction. End it first.")
        if self.prepared:
            return self.prepared
        if self.mistakes or not self.rows:
            raise BatchError(f"Nothing was prepared. {self}")
        self.made = self._make()
        return self.made

    def _make(self) -> PreparedBatch:
        with transaction():
            status = queries("preparing").lock_open_step(step_id=self.step["step_id"])
            if status != CycleStatus.ACTIVE:
                raise BatchError(f"Nothing was prepared. {_not_open(self.step, status)}")
            self.held = _held(self.step["step_id"], self.batch_type, self.rows)
            if self.held:
                return self._found()
            batch_id: int = queries("preparing").add_batch(
                step_id=self.step["step_id"], batch_type=self.batch_type
            )
            queries("preparing").add_jobs(
                batch_id=batch_id, configurations=[storable_json(row.values) for row in self.rows]
            )
        return PreparedBatch(batch_id=batch_id, jobs=len(self.rows), created=True)

    @property
    def mistakes(self) -> list[Problem]:
        """The problems that have to be corrected; what Moody's did not answer is none of them."""
        return [problem for problem in self.problems if not isinstance(problem.text, NotChecked)]

    def _found(self) -> PreparedBatch:
        """Return the batch that holds all of the rows."""
        batch_id = next(iter(self.held))
        if partly := _partly_held(self.held, self.rows):
            self.problems += partly
            raise BatchError(f"Nothing was prepared. {self}", batch_id=batch_id)
        return PreparedBatch(batch_id=batch_id, jobs=len(self.rows), created=False)

    def blocks(self) -> Iterator[Block]:
        """Show how many jobs would be made, what is wrong, and the rows."""
        step = self.step
        where = step_title(step)
        if self.prepared:
            found = f"no rows are given, and batch {self.prepared['batch_id']} is prepared already"
            yield Headline(Severity.INFO, f"Nothing to be created for {where}: {found}")
            return
        jobs = counted(len(self.rows), "job")
        if self.made:
            state = "was created" if self.made["created"] else "was there already"
            found = f"Batch {self.made['batch_id']} with {jobs} for {where} {state}"
            yield Headline(Severity.OK, found)
            return
        problems = f"; {counted(len(self.problems), 'problem')}" if self.problems else ""
        severity = Severity.ERROR if self.mistakes else Severity.INFO
        title = f"Plan: {jobs} of type {self.batch_type} to be created for {where}{problems}"
        yield Headline(severity, title)
        remarks = [
            Remark("the header" if p.row == HEADER else f"row {p.row}", p.text, Severity.ERROR)
            for p in self.problems
        ]
        title = "To be corrected" if self.mistakes else "Not known now"
        yield Remarks(remarks, noun="problem", title=title)
        if self.held and not _partly_held(self.held, self.rows):
            these = "this row" if len(self.rows) == 1 else f"these {len(self.rows)}"
            yield Note(f"Batch {next(iter(self.held))} holds {these} already.", Severity.WARNING)
        if self.remark:
            yield Note(self.remark, Severity.WARNING)
        rows = [Row([row.number, job_name(row.values, None) or "—"]) for row in self.rows]
        yield Table(["Row", "Job"], rows, noun="row")
        if not self.mistakes and self.rows:
            yield Note("Nothing is done yet. Do it with: plan.apply()")


def create_batch(
    batch_type: str, step_id: int, configurations: Source, *, check_names: bool = False
) -> PreparePlan:
    """Plan a batch of a step, with one job for each row.

    Args:
        batch_type: one of ``BatchType``; a type of the team's own is for work of its notebooks.
        step_id: the step whose notebook submits it.
        configurations: dicts, a ``.csv`` or ``.xlsx`` file, or a DataFrame. The columns are those
            of the type's call (``row_columns``); of other types they are free.
        check_names: look the names up at Moody's as well. Names that only an earlier step makes
            are then said to be unknown, so do it when the step starts: ``step.prepare`` does.

    Raises:
        BatchError: there is no such step, its cycle is not ACTIVE, or the rows cannot be read.
        SettingsError, MoodysError: names are to be checked, and Moody's cannot be asked.
    """
    step: Step | None = queries("steps").step_by_id(step_id=step_id)
    if step is None:
        raise BatchError(f"There is no step {step_id} in the metastore.")
    if step["cycle_status"] != CycleStatus.ACTIVE:
        raise BatchError(_not_open(step, step["cycle_status"]))
    rows = read_rows(configurations)
    plan = PreparePlan(batch_type, step, rows, held=_held(step_id, batch_type, rows))
    plan.problems = duplicates(rows) + _partly_held(plan.held, rows)
    if BatchType.known(batch_type) is None:
        plan.remark = f"{unknown_batch_type(batch_type)} Its jobs are work of a notebook of yours."
    if can_be_built(batch_type):
        plan.problems += _column_problems(batch_type, rows)
        if check_names and not plan.problems and not plan.held:
            plan.problems += name_problems(batch_type, rows)
    plan.problems.sort(key=lambda problem: problem.row)
    return plan


def _not_open(step: Step, status: str) -> str:
    return f"Cycle {step['cycle_name']} is {status}: nobody would watch its batches."


def duplicates(rows: Sequence[NumberedRow], *, noun: str = "row") -> list[Problem]:
    """Return what two rows would make under one name, by the later row."""
    first: dict[str, int] = {}
    found = []
    for row in rows:
        name = job_name(row.values, None)
        same = _canonical(row.values) if name is None else f"{name} {row.values.get('edm_name')}"
        before = first.setdefault(same.casefold(), row.number)
        if before != row.number:
            found.append(Problem(row.number, f"{noun} {before} has the same name already."))
    return found


def _column_problems(batch_type: str, rows: Sequence[NumberedRow]) -> list[Problem]:
    columns = row_columns(batch_type)
    wrong: dict[str, list[int]] = {}  # the rows, by what is wrong with them
    for row in rows:
        try:
            arguments(columns, row.values)
        except BuildError as exc:
            for text in exc.problems:
                wrong.setdefault(text, []).append(row.number)
    of_header = header_problems(columns, {name for row in rows for name in row.values})
    problems = []
    for text, numbers in wrong.items():
        if text in of_header and len(numbers) > 1:
            are_all = len(numbers) == len(rows)
            which = f"all {len(rows)} rows" if are_all else f"rows {listed(numbers)}"
            problems.append(Problem(HEADER, f"{text} ({which})"))
        else:
            problems += [Problem(number, text) for number in numbers]
    return problems


def name_problems(batch_type: str, rows: Sequence[NumberedRow]) -> list[Problem]:
    """Return what Moody's would refuse of the rows, without making anything."""
    problems = []
    with progress(len(rows), "Checking names", "rows") as bar, RequestBuilder() as builder:
        found = builder.problems(batch_type, [row.values for row in rows])
        for row, texts in zip(rows, found, strict=True):
            problems += [Problem(row.number, text) for text in texts]
            bar.update()
    return problems


def _partly_held(held: Mapping[int, Sequence[int]], rows: Sequence[NumberedRow]) -> list[Problem]:
    """Return the rows that batches hold already, if that is not one batch that holds all."""
    if [len(numbers) for numbers in held.values()] == [len(rows)]:
        return []
    return [
        Problem(number, f"batch {batch_id} holds this job already; leave the row out.")
        for batch_id, numbers in held.items()
        for number in numbers
    ]


def _held(step_id: int, batch_type: str, rows: Sequence[NumberedRow]) -> dict[int, list[int]]:
    """Return the rows that each batch of the step holds already, oldest batch first."""
    found = list(
        queries("preparing").configurations_of_step(step_id=step_id, batch_type=batch_type)
    )
    wanted: dict[str, list[int]] = {}
    for row in rows:
        wanted.setdefault(_canonical(row.values), []).append(row.number)
    held: dict[int, list[int]] = {}
    for batch in found:
        if numbers := wanted.get(_canonical(batch["configuration"])):
            held.setdefault(batch["batch_id"], []).append(numbers.pop(0))
    return held


def _canonical(configuration: Any) -> str:
    return json.dumps(json.loads(storable_json(configuration)), sort_keys=True)

"""What Moody's would refuse of a prepared batch, before it is submitted and without effects.

Each job's request is built up to its first write, and what it names and would make is searched for.
Jobs that were submitted, ended or are skipped are left out, and so is work that a notebook does
itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from helpers.batch.plans.seeing import SeenJob, open_batch, seen_jobs
from helpers.batch.preparing import Problem, duplicates, name_problems
from helpers.batch.requests import is_built_from_names
from helpers.batch.rows import NumberedRow
from helpers.constants import BatchType, JobStatus, unknown_batch_type
from helpers.display import Block, Headline, Note, Report, Row, Severity, Table
from helpers.irp_integration.building import can_be_built
from helpers.irp_integration.prepared import PreparedRequest
from helpers.records import Batch
from helpers.text import counted


@dataclass(frozen=True)
class JobProblem:
    """What keeps Moody's from accepting one job."""

    job_id: int
    name: str | None
    text: str


@dataclass(frozen=True, repr=False)
class BatchValidation(Report):
    """What was checked of a batch, and everything that was wrong."""

    batch: Batch
    checked: int  # jobs whose names were looked up
    ready: int  # jobs with a request that is sent as it is
    problems: Sequence[JobProblem]

    most_lines = 1_000

    @property
    def is_good(self) -> bool:
        """Whether nothing is known that Moody's would refuse."""
        return not self.problems

    def blocks(self) -> Iterator[Block]:
        """Show how many jobs were checked, and a line for each problem."""
        batch, wrong = self.batch, len({problem.job_id for problem in self.problems})
        about = f"Batch {batch['batch_id']} ({batch['batch_type']})"
        checked = counted(self.checked, "job")
        if self.problems:
            title = (
                f"{about}: {wrong} of {counted(self.checked + self.ready, 'job')} to be corrected"
            )
            yield Headline(Severity.ERROR, title)
        else:
            good = Severity.OK if self.checked else Severity.NEUTRAL
            yield Headline(good, f"{about}: {checked} checked, nothing to be corrected")
        rows = [Row([p.name or "—", p.text, str(p.job_id)]) for p in self.problems]
        yield Table(["Name", "Problem", "Job"], rows, noun="problem")
        if self.ready:
            ready = counted(self.ready, "job has", "jobs have")
            yield Note(f"{ready} a prepared request, which is sent as it is and was not looked up.")


def validate_batch(batch_id: int) -> BatchValidation:
    """Return all that keeps Moody's from accepting what a batch would submit; nothing is made.

    Names that do not exist or are not unique, what exists already or another job of the batch makes
    as well, missing files, and requests that cannot be sent. Races: the answer is of this moment; a
    job that is submitted meanwhile is none the worse.

    Raises:
        BatchError: there is no such batch, or its cycle is not ACTIVE.
        SettingsError, MoodysError: names are to be looked up, and Moody's cannot be asked.
    """
    batch = open_batch(batch_id)
    jobs = [j for j in seen_jobs(batch_id) if j.status == JobStatus.INITIATED and not j.skipped]
    sent = [job for job in jobs if job.request is not None or job.has_key]
    rows = [_row(job) for job in jobs if job not in sent and _is_to_be_built(batch, job)]
    found = [problem for job in jobs if (problem := _unsendable(batch, job))]
    problems = [*found, *duplicates(rows, noun="job")]
    if rows:
        problems += name_problems(batch["batch_type"], rows)
    names = {job.job_id: job.name for job in jobs}
    lines = [JobProblem(p.row, names[p.row], p.text) for p in sorted(problems, key=_number)]
    return BatchValidation(batch, len(rows), len(sent), lines)


def _number(problem: Problem) -> int:
    return problem.row


def _row(job: SeenJob) -> NumberedRow:
    return NumberedRow(job.job_id, job.configuration or {})


def _is_to_be_built(batch: Batch, job: SeenJob) -> bool:
    """Tell whether a job's request is built from names; of types that are polled each one is."""
    if not can_be_built(batch["batch_type"]):
        return False
    known = BatchType.known(batch["batch_type"])
    is_row = is_built_from_names(batch["batch_type"], None, job.configuration or {})
    return known in BatchType.polled() or is_row


def _unsendable(batch: Batch, job: SeenJob) -> Problem | None:
    known = BatchType.known(batch["batch_type"])
    if job.request is not None and PreparedRequest.read(job.request) is None:
        text = "its request was built by another tool and cannot be sent: submit it with that."
        return Problem(job.job_id, text)
    if job.request is not None and known is None:
        return Problem(job.job_id, unknown_batch_type(batch["batch_type"]))
    return None

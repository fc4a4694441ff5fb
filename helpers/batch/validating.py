"""What Moody's would refuse of a prepared batch, before it is submitted and without effects.

Each job's request is built up to its first write, and what it names and would make is searched for.
Jobs that were submitted, ended or are skipped are left out, and so is work that a notebook does
itself.
"""

from collections.abc import Iterator, Mapping, Sequence
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


@dataclass(frozen=True, repr=False)
class BatchValidation(Report):
    """What was checked of a batch, and everything that was wrong."""

    batch: Batch
    checked: int  # jobs whose names were looked up
    ready: int  # jobs with a request that is sent as it is
    problems: Sequence[Problem]  # a row's number is the id of a job
    names: Mapping[int, str | None]  # of the jobs

    most_lines = 1_000

    @property
    def is_good(self) -> bool:
        """Whether nothing is known that Moody's would refuse."""
        return not self.problems

    def blocks(self) -> Iterator[Block]:
        """Show how many jobs were checked, and a line for each problem."""
        batch, wrong = self.batch, len({problem.row for problem in self.problems})
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
        rows = [Row([self.names[p.row] or "—", p.text, str(p.row)]) for p in self.problems]
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
    rows = [
        NumberedRow(job.job_id, job.configuration or {})
        for job in jobs
        if job not in sent and _is_to_be_built(batch["batch_type"], job)
    ]
    problems = [problem for job in jobs if (problem := _unsendable(batch, job))]
    problems += duplicates(rows, noun="job")
    if rows:
        problems += name_problems(batch["batch_type"], rows)
    problems.sort(key=lambda problem: problem.row)
    names = {job.job_id: job.name for job in jobs}
    return BatchValidation(batch, len(rows), len(sent), problems, names)


def _is_to_be_built(batch_type: str, job: SeenJob) -> bool:
    """Tell whether a job's request is built from names; of types that are polled each one is."""
    is_polled = BatchType.known(batch_type) in BatchType.polled()
    is_row = is_built_from_names(batch_type, None, job.configuration or {})
    return can_be_built(batch_type) and (is_polled or is_row)


def _unsendable(batch: Batch, job: SeenJob) -> Problem | None:
    known = BatchType.known(batch["batch_type"])
    if job.request is not None and PreparedRequest.read(job.request) is None:
        text = "its request was built by another tool and cannot be sent: submit it with that."
        return Problem(job.job_id, text)
    if job.request is not None and known is None:
        return Problem(job.job_id, unknown_batch_type(batch["batch_type"]))
    return None

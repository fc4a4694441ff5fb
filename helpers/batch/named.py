"""One batch as people work with it: its jobs by name, and what can be done about them.

In a cell by itself it shows its jobs, those that need a person first. Each ``plan_…`` makes a plan
for the jobs that were named, or for all that it is about; see ``helpers.batch.plans``.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from helpers.batch.plans.mending import FAILED, plan_resubmit, plan_skip
from helpers.batch.plans.plan import BatchPlan
from helpers.batch.plans.request import plan_cancel, plan_priority
from helpers.batch.plans.seeing import SeenJob, seen_jobs
from helpers.batch.reading import read_batch
from helpers.batch.validating import BatchValidation, validate_batch
from helpers.constants import JobStatus
from helpers.database import queries
from helpers.display import Block, Headline, Note, Report, Row, Table, badge, severity_of, tally
from helpers.errors import BatchError
from helpers.records import Batch, Step, step_title
from helpers.text import listed


class NamedBatch(Report):
    """A batch and its jobs, as they are each time it is asked or shown."""

    most_lines = 1_000

    def __init__(self, batch_id: int) -> None:
        """Remember the batch; raises ``BatchError`` if there is none."""
        self.batch_id = read_batch(batch_id)["batch_id"]

    @property
    def jobs(self) -> list[SeenJob]:
        """Its jobs, in the order in which they were made."""
        return seen_jobs(self.batch_id)

    @property
    def _counted(self) -> list[SeenJob]:
        return [job for job in self.jobs if not job.skipped]

    def plan_resubmit(self, *names: str | int) -> BatchPlan:
        """Plan to resubmit these jobs; without names all that failed or were cancelled.

        Args:
            names: names of jobs as people know them, or ids.

        Raises:
            BatchError: a name belongs to no job, or to several.
        """
        return plan_resubmit(self.batch_id, self._ids(names))

    def plan_skip(self, *names: str | int) -> BatchPlan:
        """Plan to do without these jobs; without names all that failed or were cancelled."""
        return plan_skip(self.batch_id, self._ids(names))

    def plan_cancel(self, *names: str | int) -> BatchPlan:
        """Plan to ask Moody's to stop these jobs; without names all that run."""
        return plan_cancel(self.batch_id, self._ids(names))

    def plan_priority(self, priority: str, *names: str | int) -> BatchPlan:
        """Plan to ask Moody's for another priority of these jobs; without names all that run."""
        return plan_priority(self.batch_id, priority, self._ids(names))

    def validate(self) -> BatchValidation:
        """Return all that keeps Moody's from accepting what it would submit; nothing is made."""
        return validate_batch(self.batch_id)

    def has(self, *names: str | int) -> bool:
        """Tell whether each of these is a job of this batch that is not skipped."""
        jobs = self._counted
        known = {job.job_id for job in jobs} | {_folded(job.name) for job in jobs}
        return all((n if isinstance(n, int) else _folded(n)) in known for n in names)

    def failed_names(self) -> list[str]:
        """Return the names of the jobs that failed and are not skipped, ids for those without."""
        return [j.name or str(j.job_id) for j in self._counted if j.status in FAILED]

    def blocks(self) -> Iterator[Block]:
        """Show where the batch stands, and its jobs: those that need a person first."""
        batch, jobs = self._seen()
        counts = Counter("SKIPPED" if job.skipped else job.status for job in jobs)
        yield Headline(
            severity_of(batch["status"]),
            f"Batch {batch['batch_id']} ({batch['batch_type']}) of cycle {batch['cycle_name']}, "
            f"{step_title(batch)}: {batch['status']}, {tally(counts)}",
        )
        counted = sorted((job for job in jobs if not job.skipped), key=_needs_a_person)
        rows = [
            Row([j.name or "—", badge(j.status), j.cause or "—", str(j.job_id), j.moodys_id or "—"])
            for j in counted
        ]
        yield Table(["Name", "Status", "Reason", "Job", "Moody's id"], rows, noun="job")
        if any(job.status in FAILED for job in counted):
            yield Note(
                "batch.plan_resubmit() or batch.plan_skip() shows what would be done; names of "
                "jobs in the brackets choose some."
            )

    def _seen(self) -> tuple[Batch, list[SeenJob]]:
        return read_batch(self.batch_id), self.jobs

    def _ids(self, names: Sequence[str | int]) -> list[int] | None:
        """Return the jobs that were named, skipped ones left out; None for no names."""
        if not names:
            return None
        jobs = self._counted
        return [self._id(name, jobs) for name in names]

    def _id(self, name: str | int, jobs: Sequence[SeenJob]) -> int:
        if isinstance(name, int):
            return name
        found = [job.job_id for job in jobs if _folded(job.name) == _folded(name)]
        if len(found) == 1:
            return found[0]
        if found:
            ids = listed(found)
            problem = f"has several jobs called {name!r}: name one by its id ({ids})."
        else:
            known = {_folded(job.name): job.name for job in jobs if job.name}
            nearest = get_close_matches(_folded(name), known, n=1)
            hint = f" Did you mean {known[nearest[0]]!r}?" if nearest else ""
            problem = f"has no job called {name!r}.{hint}"
        raise BatchError(f"Batch {self.batch_id} {problem}", batch_id=self.batch_id)


def batch_with(step: Step, names: Sequence[str | int]) -> NamedBatch:
    """Return the batch of a step that has all these jobs; without names the one with failed jobs.

    Raises:
        BatchError: there is none, or more than one; the message says which.
    """
    rows = queries("steps").batches_of_step(step_id=step["step_id"])
    batches = [NamedBatch(row["batch_id"]) for row in rows]
    found = [batch for batch in batches if (batch.has(*names) if names else batch.failed_names())]
    if len(found) == 1:
        return found[0]
    named = listed([repr(name) for name in names])
    what = f"jobs called {named}" if names else "failed jobs"
    if not found:
        raise BatchError(f"No batch of this step has {what}.")
    ids = listed([str(batch.batch_id) for batch in found])
    raise BatchError(
        f"Several batches of this step have {what}: {ids}. Choose one with "
        "helpers.batch.choose_batch(…)."
    )


def choose_batch(batch_id: int | None = None) -> NamedBatch:
    """Return a batch to work with; without an id the one that ended badly last.

    Raises:
        BatchError: there is no such batch, or none that ended badly.
    """
    if batch_id is None:
        rows = list(queries("attention").ended_badly(most=1))
        if not rows:
            raise BatchError("No batch has ended badly. Name one: choose_batch(8).")
        batch_id = rows[0]["batch_id"]
    return NamedBatch(batch_id)


def _folded(name: str | None) -> str:
    return " ".join((name or "").casefold().split())


def _needs_a_person(job: SeenJob) -> tuple[int, str]:
    """Sort what failed first, then what is not submitted, then what runs, then what is done."""
    if job.status in FAILED:
        order = 0
    elif job.status == JobStatus.INITIATED:
        order = 1
    else:
        order = 2 if job.status not in JobStatus.terminal() else 3
    return order, _folded(job.name)

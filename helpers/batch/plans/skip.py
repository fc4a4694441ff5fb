"""Do without jobs, and without what they were made for."""

from collections.abc import Collection, Sequence

from helpers.actions import Action
from helpers.batch.plans.plan import Plan
from helpers.batch.plans.resubmit import FAILED
from helpers.batch.plans.seeing import SeenJob, chosen_jobs, consequences, open_batch
from helpers.constants import ActionKind, JobStatus
from helpers.database import queries, transaction
from helpers.records import Batch
from helpers.text import counted


class SkipPlan(Plan):
    """Do without jobs and, if no other job of theirs counts, without what they were made for."""

    kind = ActionKind.SKIP
    verb = "skip"

    def __init__(
        self,
        batch: Batch,
        jobs: Sequence[SeenJob],
        refused: dict[str, str],
        *,
        with_configurations: bool = True,
    ) -> None:
        super().__init__(batch, jobs, refused)
        self._with_configurations = with_configurations

    def _change(self, why: str) -> list[Action]:
        with transaction():
            ids = [job.job_id for job in self.jobs]
            queries("mending").skip_jobs(job_ids=ids)
            if self._with_configurations:
                configurations = [j.configuration_id for j in self.jobs if j.configuration_id]
                queries("mending").skip_configurations(
                    configuration_ids=configurations, reason=why, override_id=None
                )
        self._reactivate()
        return [self._action(job) for job in self.jobs]

    def _consequences(self) -> list[str]:
        ended = JobStatus.terminal()
        running = [job for job in self.jobs if job.moodys_id and job.status not in ended]
        lines = []
        if running:
            lines.append(
                f"{counted(len(running), 'job')} may run on at Moody's, and nobody watches: "
                f"plan_cancel({self.batch['batch_id']}, …) stops them."
            )
        return [*lines, *consequences(self.batch)]


def plan_skip(
    batch_id: int, job_ids: Collection[int] | None = None, *, with_configurations: bool = True
) -> SkipPlan:
    """Plan to do without jobs and what they were made for; a batch that has ended is decided anew.

    Races: a job whose submission begins meanwhile overtakes the plan, and so does any other change
    of the job or of the batch's status. A skipped job is neither submitted nor polled any more.

    Args:
        batch_id: the batch.
        job_ids: None for all that are FAILED, ERROR or CANCELLED and not skipped.
        with_configurations: False leaves the configurations, which then need another job.

    Raises:
        BatchError: there is no such batch or job, or the batch's cycle is not ACTIVE.
    """
    batch = open_batch(batch_id)
    jobs = chosen_jobs(batch_id, job_ids, by_default=FAILED)
    refused = {job.known_as: _why_not_skip(job) for job in jobs}
    return SkipPlan(
        batch,
        [job for job in jobs if not refused[job.known_as]],
        {job: why for job, why in refused.items() if why},
        with_configurations=with_configurations,
    )


def _why_not_skip(job: SeenJob) -> str:
    if job.skipped:
        return "it is skipped already."
    if job.status == JobStatus.INITIATED and job.has_key:
        return (
            "Moody's may have accepted it: submit the batch again, or use "
            f"plan_resolve({job.job_id}, …), and then skip it."
        )
    return ""

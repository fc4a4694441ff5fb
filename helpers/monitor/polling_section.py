"""Section 2: take the batches that nobody else polls, ask Moody's, record the answers."""

from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import closing

from helpers.clock import CLOCK
from helpers.constants import BatchType, Family, JobStatus
from helpers.database import IDLE_SECONDS, AdvisoryLocks, LockSpace, lock_holders
from helpers.display import Remark, progress
from helpers.errors import MoodysCredentialsError, SettingsError
from helpers.identity import process_name
from helpers.irp_integration import IRPClient
from helpers.irp_integration.health import Outage
from helpers.irp_integration.polling import Poller
from helpers.irp_integration.questions import Answer, Question
from helpers.monitor.poll_list import (
    JobToPoll,
    each_job_to_poll,
    note_legacy_ids,
    remember_paces,
    remember_search_problems,
    remembered_paces,
    searchable_families,
)
from helpers.monitor.reports import PollReport
from helpers.recording import record_all, server_clock
from helpers.records import ActiveBatch
from helpers.settings import get_settings
from helpers.text import counted


def poll(
    report: PollReport,
    batches: Collection[ActiveBatch],
    *,
    client: Callable[[], IRPClient] | None,
) -> None:
    """Poll the jobs of these batches, except for those that another pass is polling."""
    started = CLOCK.monotonic()
    ids = [batch["batch_id"] for batch in batches]
    if ids:
        with AdvisoryLocks(owner=process_name()) as locks:
            free = locks.try_acquire(LockSpace.POLL_BATCH, ids)
            taken = [batch_id for batch_id in ids if batch_id not in free]
            holders = lock_holders(LockSpace.POLL_BATCH, taken) if taken else {}
            report.batch_ids = [batch_id for batch_id in ids if batch_id in free]
            report.held_elsewhere = {i: holders.get(i, "another run") for i in taken}
            _ask(report, client=client, keep_asking=locks.are_held)
    report.seconds = CLOCK.monotonic() - started


def _ask(
    report: PollReport,
    *,
    client: Callable[[], IRPClient] | None,
    keep_asking: Callable[[], bool],
) -> None:
    questions: list[Question] = []
    for job in each_job_to_poll(report.batch_ids):
        if (question := _question(job)) is not None:
            questions.append(question)
        elif job["workflow_id"] is None and _family(job):
            report.not_submitted.append(job["job_id"])
    report.jobs_due = len(questions)
    if not questions:
        return
    settings = get_settings()
    give_up = CLOCK.monotonic() + settings.monitor_poll_budget_seconds  # logging in takes of it
    bar = progress(len(questions), "Polling Moody's", "jobs")
    try:
        with (client or IRPClient)() as irp_client:
            poller = Poller(
                irp_client.transport,
                workers=settings.monitor_poll_workers,
                budget_seconds=give_up - CLOCK.monotonic(),
                clock=server_clock(),
                keep_asking=keep_asking,
                searchable=searchable_families(),
                paces=remembered_paces(most=settings.monitor_poll_workers),
            )
            # Closed at once if an interrupt strikes in between, so that no thread asks on.
            with closing(_counting(poller.ask(questions), bar.update)) as answers:
                of_host = _record(answers, report)
            remember_paces(poller.paces)
            remember_search_problems(poller.health.search_problems)
            _note_gaps(report, poller, of_host)
    except (SettingsError, MoodysCredentialsError) as exc:
        report.refused = str(exc)
        report.not_asked = len(questions)
    finally:
        bar.close()


def _record(answers: Iterator[Answer], report: PollReport) -> list[tuple[Family, Remark]]:
    """Put answers on record as they come; return what they say of hosts and not of jobs."""
    of_host: list[tuple[Family, Remark]] = []
    legacy: set[int] = set()
    for recorded in record_all(answers):
        answer = recorded.answer
        remark = report.note(recorded)
        if remark is not None and answer.is_of_host:
            of_host.append((answer.question.family, remark))
        elif remark is not None:
            report.remarks.append(remark)
        if answer.is_legacy and not answer.question.is_legacy:
            legacy.add(answer.question.batch_id)
    if legacy:
        note_legacy_ids(legacy)
    return of_host


def _counting(
    answers: Iterator[Answer], count: Callable[[], object]
) -> Generator[Answer, None, None]:
    for answer in answers:
        count()
        yield answer


def _note_gaps(
    report: PollReport, poller: Poller, of_host: Sequence[tuple[Family, Remark]]
) -> None:
    """Say once what is wrong with a host, and how many jobs wait for the next pass."""
    if poller.health.credentials_error is not None:
        report.refused = str(poller.health.credentials_error)
    report.remarks += [
        remark
        for family, remark in of_host
        if report.refused is None and poller.health.outage_of(family) is None
    ]
    report.errors += _outages(poller.health.outages)
    report.notes += _search_problems(poller)
    report.not_asked = report.jobs_due - report.jobs_polled
    if poller.stopped:
        text = (
            "The database ended the connection that held this pass's batches, as it does when a "
            f"process makes no progress for {IDLE_SECONDS:.0f} s. The other jobs were not asked: "
            "the next pass asks them."
        )
        report.errors.append(Remark("Polling", text))
    if poller.out_of_time:
        text = (
            f"{counted(poller.out_of_time, 'job')} not reached within the time for polling: the "
            f"next pass begins there. {_what_sets_the_pace(poller)}"
        )
        report.errors.append(Remark("Polling", text))


def _what_sets_the_pace(poller: Poller) -> str:
    throttled = [family for family, pace in poller.paces.items() if pace.is_throttled]
    if throttled:
        return f"{_jobs_of(throttled)}: Moody's throttles how often it may be asked about them."
    return "MONITOR_POLL_WORKERS and MONITOR_POLL_BUDGET_SECONDS set the pace."


def _outages(outages: Sequence[Outage]) -> list[Remark]:
    """Name each trouble once, with the families that it has struck."""
    by_reason: dict[str, list[Outage]] = {}
    for outage in outages:
        by_reason.setdefault(outage.reason, []).append(outage)
    return [
        Remark(
            _jobs_of([outage.family for outage in struck]),
            reason + _not_asked(sum(outage.unasked for outage in struck)),
        )
        for reason, struck in by_reason.items()
    ]


def _not_asked(jobs: int) -> str:
    return f" {counted(jobs, 'job')} not asked, first in the next pass." if jobs else ""


def _search_problems(poller: Poller) -> list[Remark]:
    """Say once why jobs were read one by one; it costs time and nothing else."""
    by_problem: dict[str, list[Family]] = {}
    for family, problem in poller.health.search_problems.items():
        if family.search_is_proven:  # the others are tried, and may well not exist
            by_problem.setdefault(problem.text, []).append(family)
    return [
        Remark(_jobs_of(families), f"Read one by one, because of their search. {problem}")
        for problem, families in by_problem.items()
    ]


def _jobs_of(families: Sequence[Family]) -> str:
    return f"Moody's {', '.join(sorted(families))} jobs"


def _question(job: JobToPoll) -> Question | None:
    family = _family(job)
    if family is None or job["workflow_id"] is None:
        return None
    return Question(
        job["job_id"],
        job["workflow_id"],
        family,
        JobStatus(job["status"]),  # one object for all that have it
        batch_id=job["batch_id"],
        batch_type=BatchType.known(job["batch_type"]),
        is_legacy=job["is_legacy"],
        is_silent=job["is_silent"],
        read_ts=job["read_ts"],
    )


def _family(job: JobToPoll) -> Family | None:
    """Return where the job is read; None for a synchronous type, and for one that nobody knows."""
    batch_type = BatchType.known(job["batch_type"])
    return batch_type.family if batch_type else None

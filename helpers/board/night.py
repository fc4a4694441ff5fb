"""What happened in a night, from the metastore alone: batches, notebooks, cards, and gaps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

from helpers.board.step_jobs import JobGroup, statuses_in
from helpers.constants import JobStatus
from helpers.database import queries, transaction
from helpers.display import (
    AsOf,
    Block,
    Headline,
    Lane,
    Mark,
    Report,
    Severity,
    Span,
    Timeline,
    clock,
    duration,
    local,
    severity_of,
    time_of_day,
)
from helpers.errors import SettingsError
from helpers.job_names import job_name
from helpers.pass_health import MISSED_INTERVALS
from helpers.settings import get_settings, monitor_interval
from helpers.text import counted

_A_NIGHT = timedelta(hours=12)
_MOST_JOBS = 40  # of one batch: those that failed, then the longest


@dataclass(frozen=True, repr=False)
class NightHistory(Report):
    """What happened between two moments."""

    lanes: Sequence[Lane]  # batches with the ends of their jobs, then notebooks, then cards
    gaps: Sequence[tuple[datetime, datetime]]  # in which nothing was monitored
    since_ts: datetime
    now_ts: datetime

    def blocks(self) -> Iterator[Block]:
        """Show the headline, and the time line."""
        spans = [span for lane in self.lanes for span in lane.spans]
        bad = sum(span.severity is Severity.ERROR for span in spans)
        ends = [mark for lane in self.lanes for mark in lane.marks]
        jobs = sum(mark.severity is Severity.ERROR for mark in ends)
        parts = [
            f"{counted(len(spans), 'batch or notebook', 'batches and notebooks')}",
            f"{bad} of them failed" if bad else "none failed",
            *([f"although {counted(jobs, 'job')} did"] if jobs and not bad else []),
        ]
        if self.gaps:
            longest = max(end - start for start, end in self.gaps)
            times = "once" if len(self.gaps) == 1 else f"{len(self.gaps)} times"
            parts.append(f"monitoring was off {times}, for {duration(longest)} at most")
        severity = Severity.ERROR if bad else Severity.WARNING if self.gaps else Severity.OK
        yield Headline(severity, f"Since {clock(self.since_ts, self.now_ts)}: {', '.join(parts)}.")
        yield Timeline(self.since_ts, self.now_ts, self.lanes, self.gaps)
        yield AsOf.at(self.now_ts)


def night_history(since: str | datetime | None = None) -> NightHistory:
    """Return what happened since then, from the metastore alone.

    ``18:00`` is the last time it was that late here; a time with a zone is taken as it is; None
    means the last twelve hours.

    Raises:
        SettingsError: it is no such time.
    """
    with transaction():
        now = queries("check").server()["now_ts"]
        begin = _since(since, now)
        lanes = list(_lanes(begin, now))
        return NightHistory(lanes, monitoring_gaps(begin), begin, now)


def monitoring_gaps(since: datetime) -> list[tuple[datetime, datetime]]:
    """Return the stretches since then in which no pass was completed, oldest first."""
    longest = MISSED_INTERVALS * monitor_interval()
    rows = queries("board").gaps_since(since=since, longest=longest)
    return [(row["from_ts"], row["to_ts"]) for row in rows]


def _lanes(since: datetime, now: datetime) -> Iterator[Lane]:
    batches = list(queries("board").batches_since(since=since))
    runs = list(queries("board").step_runs_since(since=since))
    cycles = {row["cycle_name"] for row in [*batches, *runs]}
    jobs = _job_lanes([row["batch_id"] for row in batches], now)
    for row in sorted(batches, key=lambda row: row["cycle_name"]):
        bar = span(row["status"], row["submitted_ts"], row["completed_ts"], now=now)
        ends = [
            *marks(row["finished_ts"], Severity.OK, "a job finished"),
            *marks(row["failed_ts"], Severity.ERROR, "a job failed"),
        ]
        label = f"{_step_ref(row, cycles)} {row['batch_type']} {row['batch_id']}"
        lanes, total = jobs.get(row["batch_id"], ([], 0))
        yield Lane(label, bar, ends, lanes, total)
    for row in sorted(runs, key=lambda row: row["cycle_name"]):
        bar = span(row["status"], row["started_ts"], row["completed_ts"], now=now)
        yield Lane(f"{_step_ref(row, cycles)} notebook {row['step_name']}", bar, [])
    if cards := list(queries("board").cards_since(since=since)):
        sent = [Mark(card["sent_ts"], Severity.WARNING, _about(card)) for card in cards]
        yield Lane("cards to Teams", [], sent)


def _job_lanes(batch_ids: list[int], now: datetime) -> dict[int, tuple[list[Lane], int]]:
    """Return the lanes of the first jobs of each batch, and how many jobs it has."""
    found: dict[int, tuple[list[Lane], int]] = {}
    for row in queries("board").job_spans(
        batch_ids=batch_ids,
        bad_ends=statuses_in(JobGroup.FAILED, JobGroup.CANCELLED),
        terminal=list(JobStatus.terminal()),
        most=_MOST_JOBS,
    ):
        name = job_name(row["configuration"], row["request"]) or f"job {row['job_id']}"
        bar = span(row["status"], row["begun_ts"], row["ended_ts"], now=now)
        lanes, _ = found.setdefault(row["batch_id"], ([], row["total"]))
        lanes.append(Lane(name, bar, []))
    return found


def span(status: str, start: datetime | None, end: datetime | None, *, now: datetime) -> list[Span]:
    """Return a bar from its start to its end, or until now; nothing if it never started."""
    if start is None:
        return []
    return [Span(start, max(end or now, start), severity_of(status), status)]


def marks(times: Sequence[datetime] | None, severity: Severity, text: str) -> list[Mark]:
    """Return a mark for each moment."""
    return [Mark(when, severity, text) for when in times or []]


def _about(card: dict[str, Any]) -> str:
    return f"batch {card['batch_id']}" if card["batch_id"] else "the morning report"


def _step_ref(row: dict[str, Any], cycles: set[str]) -> str:
    cycle = f"{row['cycle_name']} " if len(cycles) > 1 else ""
    return f"{cycle}{row['stage_num']}.{row['step_num']}"


def _since(since: str | datetime | None, now: datetime) -> datetime:
    """Return the moment that is meant, in UTC."""
    if since is None:
        return now - _A_NIGHT
    if isinstance(since, datetime):
        return since.astimezone(UTC)
    try:
        hour, minute = (int(part) for part in since.split(":"))
        at = time(hour, minute)
    except ValueError:
        raise SettingsError(f"{since!r} is not a time of day, such as 18:00.") from None
    today, zone = local(now).date(), get_settings().monitor_time_zone
    days = (time_of_day(today - timedelta(days=ago), at, zone) for ago in (0, 1))
    return next(when for when in days if when <= now)

"""The morning report: once a day, where each ACTIVE cycle stands, as one card.

The row in the outbox is unique for each cycle and day, so that any number of monitors send one.
A monitor that was off at the time sends it when it is on again, if that is the same day.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from helpers.attention import Item, ItemKind
from helpers.board import Board, board, monitoring_gaps
from helpers.board.grid import in_one_sentence
from helpers.board.rows import StepRow, StepState
from helpers.board.step_jobs import JobGroup, StepJobs
from helpers.database import queries
from helpers.display import clock, duration, tally, time_of_day
from helpers.notifications.events import announce_report
from helpers.settings import ReportTime
from helpers.text import counted, one_line

_A_DAY = timedelta(days=1)
_MOST_LINES = 6  # of one section
_MOST_REASONS = 4  # that have a section of their own
_MOST_NAMED = 5  # jobs of one reason


def announce_reports(report_at: ReportTime) -> None:
    """Store the reports that are due today and that no monitor has stored yet."""
    now = queries("check").server()["now_ts"]
    day, due_ts = due_today(now, report_at)
    if now < due_ts:
        return
    cycles = list(queries("notifications").cycles_to_report(day=day, due_ts=due_ts))
    if not cycles:
        return
    shown, since = board(), now - _A_DAY
    gaps = monitoring_gaps(since)
    slow = list(queries("board").slower_than_forecast(since=since))
    for cycle in cycles:
        sections = _sections(shown, cycle["cycle_name"], gaps, slow, since)
        announce_report(
            cycle_id=cycle["cycle_id"],
            report_date=day,
            payload=_payload(shown, cycle["cycle_name"], list(sections)),
        )


def due_today(now: datetime, report_at: ReportTime) -> tuple[date, datetime]:
    """Return the day that it is there, and when its report is due."""
    day = now.astimezone(report_at.zone).date()
    return day, time_of_day(day, report_at.at, report_at.zone)


def _payload(shown: Board, cycle_name: str, sections: list[dict[str, str]]) -> dict[str, Any]:
    steps = [step for step in shown.steps if step.cycle_name == cycle_name]
    counts: Counter[str] = Counter()
    for step in steps:
        counts.update(step.counts)
    waits = [item for item in shown.waiting.items if item.cycle_name == cycle_name]
    done = sum(step.state is StepState.DONE for step in steps)
    return {
        "cycle_name": cycle_name,
        "occurred_ts": shown.now_ts.isoformat(timespec="seconds"),
        "is_bad": any(item.kind in _BAD for item in waits),
        "steps": f"{done} of {len(steps)} done",
        "jobs": tally(counts),
        "reason": in_one_sentence(steps, shown.now_ts) if steps else "The cycle has no step.",
        "sections": sections,
        "next_step": f"{counted(len(waits), 'thing waits', 'things wait')} for somebody: see the "
        "board, or the notebook Manage Batches."
        if waits
        else "Nothing waits for anybody.",
    }


_BAD = frozenset({ItemKind.ENDED, ItemKind.FAILING, ItemKind.STEP_FAILED})


def _sections(
    shown: Board,
    cycle_name: str,
    gaps: Sequence[tuple[datetime, datetime]],
    slow: Sequence[dict[str, Any]],
    since: datetime,
) -> Iterator[dict[str, str]]:
    """Give what the report tells, section by section; an empty section is left out."""
    now = shown.now_ts
    steps = [step for step in shown.steps if step.cycle_name == cycle_name]
    waits = [item for item in shown.waiting.items if item.cycle_name == cycle_name]
    failed = [line for of in shown.jobs if of.cycle_name == cycle_name for line in _failed(of)]
    yield from failed[:_MOST_REASONS]
    more = [f"{each['about']}: {each['text']}" for each in failed[_MOST_REASONS:]]
    done = [s for s in steps if s.state is StepState.DONE and s.ended_ts and s.ended_ts >= since]
    sections = {
        "For other reasons": more,
        "Running": [_running(step, now) for step in steps if step.state is StepState.ACTIVE],
        "Waits": list(dict.fromkeys(map(_waits, waits))),
        "Slower than usual": [
            *(item.text for item in waits if item.kind is ItemKind.LATE),
            *(_slow(row, now) for row in slow if row["cycle_name"] == cycle_name),
        ],
        "Monitoring was off": [
            f"{clock(start, now)} to {clock(end, now)} ({duration(end - start)})"
            for start, end in gaps
        ],
        "Done in the last day": [step.name for step in done],
    }
    for about, lines in sections.items():
        if lines:
            joined = "; ".join(line.rstrip(".") for line in lines[:_MOST_LINES])
            left = len(lines) - _MOST_LINES
            yield {"about": about, "text": f"{joined}{f'; and {left} more' if left > 0 else ''}."}


def _failed(jobs: StepJobs) -> Iterator[dict[str, str]]:
    for reason, failed, total in jobs.reasons(JobGroup.FAILED):
        names = [job.name for job in failed[:_MOST_NAMED]]
        names += [f"{total - len(names):,} more"] if total > len(names) else []
        text = f"“{one_line(reason)}” ({', '.join(names)})"
        yield {"about": f"{jobs.step}: {total:,} failed", "text": text}


def _running(step: StepRow, now: datetime) -> str:
    end = step.ends.text(now) if step.ends else "nobody knows until when"
    return f"{step.name}: {counted(step.open_jobs, 'job')}, {end}"


def _waits(item: Item) -> str:
    return f"{item.about}: {item.seen or 'nobody is on it yet'}"


def _slow(row: dict[str, Any], now: datetime) -> str:
    ended, expected = clock(row["ended_ts"], now), clock(row["high_ts"], now)
    return f"batch {row['batch_id']} ({row['batch_type']}) ended {ended}, expected by {expected}"

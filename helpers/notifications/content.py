"""What an event means, in the words of its card. Pure; how it looks is the business of cards.py.

Foreign text stands in ``subject``, ``cycle``, ``location``, ``summary``, ``reasons`` and
``advice``; ``facts`` and ``in_short`` hold numbers and words of ours, because cards show them
where Markdown is understood.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict, assert_never

from helpers.constants import BatchStatus, NotificationKind
from helpers.display import moment
from helpers.notifications.failures import grouped
from helpers.text import counted


class Event(TypedDict):
    """A row of the outbox."""

    id: int
    kind: str
    batch_id: int | None  # None: it belongs to a cycle and a day
    cycle_id: int | None
    activation_num: int
    payload: dict[str, Any]
    next_attempt_ts: datetime
    last_error: str | None
    created_ts: datetime
    is_due: bool
    is_rejected: bool  # it waits by itself: others are sent meanwhile


@dataclass(frozen=True)
class Reason:
    """Why something failed, and what failed so."""

    about: str
    text: str
    jobs: int = 0


REPORT, REPORT_FAILED = "MORNING REPORT", "MORNING REPORT, FAILURES"


@dataclass(frozen=True)
class CardContent:
    """What a card tells."""

    outcome: str  # FAILED, ERROR, CANCELLED, RECOVERED; FAILING or LATE; or a report
    subject: str
    cycle: str
    location: str
    facts: tuple[tuple[str, str], ...]
    summary: str
    reasons: tuple[Reason, ...]
    unnamed_jobs: int  # jobs that ended badly and stand in no reason
    advice: str
    in_short: str


def content_of(event: Event) -> CardContent:
    """Return what the card of an event tells; the bare fact where another version stored it."""
    try:
        return _full_content(event)
    except (LookupError, TypeError, ValueError, AttributeError):
        return _bare_content(event)


def _full_content(event: Event) -> CardContent:
    kind = NotificationKind(event["kind"])
    match kind:
        case NotificationKind.BATCH_FAILED:
            return _batch_content(event, BatchStatus(event["payload"]["batch_status"]).value)
        case NotificationKind.JOBS_FAILED:
            return _batch_content(event, "FAILING")
        case NotificationKind.JOBS_LATE:
            return _batch_content(event, "LATE")
        case NotificationKind.MORNING_REPORT:
            return _report_content(event)
        case NotificationKind.BATCH_RECOVERED:
            return _batch_content(event, "RECOVERED")
        case NotificationKind.CHAIN_FAILED:
            return _chain_content(event)
        case _:
            assert_never(kind)


def _batch_content(event: Event, outcome: str) -> CardContent:
    facts = event["payload"]
    reasons = tuple(
        Reason(f"{failure.who}, {failure.status.lower()}", failure.reason, failure.jobs)
        for failure in grouped(facts["jobs"])
    )
    return CardContent(
        outcome=outcome,
        subject=f"{facts['batch_type']}, batch {event['batch_id']}",
        cycle=facts["cycle_name"],
        location=f"Stage {facts['stage_num']} {facts['stage_name']}, "
        f"step {facts['step_num']} {facts['step_name']}",
        facts=(
            ("Batch", _batch(event)),
            *_counts(facts.get("job_status_counts")),
            ("When", moment(datetime.fromisoformat(facts["occurred_ts"]))),
        ),
        summary=facts["reason"],
        reasons=reasons,
        unnamed_jobs=facts["jobs_total"] - sum(reason.jobs for reason in reasons),
        advice=facts["next_step"],
        in_short=f"{outcome}: batch {event['batch_id']}, stage {facts['stage_num']}, "
        f"step {facts['step_num']}.",
    )


def _chain_content(event: Event) -> CardContent:
    facts = event["payload"]
    step = f"step {facts['next_step_num']} of stage {facts['stage_num']}"
    copy = facts["executed_path"]
    return CardContent(
        outcome="FAILED",
        subject=f"{step} ({facts['stage_name']})",
        cycle=facts["cycle_name"],
        location=f"After step {facts['step_num']} {facts['step_name']}, "
        f"{facts['batch_type']} batch {event['batch_id']}",
        facts=(
            ("After batch", _batch(event)),
            ("When", moment(datetime.fromisoformat(facts["occurred_ts"]))),
        ),
        summary="The notebook failed." if copy else "The notebook did not run to its end.",
        reasons=(Reason(facts["notebook_path"] or "Not started", facts["error"]),),
        unnamed_jobs=0,
        advice=(f"Look at the executed copy, {copy}. " if copy else "")
        + "Correct the cause, then run the notebook by hand: it is not started again by itself.",
        in_short=f"FAILED: {step}, after batch {event['batch_id']}.",
    )


def _report_content(event: Event) -> CardContent:
    facts = event["payload"]
    return CardContent(
        outcome=REPORT_FAILED if facts["is_bad"] else REPORT,
        subject="where it stands",
        cycle=facts["cycle_name"],
        location=f"As of {moment(datetime.fromisoformat(facts['occurred_ts']))}",
        facts=(("Steps", facts["steps"]), ("Jobs", facts["jobs"])),
        summary=facts["reason"],
        reasons=tuple(Reason(each["about"], each["text"]) for each in facts["sections"]),
        unnamed_jobs=0,
        advice=facts["next_step"],
        in_short=f"Morning report: {facts['steps']}.",
    )


def _bare_content(event: Event) -> CardContent:
    what = event["kind"].replace("_", " ").capitalize()
    return CardContent(
        outcome="RECOVERED" if event["kind"] == NotificationKind.BATCH_RECOVERED else "FAILED",
        subject=f"batch {event['batch_id']}",
        cycle="not told",
        location=what,
        facts=(("Batch", _batch(event)),),
        summary="Another version of the monitor stored this event, and its details cannot be read.",
        reasons=(),
        unnamed_jobs=0,
        advice="Look at the batch in the summary of the monitor notebook.",
        in_short=f"{what}: batch {event['batch_id']}.",
    )


def _batch(event: Event) -> str:
    again = f", attempt {event['activation_num']}" if event["activation_num"] > 1 else ""
    return f"{event['batch_id']}{again}"


def _counts(jobs_by_status: dict[str, int] | None) -> list[tuple[str, str]]:
    """Return the fact of how many jobs there are; none while the batch is ACTIVE."""
    if jobs_by_status is None:
        return []
    parts = [f"{n} {label.replace('_', ' ').lower()}" for label, n in jobs_by_status.items()]
    total = counted(sum(jobs_by_status.values()), "job")
    return [("Jobs", f"{total}: {', '.join(sorted(parts))}" if parts else total)]

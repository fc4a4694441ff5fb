"""The outbox: events are sent after they were stored, in the order in which things happened.

An event is marked when Teams has taken its card, so that none is sent twice, but for a crash in
the one instant between the two. One pass sends at a time, and what it may not send, because
Teams takes only so many messages, later passes do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, TypedDict

from helpers.database import AdvisoryLocks, LockSpace, lock_holders, queries, transaction
from helpers.errors import NotificationError
from helpers.identity import process_name
from helpers.notifications.cards import Json, card_message, digest_message
from helpers.notifications.links import links_for
from helpers.notifications.teams import send as send_to_teams
from helpers.redaction import redact
from helpers.settings import get_settings
from helpers.text import clean, counted

DIGEST_FROM = 4
"""This many events due at once become digests in place of a card each."""

# The limits of the old connectors, still a good guide for the new webhooks.
_MOST_A_SECOND = 4
_MOST_AN_HOUR = 100
_PATIENCE = timedelta(days=1)

Send = Callable[[Json], None]


class PendingNotification(TypedDict):
    """An event in the outbox."""

    id: int
    kind: str
    batch_id: int
    activation_num: int
    payload: dict[str, Any]
    attempts: int
    next_attempt_ts: datetime
    last_error: str | None
    created_ts: datetime
    is_due: bool


@dataclass(frozen=True)
class Sending:
    """What one pass did with the outbox."""

    cards: int = 0  # messages that Teams has taken
    events: int = 0  # events that those messages told of
    waiting: int = 0  # events that stay in the outbox
    suppressed: int = 0  # events closed because notifications are off or not configured
    abandoned: int = 0  # events of the last week that a day of tries did not bring to Teams
    problem: str | None = None  # why events stay, were closed, or would not be sent


@dataclass(frozen=True)
class _Off:
    """Why this process sends nothing."""

    reason: str
    is_expected: bool  # somebody wants it so, and need not hear of it


def pending() -> list[PendingNotification]:
    """Return the outbox, in the order in which things happened."""
    with transaction() as connection:
        return list(queries("notifications").pending(connection))


def send_due(*, send: Send | None = None) -> Sending:
    """Send what is due, or say why not.

    The first card that Teams does not take ends the round, so that the order is kept; its events
    are tried again later, each time after twice as long, for a day.

    Args:
        send: posts one message and raises ``NotificationError``; None takes the Teams webhook.
    """
    off = _why_off() if send is None else None
    if pending():
        sending = _with_lock(off, send or _post)
    else:
        sending = Sending(problem=off.reason if off and not off.is_expected else None)
    return _with_abandoned(sending)


def _with_lock(off: _Off | None, send: Send) -> Sending:
    with AdvisoryLocks(owner=process_name()) as locks:
        if not locks.try_acquire(LockSpace.SEND_CARDS, [0]):
            holder = lock_holders(LockSpace.SEND_CARDS, [0]).get(0, "another run")
            waiting = len(pending())
            return Sending(waiting=waiting, problem=f"Cards are being sent by {holder}.")
        return _set_aside(off) if off else _send_in_order(pending(), send, locks)


def _with_abandoned(sending: Sending) -> Sending:
    with transaction() as connection:
        abandoned = queries("notifications").abandoned_lately(connection)
    if not abandoned:
        return sending
    lost = f"{counted(abandoned, 'event')} of the last week never reached Teams, in a day of tries."
    problem = f"{sending.problem} {lost}" if sending.problem else lost
    return replace(sending, abandoned=abandoned, problem=problem)


def _why_off() -> _Off | None:
    settings = get_settings()
    if not settings.teams_notification_enabled:
        reason = "Notifications are switched off (TEAMS_NOTIFICATION_ENABLED)."
        return _Off(reason, is_expected=True)
    if settings.teams_webhook_url is None:
        reason = "Notifications are not configured here: set TEAMS_WEBHOOK_URL to send them."
        return _Off(reason, is_expected=False)
    return None


def _set_aside(off: _Off) -> Sending:
    """Close the events that have waited long enough for another process that may send them."""
    with transaction() as connection:
        closed = queries("notifications").suppress(
            connection, reason=off.reason, older_than=_PATIENCE
        )
        suppressed = closed + queries("notifications").close_lone_recoveries(connection)
    if off.is_expected:
        return Sending(suppressed=suppressed)
    return Sending(waiting=len(pending()), suppressed=suppressed, problem=off.reason)


def _send_in_order(
    waiting: Sequence[PendingNotification], send: Send, locks: AdvisoryLocks
) -> Sending:
    if waiting and not waiting[0]["is_due"]:  # whoever came later waits behind the first
        return Sending(waiting=len(waiting), problem=_why_not_due(waiting[0]))
    cards = events = 0
    problem = None
    for message, told in islice(_messages(waiting), _messages_allowed()):
        locks.check()  # without its lock, another pass may be sending the same card
        problem = _send_one(message, [event["id"] for event in told], send)
        if problem is not None:
            break
        cards += 1
        events += len(told)
    left = len(pending())
    if left and problem is None:
        problem = (
            f"{counted(left, 'event')} will follow: Teams takes only a few messages at a time."
        )
    return Sending(cards=cards, events=events, waiting=left, problem=problem)


def _why_not_due(event: PendingNotification) -> str:
    next_try = f"Next try at {event['next_attempt_ts'].astimezone(UTC):%H:%M} UTC."
    return f"{event['last_error']} {next_try}"


def _messages_allowed() -> int:
    with transaction() as connection:
        sent = queries("notifications").messages_sent(connection)
    left: int = min(_MOST_A_SECOND - sent["last_second"], _MOST_AN_HOUR - sent["last_hour"])
    return max(left, 0)


def _messages(
    waiting: Sequence[PendingNotification],
) -> Iterator[tuple[Json, Sequence[PendingNotification]]]:
    """Give each message with the events that it tells of: a card each, or digests."""
    settings = get_settings()
    told = [
        (
            event,
            links_for(
                event["payload"],
                dashboard_url=settings.teams_default_dashboard_url,
                jupyterlab_url=settings.teams_default_jupyterlab_url,
            ),
        )
        for event in waiting
    ]
    if len(told) < DIGEST_FROM:
        yield from ((card_message(event, links=links), [event]) for event, links in told)
        return
    while told:
        message, count = digest_message(told)
        yield message, [event for event, _ in told[:count]]
        told = told[count:]


def _send_one(message: Json, ids: Sequence[int], send: Send) -> str | None:
    """Send one message and mark its events; return why Teams did not take it."""
    notifications = queries("notifications")
    with transaction() as connection:
        notifications.note_attempt(connection, ids=ids)
    try:
        send(message)
    except NotificationError as exc:
        problem = redact(clean(str(exc)))
        with transaction() as connection:
            notifications.mark_failed(connection, ids=ids, reason=problem, patience=_PATIENCE)
            notifications.close_lone_recoveries(connection)
        return problem
    with transaction() as connection:
        notifications.mark_sent(connection, ids=ids)
    return None


def _post(message: Json) -> None:
    webhook_url = get_settings().teams_webhook_url
    if webhook_url is None:
        raise NotificationError("Notifications are not configured: set TEAMS_WEBHOOK_URL.")
    send_to_teams(message, webhook_url=webhook_url)

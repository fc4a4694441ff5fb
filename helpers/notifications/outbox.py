"""The outbox: events are sent after they were stored, in the order in which things happened.

An event is marked when Teams has accepted its card, so that none is sent twice, except for a
crash in the one instant between the two. One pass sends at a time; what it may not send, because
Teams accepts only so many messages, later passes do.

While Teams is down, all events wait and keep their order. If it rejects a message, each event of
that message is sent by itself in a plain form, and only those that it rejects again wait.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import takewhile

from helpers.database import AdvisoryLocks, LockSpace, lock_holders, queries, transaction
from helpers.display import clock
from helpers.errors import MessageRejectedError, NotificationError
from helpers.identity import process_name
from helpers.notifications.cards import Json
from helpers.notifications.content import Event
from helpers.notifications.messages import (
    Message,
    in_plain_form,
    messages_of,
    thread_of,
)
from helpers.redaction import shown
from helpers.settings import get_settings
from helpers.text import counted

# The limits of the old connectors, still a good guide for the new webhooks.
_MOST_A_SECOND = 4
_MOST_AN_HOUR = 100
_PATIENCE = timedelta(days=1)
_LONGEST_DELAY = timedelta(minutes=15)
_SWITCHED_OFF = "Notifications are switched off (TEAMS_NOTIFICATION_ENABLED)."
_NOT_CONFIGURED = "Notifications are not configured here: set TEAMS_WEBHOOK_URL to send them."

Send = Callable[[Json], None]


@dataclass(frozen=True)
class Sending:
    """What one pass did with the outbox."""

    cards: int = 0  # messages that Teams has accepted
    events: int = 0  # events that those messages told of
    waiting: int = 0  # events that stay in the outbox
    suppressed: int = 0  # events closed because notifications are off or not configured
    abandoned: int = 0  # events of the last week that a day of tries did not bring to Teams
    problem: str | None = None  # why events stay, were closed, or would not be sent


def pending() -> list[Event]:
    """Return the outbox, in the order in which things happened."""
    return list(queries("notifications").pending(longest_delay=_LONGEST_DELAY))


def send_due(*, send: Send | None = None) -> Sending:
    """Send what is due, or say why not.

    A Teams that is down ends the round; what was tried is tried again later, each time after twice
    as long, for a day.

    ``send`` posts one message and raises ``NotificationError``; None takes the Teams webhook.
    """
    off = _why_off() if send is None else None
    if pending():
        sending = _with_lock(off, send or _post)
    else:
        sending = Sending(problem=None if off == _SWITCHED_OFF else off)
    abandoned = queries("notifications").abandoned_lately()
    if not abandoned:
        return sending
    lost = f"{counted(abandoned, 'event')} of the last week never reached Teams, in a day of tries."
    problem = f"{sending.problem} {lost}" if sending.problem else lost
    return replace(sending, abandoned=abandoned, problem=problem)


def _with_lock(off: str | None, send: Send) -> Sending:
    with AdvisoryLocks(owner=process_name()) as locks:
        if not locks.try_acquire(LockSpace.SEND_CARDS, [0]):
            holder = lock_holders(LockSpace.SEND_CARDS, [0]).get(0, "another run")
            waiting = len(pending())
            return Sending(waiting=waiting, problem=f"Cards are being sent by {holder}.")
        return _set_aside(off) if off else _send_in_order(pending(), send, locks)


def _why_off() -> str | None:
    """Return why this process sends nothing; None if it does."""
    settings = get_settings()
    if not settings.teams_notification_enabled:
        return _SWITCHED_OFF
    return _NOT_CONFIGURED if settings.teams_webhook_url is None else None


def _set_aside(off: str) -> Sending:
    """Close the events that have waited long enough for another process that may send them."""
    with transaction():
        closed = queries("notifications").suppress(reason=off, older_than=_PATIENCE)
        suppressed = closed + queries("notifications").close_lone_recoveries()
    if off == _SWITCHED_OFF:  # somebody wants it so, and need not hear of it
        return Sending(suppressed=suppressed)
    return Sending(waiting=len(pending()), suppressed=suppressed, problem=off)


def _send_in_order(waiting: Sequence[Event], send: Send, locks: AdvisoryLocks) -> Sending:
    queue = deque(messages_of(_to_send(waiting)))
    # Batches and cycles of which an earlier event waits.
    held: set[tuple[int | None, int | None]] = set()
    cards = events = 0
    problem = None
    for _ in range(_messages_allowed()):
        if not queue:
            break
        message = queue.popleft()
        if held & {thread_of(event) for event in message.events}:
            continue
        locks.check()  # without its lock, another pass may be sending the same card
        try:
            _send_one(message, send)
        except MessageRejectedError:
            queue.extendleft(reversed(in_plain_form(message)))
            held |= {thread_of(event) for event in message.events if message.is_plain}
        except NotificationError as exc:
            problem = shown(str(exc))
            break
        else:
            cards += 1
            events += len(message.events)
    left = pending()
    return Sending(cards, events, waiting=len(left), problem=problem or _why_waiting(left))


def _to_send(waiting: Sequence[Event]) -> list[Event]:
    """Return what may be sent now: nothing while Teams is down, else all but what it rejected.

    What comes after a rejected event of the same batch waits with it: nobody should hear of a
    recovery first.
    """
    rejected = {thread_of(e) for e in waiting if e["is_rejected"] and not e["is_due"]}
    free = [event for event in waiting if thread_of(event) not in rejected]
    return list(takewhile(lambda event: event["is_due"], free))


def _why_waiting(left: Sequence[Event]) -> str | None:
    """Say why events stay in the outbox though nothing went wrong in this round."""
    rejected = [event for event in left if event["is_rejected"]]
    held = {thread_of(event) for event in rejected}
    others = [event for event in left if thread_of(event) not in held]
    reasons = []
    if others and not others[0]["is_due"]:
        reasons.append(f"{others[0]['last_error']} {_next_try(others[0])}")
    elif others:
        reasons.append(
            f"{counted(len(others), 'event')} will follow: Teams accepts only a few messages at a "
            "time."
        )
    if rejected:
        reasons.append(
            f"Teams rejects the card of {counted(len(rejected), 'event')}, and others are sent: "
            f"{rejected[0]['last_error']} {_next_try(rejected[0])}"
        )
    return " ".join(reasons) or None


def _next_try(event: Event) -> str:
    return f"Next try at {clock(event['next_attempt_ts'])}."


def _messages_allowed() -> int:
    sent = queries("notifications").messages_sent()
    left: int = min(_MOST_A_SECOND - sent["last_second"], _MOST_AN_HOUR - sent["last_hour"])
    return max(left, 0)


def _send_one(message: Message, send: Send) -> None:
    """Send one message and mark its events.

    Raises:
        NotificationError: Teams did not accept it. Its events are put off, unless they are to be
            tried in their plain form first.
    """
    notifications = queries("notifications")
    ids = [event["id"] for event in message.events]
    notifications.note_attempt(ids=ids)
    try:
        send(message.content)
    except NotificationError as exc:
        is_rejected = isinstance(exc, MessageRejectedError)
        if message.is_plain or not is_rejected:
            _put_off(ids, str(exc), is_rejected=is_rejected)
        raise
    notifications.mark_sent(ids=ids)


def _put_off(ids: Sequence[int], problem: str, *, is_rejected: bool) -> None:
    with transaction():
        queries("notifications").mark_failed(
            ids=ids,
            reason=shown(problem),
            is_rejected=is_rejected,
            patience=_PATIENCE,
            longest_delay=_LONGEST_DELAY,
        )
        queries("notifications").close_lone_recoveries()


def _post(message: Json) -> None:
    webhook_url = get_settings().teams_webhook_url
    if webhook_url is None:
        raise NotificationError(_NOT_CONFIGURED)
    # Imported when a card is sent: it brings requests, and most passes send none.
    from helpers.notifications.teams import send  # noqa: PLC0415

    send(message, webhook_url=webhook_url)

"""Events as Teams messages with Adaptive Cards. Pure.

Foreign text stands in text runs only, which know no Markdown
(https://learn.microsoft.com/adaptive-cards/schema-explorer/text-run), so that it cannot make
links, images, lists or bold print. Facts and the fallback text do know it.
"""

import json
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

from helpers.notifications.content import REPORT, CardContent, Event, Reason, content_of
from helpers.notifications.links import Links
from helpers.text import clean, counted, shorten

Json: TypeAlias = dict[str, Any]

MAX_MESSAGE_BYTES = 20_000
"""Teams documents about 28 KB a message, and 21 KB were measured."""

_CARD_VERSION = "1.2"  # the first that knows text runs: old clients show a newer card as fallback
_MOST_REASONS = 10
_LEAST_ROOM, _MOST_ROOM = 20, 16_000  # characters for one piece of foreign text
_LONGEST_NAME = 120
_MAX_ENTRY_BYTES = 4_000
_ENTRY_ROOM = 1_000
_PLAIN_ROOM = 600
_ENVELOPE_BYTES = 2_500  # of a digest without its entries: a heading and one link
_COLORS = {"RECOVERED": "Good", "CANCELLED": "Warning", "LATE": "Warning", REPORT: "Accent"}

# Teams makes mentions and local times of these wherever they stand.
_COMMANDS = re.compile(r"<(?=/?at\b)|\{(?=\{)", re.IGNORECASE)
_ZERO_WIDTH_SPACE = "\u200b"


def size_of(message: Json) -> int:
    """Return how many bytes a message takes as it is sent, non-ASCII characters escaped."""
    return len(json.dumps(message))


def card_message(event: Event, *, links: Links) -> Json:
    """Return the message of one event.

    Where it would not fit, the list of reasons is cut, and a single reason in its middle.
    """
    content = content_of(event)
    for shown in range(min(len(content.reasons), _MOST_REASONS), 1, -1):
        message = _message(_card(content, links=links, shown=shown, room=_MOST_ROOM))
        if size_of(message) <= MAX_MESSAGE_BYTES:
            return message
    return _roomiest(
        lambda room: _message(_card(content, links=links, shown=1, room=room)),
        most_room=_MOST_ROOM,
        limit=MAX_MESSAGE_BYTES,
    )


def digest_message(events: Sequence[tuple[Event, Links]]) -> tuple[Json, int]:
    """Return one message of as many events as fit, from the first on, and how many those are."""
    entries: list[Json] = []
    contents: list[CardContent] = []
    room_left = MAX_MESSAGE_BYTES - _ENVELOPE_BYTES
    for event, links in events:
        content = content_of(event)
        entry = _roomiest(
            partial(_entry, content, links), most_room=_ENTRY_ROOM, limit=_MAX_ENTRY_BYTES
        )
        room_left -= size_of(entry) + len(", ")
        if entries and room_left < 0:
            break
        contents.append(content)
        entries.append(entry)
    dashboard = Links(dashboard=events[0][1].dashboard)
    heading = _text(_run(_headline(contents), size="Large", weight="Bolder"))
    card = _envelope([heading, *entries], links=dashboard, in_short=_headline(contents))
    return _message(card), len(entries)


def plain_message(event: Event) -> Json:
    """Return the message of one event as a few short texts: all that a card cannot do without."""
    content = content_of(event)
    body = [
        _text(_title(content, room=_LONGEST_NAME, size="Default")),
        *(_text(_run(_cut(text, _PLAIN_ROOM))) for text in (content.location, content.summary)),
        *(_reason(reason, room=_PLAIN_ROOM) for reason in content.reasons[:1]),
        _text(_run(_cut(f"Next: {content.advice}", _PLAIN_ROOM))),
    ]
    return _message(_envelope(body, links=Links(), in_short=content.in_short))


def text_message(text: str) -> Json:
    """Return the message of one text, which is of no event."""
    return _message(_envelope([_text(_run(text))], links=Links(), in_short=text))


def _headline(contents: Sequence[CardContent]) -> str:
    outcomes = Counter(content.outcome.lower() for content in contents)
    parts = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
    return f"{counted(len(contents), 'event')}: {parts}"


def _roomiest(build: Callable[[int], Json], *, most_room: int, limit: int) -> Json:
    """Return what is built with as much room for each piece of text as the limit allows."""
    rooms = range(_LEAST_ROOM, most_room + 1)
    fitting = bisect_right(rooms, limit, key=lambda room: size_of(build(room)))
    return build(rooms[max(fitting - 1, 0)])


def _message(card: Json) -> Json:
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
    return {"type": "message", "attachments": [attachment]}


def _card(content: CardContent, *, links: Links, shown: int, room: int) -> Json:
    body = [
        _text(_title(content, room=room, size="Large")),
        _text(_run(_name(content.location, room), isSubtle=True), spacing="None"),
        {"type": "FactSet", "facts": [{"title": k, "value": v} for k, v in content.facts]},
        _text(_run(_cut(content.summary, room))),
        *(_reason(reason, room=room) for reason in content.reasons[:shown]),
        *_left_out(content, shown),
        _text(_run("Next: ", weight="Bolder"), _run(_cut(content.advice, room))),
    ]
    return _envelope(body, links=links, in_short=content.in_short)


def _envelope(body: list[Json], *, links: Links, in_short: str) -> Json:
    titled = (
        ("Open executed notebook", links.executed_notebook),
        ("Open notebook", links.notebook),
        ("Open dashboard", links.dashboard),
    )
    return {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": _CARD_VERSION,
        "msteams": {"width": "Full"},
        "fallbackText": in_short,
        "body": body,
        "actions": [_open(url, title=title) for title, url in titled if url],
    }


def _open(url: str, *, title: str) -> Json:
    return {"type": "Action.OpenUrl", "title": title, "url": url}


def _entry(content: CardContent, links: Links, room: int) -> Json:
    """Return one event among others: its first reason stands for all."""
    facts = dict(content.facts)
    line = " · ".join(
        [_name(content.location, room), *([facts["Jobs"]] if "Jobs" in facts else [])]
    )
    reasons = [_reason(reason, room=room) for reason in content.reasons[:1]]
    address = links.executed_notebook or links.notebook
    return {
        "type": "Container",
        "separator": True,
        "items": [
            _text(_title(content, room=room, size="Default")),
            _text(_run(line, isSubtle=True), spacing="None"),
            *(reasons or [_text(_run(_cut(content.summary, room)))]),
            *_left_out(content, 1),
            _text(_run("Next: ", weight="Bolder"), _run(_cut(content.advice, room))),
            *([_link(address)] if address else []),
        ],
    }


def _link(url: str) -> Json:
    action = _open(url, title="Open notebook")
    return _text(_run("Open notebook", color="Accent", selectAction=action), spacing="Small")


def _title(content: CardContent, *, room: int, size: str) -> Json:
    subject, cycle = _name(content.subject, room), _name(content.cycle, room)
    color = _COLORS.get(content.outcome, "Attention")
    text = f"{content.outcome}: {subject} — cycle {cycle}"
    return _run(text, size=size, weight="Bolder", color=color)


def _reason(reason: Reason, *, room: int) -> Json:
    about = shorten(clean(reason.about), max(min(room, 600), _LEAST_ROOM))
    return _text(_run(f"{about}: ", weight="Bolder"), _run(_cut(reason.text, room)))


def _left_out(content: CardContent, shown: int) -> list[Json]:
    reasons = content.reasons[shown:]
    jobs = sum(reason.jobs for reason in reasons) + content.unnamed_jobs
    if not jobs:
        return []
    more = f"{counted(len(reasons), 'more reason')}, " if reasons else ""
    return [_text(_run(f"… and {more}{counted(jobs, 'more job')}.", isSubtle=True))]


def _name(text: str, room: int) -> str:
    return _cut(text, min(room, _LONGEST_NAME)).replace("\n", " ")


def _cut(text: str, room: int) -> str:
    return shorten(clean(text), room)


def _text(*runs: Json, **style: str) -> Json:
    return {"type": "RichTextBlock", **style, "inlines": list(runs)}


def _run(text: str, **style: Any) -> Json:
    harmless = _COMMANDS.sub(lambda found: found[0] + _ZERO_WIDTH_SPACE, text)
    return {"type": "TextRun", "text": harmless, **style}

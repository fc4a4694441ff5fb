"""Read the JSON of Moody's answers: all of it that the database can hold, and what it says.

A job's texts stand in its body for ever, so that one odd value among them must never keep the
job from its end: what cannot be kept becomes a text that says so in its place. Pure.
"""

import json
import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeAlias

from helpers.text import clean, storable_json

Body: TypeAlias = dict[str, Any]

MAX_BODY_BYTES = 4 * 1024 * 1024
"""Bytes of a body that are kept; the largest real one seen has a few hundred KB."""

MAX_READ_BYTES = 32 * 1024 * 1024
"""Bytes of an answer that are read: its status may stand at its end."""

_CONTAINERS = (dict, list)
_DEEPEST = 200  # levels; writing more might exhaust the stack
_LONGEST_NUMBER = 300  # digits
_TOO_DEEP = "(not kept: nested too deep)"
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|["{}\[\]:,]', re.DOTALL)


# --- JSON of any kind.


def json_value(content: bytes) -> Any:
    """Return the JSON value, with a text in place of what is no JSON, too deep or too large.

    Raises:
        ValueError: it is not JSON, or too large to be read.
    """
    if len(content) > MAX_READ_BYTES:
        raise ValueError("too large")
    # A name in another encoding is no reason not to read the rest.
    text = content.decode(json.detect_encoding(content), errors="replace")
    try:
        value = _parsed(text)
    except RecursionError:
        value = {key: _member(member) for key, member in _members(text)}
    return _fitted(value) if len(content) > MAX_BODY_BYTES else value


def _parsed(text: str) -> Any:
    value = json.loads(
        text,
        parse_constant=str,
        parse_int=lambda digits: int(digits) if len(digits) <= _LONGEST_NUMBER else digits,
        parse_float=lambda digits: number if math.isfinite(number := float(digits)) else digits,
    )
    if text.count("{") + text.count("[") > _DEEPEST:
        _prune(value)
    return value


def _prune(value: Any) -> None:
    """Put a text in the place of all that is nested too deep."""
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, _CONTAINERS)
        ]
    for item in level:
        for key, child in _items(item):
            if isinstance(child, _CONTAINERS):
                item[key] = _TOO_DEEP


def _items(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, list) else []


def _members(text: str) -> Iterator[tuple[str, str]]:
    """Yield the members of an object as texts, however deep they are.

    Raises:
        ValueError: it is not a JSON object.
    """
    depth, start, key = 0, 0, ""
    for token in _TOKEN.finditer(text):
        match token[0], depth:
            case '"', _:
                raise ValueError("a string without its end")
            case (("{" | "["), _):
                depth += 1
                start = token.end() if depth == 1 else start
            case ":", 1:
                key, start = json.loads(text[start : token.start()]), token.end()
            case (("," | "}"), 1):
                yield key, text[start : token.start()]
                depth, start = (1, token.end()) if token[0] == "," else (0, token.end())
            case (("]" | "}"), _):
                depth -= 1
            case _:
                pass
    if depth or text[start:].strip() or not text.lstrip().startswith("{"):
        raise ValueError("not an object")


def _member(text: str) -> Any:
    try:
        return _parsed(text)
    except RecursionError:
        return _TOO_DEEP


def _fitted(value: Any) -> Any:
    """Replace the largest members of an object until the rest is small enough to be kept."""
    if not isinstance(value, dict):
        return value
    sizes = {key: len(json.dumps(member)) for key, member in value.items()}
    kept = dict(value)
    for key in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if sum(sizes.values()) <= MAX_BODY_BYTES:
            break
        kept[key], sizes[key] = f"(not kept: {sizes[key]:,} bytes)", 0
    return kept


def storable(value: Any, *, source: bytes) -> Any:
    """Return a JSON value without the characters that jsonb cannot hold: NUL, lone surrogates.

    Args:
        value: the value.
        source: what it was read from, in which UTF-8 can hold such characters only as escapes.
    """
    is_plain = b"\\u" not in source and b"\0" not in source
    return value if is_plain else json.loads(storable_json(value))


# --- What a job's body says.


class MoodysTimes(NamedTuple):
    """When a job ran, by Moody's own clock; None for what has not happened or is not said."""

    submitted_ts: datetime | None = None
    started_ts: datetime | None = None
    ended_ts: datetime | None = None


_FIRST_YEAR = 2000  # some systems write the year 1 for "never"


def moodys_times(body: Body) -> MoodysTimes:
    """Return Moody's own times of a job, from a body of either API."""
    return MoodysTimes(
        _time(body.get("submittedAt") or body.get("submitTime")),
        _time(body.get("startedAt") or body.get("startTime")),
        _time(body.get("endedAt") or body.get("endTime")),
    )


def progress(body: Body) -> int | None:
    """Return how far a job is, in percent, from a body of either API; None if it is not said."""
    percent = body.get("progress")
    if isinstance(percent, bool) or not isinstance(percent, int | float):
        return None
    return int(percent) if 0 <= percent <= 100 else None  # noqa: PLR2004


def _time(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC) if moment.year >= _FIRST_YEAR else None
    except (ValueError, OverflowError):
        return None


_NO_SENTENCE = re.compile(r"\A(not available|n/a|none|null)\s*(?:[.:;,\n-]+\s*|$)", re.IGNORECASE)
_TASK_DONE = "Succeeded"
_SAYING = ("errors", "error", "errorMessage", "message", "detail", "reason", "description")


def failure_reason(body: Body) -> str | None:
    """Return Moody's own words on why a job failed; None if there are none."""
    for text in _of_failure(body):
        # Fit to be stored and shown, without the words that say nothing.
        if text and (sentence := _NO_SENTENCE.sub("", clean(text).strip(), count=1).strip()):
            return sentence
    return None


def _of_failure(body: Body) -> Iterator[str]:
    """Yield what a body says of a failure.

    The first error of a task that says anything is the root cause; older bodies have messages or
    an error of their own, and the last resort is the summary.
    """
    tasks = _tasks(body)
    for task in tasks:
        yield from _texts(_dict(task.get("output")).get("errors"))
    for task in tasks:
        yield from _texts({key: task.get(key) for key in ("errors", "error", "errorMessage")})
    messages = _list(body.get("messages"))
    errors = [m for m in messages if str(_dict(m).get("type", "")).upper() == "ERROR"]
    yield from _texts(errors or messages)
    yield from _texts([body.get(key) for key in ("errors", "error", "errorMessage", "message")])
    yield from _texts(_dict(body.get("details")).get("summary"))
    for task in [*tasks, body]:  # outputs under other names: several words, so no address
        if task.get("status") != _TASK_DONE:
            yield from (t for t in _texts(_values(task.get("output"))) if len(t.split()) > 1)
    yield from _texts(_values(body.get("summary")))


def _values(value: Any) -> Any:
    return list(value.values()) if isinstance(value, dict) else value


def _texts(value: Any) -> Iterator[str]:
    """Yield what is said in a value of any shape."""
    match value:
        case str():
            yield value
        case list():
            for item in value:
                yield from _texts(item)
        case dict():
            for key in _SAYING:
                yield from _texts(value.get(key))


def _tasks(body: Body) -> list[Body]:
    both = [*_list(body.get("tasks")), *_list(body.get("jobs"))]
    return [task for task in both if isinstance(task, dict)]


def _dict(value: object) -> Body:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []

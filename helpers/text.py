"""Foreign text, made fit to be stored and shown.

What Moody's, a notebook or a person wrote may hold anything. These functions keep every
character that can be seen and stored, and drop those that steer terminals or that
PostgreSQL cannot hold. Escaping for HTML or Markdown is the business of who displays it.
"""

import json
import re
from collections.abc import Callable, Sequence
from datetime import date
from functools import lru_cache
from typing import Any

# CSI and OSC sequences of terminals: ECMA-48, sections 5.4 and 8.3.89.
_TERMINAL_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


def clean(text: str) -> str:
    """Return the text without terminal sequences, control characters and lone surrogates.

    Tabs and newlines stay; direction overrides, which make text read as what it is not, go.
    """
    return _UNPRINTABLE.sub("", _TERMINAL_SEQUENCE.sub("", text.replace("\r\n", "\n")))


_SURROGATE = re.compile(r"[\ud800-\udfff]")
_ESCAPED_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")  # an escaped backslash starts no escape


def storable_json(value: Any) -> str:
    """Return the value as JSON that jsonb holds: no NUL, no lone surrogate, no NaN.

    What JSON does not know becomes its text. Raises ValueError for a value inside itself.
    """
    plain = json.loads(json.dumps(value, default=str), parse_constant=str)
    text = _SURROGATE.sub("", json.dumps(plain, ensure_ascii=False))
    return _ESCAPED_NUL.sub(r"\1", text)


def map_texts(value: Any, change: Callable[[str], str]) -> Any:
    """Return a value of the same shape, such as JSON or a notebook, with every text changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [map_texts(item, change) for item in value]
    if isinstance(value, dict):
        return type(value)({change(key): map_texts(value[key], change) for key in value})
    return value


def shorten(text: str, limit: int = 2_000) -> str:
    """Return the text in at most ``limit`` characters, cut in its middle.

    The cause of a long error tends to stand at its end, and what it is about at its beginning.
    """
    if len(text) <= limit:
        return text
    mark = " […] "
    kept = max(limit - len(mark), 0)
    head = kept // 2
    return (text[:head] + mark + text[len(text) - (kept - head) :])[:limit]


def one_line(text: str, limit: int = 200) -> str:
    """Return foreign text in one line."""
    return shorten(" ".join(clean(text).split()), limit)


def listed(items: Sequence[object], *, most: int = 8) -> str:
    """Return ``a, b, c and 4 more``."""
    shown = ", ".join(map(str, items[:most]))
    more = len(items) - most
    return f"{shown} and {more} more" if more > 0 else shown


@lru_cache(maxsize=1024)  # columns repeat, row by row
def snake_case(name: object) -> str:
    """Return ``analysis_name`` for ``analysisName``, ``Analysis Name`` and the like."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(name))
    return re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return ``1 job`` or ``3 jobs``; ``plural`` is for nouns that do not just take an s."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def day_and_month(day: date) -> str:
    """Return ``26 Nov``, whatever language this process is set to."""
    return f"{day.day} {_MONTHS[day.month - 1]}"

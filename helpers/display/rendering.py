"""Jinja templates, one pair per report: ``<name>.html`` and ``<name>.txt``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, ClassVar

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from helpers.display.tone import tone_of
from helpers.redaction import redact
from helpers.text import clean, counted, listed, shorten

_NAMED_IDS = 12
_NAMED_VALUES = 4


class Report:
    """Something that displays itself: subclasses name their template and hold the facts."""

    template: ClassVar[str]
    most_lines: ClassVar[int] = 100  # rows that a table shows; the rest is counted

    def _repr_html_(self) -> str:
        return _environment().get_template(f"{self.template}.html").render(report=self)

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        text = _environment().get_template(f"{self.template}.txt").render(report=self)
        return text.strip("\n")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("helpers.display"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    environment.filters |= {
        "counted": counted,
        "duration": duration,
        "ids": ids,
        "labels": labels,
        "moment": moment,
        "shorten": shorten,
        "tally": tally,
        "tone": tone_of,
    }
    return environment


def _printable(value: Any) -> Any:
    """Clean what a template puts out; markup that the engine made itself is clean already."""
    return clean(value) if type(value) is str else value


def ids(numbers: Sequence[int]) -> str:
    """Return ``3, 5, 8 and 4 more``."""
    return listed([str(number) for number in numbers], most=_NAMED_IDS)


def labels(configuration: Mapping[str, Any] | None) -> str:
    """Return a configuration's plain values, ``name: LOB 1, peril: EQ``; empty for none.

    Secrets are taken out here, because who shows it may cut it, and half a secret is not found.
    """
    plain = {k: v for k, v in (configuration or {}).items() if isinstance(v, str | int | float)}
    return redact(listed([f"{k}: {v}" for k, v in plain.items()], most=_NAMED_VALUES))


def tally(counts: Mapping[str, int]) -> str:
    """Return ``18 FINISHED, 2 FAILED``; an em dash where nothing is counted."""
    return ", ".join(f"{number:,} {label}" for label, number in counts.items() if number) or "—"


def duration(seconds: float | timedelta | None) -> str:
    """Return ``0.4 s``, ``12 s``, ``3 min 5 s`` or ``2 h 10 min``; an em dash for None."""
    if seconds is None:
        return "—"
    value = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
    if value < 10:  # noqa: PLR2004 - below, tenths are worth showing
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes == 0:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def moment(when: datetime | None) -> str:
    """Return a time in UTC, to the second; an em dash for None."""
    return "—" if when is None else when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")

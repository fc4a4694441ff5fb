"""What reports are made of: a few blocks, which know nothing of HTML or terminals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self, TypeAlias

from helpers.display.formats import as_of
from helpers.display.severity import Severity, severity_of

_LONG_WORD = 16  # a longer one may be broken, or a narrow screen scrolls


@dataclass(frozen=True)
class Headline:
    """The report in one sentence."""

    severity: Severity
    text: str


@dataclass(frozen=True)
class Tile:
    """One figure."""

    label: str
    value: str | int
    more: str | None = None
    severity: Severity | None = None


@dataclass(frozen=True)
class Tiles:
    """Some figures."""

    tiles: Sequence[Tile]


@dataclass(frozen=True)
class Note:
    """A line of text: a paragraph of the report, or what is to be said of a row."""

    text: str
    severity: Severity | None = None
    is_quiet: bool = False
    link: str | None = None  # to a file below the workflows folder, ``workflows/…``


class AsOf(Note):
    """When a screen was made, and the zone of its times; several reports on one say it once."""

    @classmethod
    def at(cls, now: datetime) -> Self:
        """Make the line."""
        return cls(as_of(now), is_quiet=True)


@dataclass(frozen=True)
class Cell:
    """A text in a table, with a sign if it has a severity, and with a bar if things are counted.

    A link whose text is its own path is shown by its name.
    """

    text: str
    severity: Severity | None = None
    counts: Mapping[str, int] | None = None
    link: str | None = None  # to a file below the workflows folder, ``workflows/…``

    @property
    def has_long_word(self) -> bool:
        """Whether it may be broken anywhere, so that the table keeps its width."""
        return max(map(len, self.text.split()), default=0) > _LONG_WORD

    @property
    def shares(self) -> list[tuple[Severity, float]]:
        """How much of the bar each status takes, in percent."""
        counts = {label: number for label, number in (self.counts or {}).items() if number}
        whole = sum(counts.values())
        return [(severity_of(label), 100 * number / whole) for label, number in counts.items()]


Value: TypeAlias = str | int | Cell
"""What stands in a table; whole numbers are aligned as such."""


@dataclass(frozen=True)
class Row:
    """A row of a table, with lines beneath it."""

    cells: Sequence[Value]
    notes: Sequence[Note] = ()
    is_quiet: bool = False


class Fold(StrEnum):
    """How a table that folds under its title is shown at first; closed, a text is its title."""

    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True)
class Table:
    """Rows under columns."""

    columns: Sequence[str]
    rows: Sequence[Row]
    noun: str = "row"  # what a row is about, for "… and 3 more"
    plural: str | None = None
    title: str = ""
    total: int | None = None  # how many there are, if the rows are not all of them
    fold: Fold | None = None  # None: it does not fold
    severity: Severity | None = None  # of its title


@dataclass(frozen=True)
class Remark:
    """Something about one job, batch or section that a person should know."""

    about: str
    text: str
    severity: Severity | None = None
    code: str = ""  # the line of Python that mends it


@dataclass(frozen=True)
class Remarks:
    """A list of remarks."""

    rows: Sequence[Remark]
    noun: str = "remark"
    plural: str | None = None
    title: str = ""
    total: int | None = None


@dataclass(frozen=True)
class Span:
    """A bar in a lane of a time line."""

    start: datetime
    end: datetime
    severity: Severity
    text: str


@dataclass(frozen=True)
class Mark:
    """A moment in a lane."""

    at: datetime
    severity: Severity
    text: str


@dataclass(frozen=True)
class Lane:
    """What happened to one thing."""

    label: str
    spans: Sequence[Span]
    marks: Sequence[Mark]
    folded: "Sequence[Lane]" = ()  # what happened to its parts; a text leaves them out
    folded_total: int | None = None  # how many parts there are, if those are not all of them


@dataclass(frozen=True)
class Timeline:
    """Lanes over the same stretch of time, with the gaps in it; a drawing, and a table as text."""

    start: datetime
    end: datetime
    lanes: Sequence[Lane]
    gaps: Sequence[tuple[datetime, datetime]] = ()


Block: TypeAlias = Headline | Tiles | Note | Table | Remarks | Timeline


def badge(status: str) -> Cell:
    """Return a status with its sign."""
    return Cell(status, severity_of(status))

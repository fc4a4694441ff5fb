"""What happened in a night, on one time line: batches, notebooks, cards, and gaps. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

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
)
from helpers.text import counted


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
        parts = [
            f"{counted(len(spans), 'batch or notebook', 'batches and notebooks')}",
            f"{bad} of them failed" if bad else "none failed",
        ]
        if self.gaps:
            longest = max(end - start for start, end in self.gaps)
            times = "once" if len(self.gaps) == 1 else f"{len(self.gaps)} times"
            parts.append(f"monitoring was off {times}, for {duration(longest)} at most")
        severity = Severity.ERROR if bad else Severity.WARNING if self.gaps else Severity.OK
        yield Headline(severity, f"Since {clock(self.since_ts, self.now_ts)}: {', '.join(parts)}.")
        yield Timeline(self.since_ts, self.now_ts, self.lanes, self.gaps)
        yield AsOf.at(self.now_ts)


def span(
    label: str, start: datetime | None, end: datetime | None, severity: Severity, *, now: datetime
) -> list[Span]:
    """Return a bar from its start to its end, or until now; nothing if it never started."""
    if start is None:
        return []
    return [Span(start, max(end or now, start), severity, label)]


def marks(times: Sequence[datetime] | None, severity: Severity, text: str) -> list[Mark]:
    """Return a mark for each moment."""
    return [Mark(when, severity, text) for when in times or []]

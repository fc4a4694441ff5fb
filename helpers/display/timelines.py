"""Lay a time line out: where each bar, mark and hour stands. Pure."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from helpers.display.blocks import Lane, Row, Table, Timeline, Value
from helpers.display.formats import clock, duration, local
from helpers.display.severity import Severity

_HOUR_STEPS = (1, 2, 3, 6, 12, 24, 48)
_MOST_HOURS = 13  # labels that fit beside each other
_LEAST_WIDTH = 0.4  # percent: a bar that would be thinner could not be seen


@dataclass(frozen=True)
class Piece:
    """A bar or a mark, in percent of the whole width."""

    x: float
    width: float
    severity: Severity
    title: str


class TimelineDrawing:
    """A time line, laid out; positions are percent of its width."""

    def __init__(self, timeline: Timeline) -> None:
        self._start, self._end = timeline.start, max(timeline.end, timeline.start)
        self._whole = max((self._end - self._start).total_seconds(), 1.0)
        self.gaps = [self._piece(a, b, Severity.WARNING, "no monitoring") for a, b in timeline.gaps]
        self.hours = list(self._hours())

    def bars(self, lane: Lane) -> list[Piece]:
        """Return the bars of a lane."""
        return [self._piece(s.start, s.end, s.severity, s.text) for s in lane.spans]

    def marks(self, lane: Lane) -> list[Piece]:
        """Return the marks of a lane; those in one place are one: the width bounds their number."""
        marks = {
            (round(self._x(mark.at), 1), mark.severity): mark
            for mark in lane.marks
            if self._start <= mark.at <= self._end
        }
        return [
            Piece(x, 0.0, severity, f"{clock(mark.at, self._end)} {mark.text}")
            for (x, severity), mark in sorted(marks.items())
        ]

    def _piece(self, start: datetime, end: datetime, severity: Severity, text: str) -> Piece:
        x, to = self._x(start), self._x(end)
        title = (
            f"{text}: {clock(start, self._end)} to {clock(end, self._end)}, {duration(end - start)}"
        )
        return Piece(x, max(to - x, _LEAST_WIDTH), severity, title)

    def _x(self, when: datetime) -> float:
        share = (when - self._start).total_seconds() / self._whole
        return round(100 * min(max(share, 0.0), 1.0), 2)

    def _hours(self) -> Iterator[tuple[float, str]]:
        """Give the full hours that are labelled, here and now."""
        hours = self._whole / 3600
        step = next((s for s in _HOUR_STEPS if hours / s <= _MOST_HOURS), _HOUR_STEPS[-1])
        at = local(self._start).replace(minute=0, second=0, microsecond=0).astimezone(UTC)
        while (at := at + timedelta(hours=1)) <= self._end:
            if local(at).hour % min(step, 24) == 0:
                yield self._x(at), f"{local(at):%H:%M}"


def as_table(timeline: Timeline) -> Table:
    """Return the same as a table, for text: a row for each bar, gap, and group of marks."""
    now = timeline.end
    rows: list[tuple[datetime, list[Value]]] = []
    for lane in timeline.lanes:
        counts = Counter(mark.text for mark in lane.marks)
        marks = ", ".join(f"{number} × {text}" for text, number in counts.items())
        for bar in lane.spans:
            times = f"{clock(bar.start, now)} to {clock(bar.end, now)}"
            took = duration(bar.end - bar.start)
            rows.append((bar.start, [times, lane.label, bar.text, took, marks]))
        if not lane.spans and lane.marks:
            first = lane.marks[0].at
            rows.append((first, [clock(first, now), lane.label, "", "", marks]))
    for start, end in timeline.gaps:
        times = f"{clock(start, now)} to {clock(end, now)}"
        rows.append((start, [times, "monitoring was off", "", duration(end - start), ""]))
    rows.sort(key=lambda item: item[0])
    columns = ["When", "What", "Status", "Took", "Meanwhile"]
    return Table(columns, [Row(cells) for _, cells in rows], noun="line")

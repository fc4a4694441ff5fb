"""Read traces of finished jobs.

One row per job in time order, with ``runtime_seconds``, or ``submitted_s, started_s, ended_s``;
``workflow``, ``run``, ``run_started``, ``kind`` and ``input_bytes`` if they are known.
"""

import csv
import gzip
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

_FINEST_SECONDS = 0.001
_REPEATED = 5  # jobs of equal sizes and durations, in the same order, are no coincidence
_DECIMALS = 6  # beyond them the difference of two times is noise


@dataclass(frozen=True, slots=True)
class Row:
    """One job."""

    kind: str
    run: str | None
    size: float | None
    seconds: float
    started: float | None  # when it is forecast: its own start, or its run's; None: file order
    ended: float | None  # its own end, or the earliest that it can have ended
    timed: bool  # the times are its own


def read(path: Path) -> list[Row]:
    """Return the jobs that have a duration, in the order of their starts if those are known."""
    with gzip.open(path, "rt", newline="", encoding="utf-8", errors="replace") as file:
        rows = [row for line in csv.DictReader(file) if (row := _row(line)) is not None]
    if all(row.timed for row in rows):
        rows.sort(key=lambda row: row.started or 0.0)
    return without_repeats(rows)


def without_repeats(rows: Sequence[Row]) -> list[Row]:
    """Leave out what a run only repeats of another: its future would be known to the letter."""
    groups: dict[tuple[str, str | None], list[tuple[float | None, float]]] = defaultdict(list)
    for row in rows:
        groups[row.kind, row.run].append((row.size, row.seconds))
    seen, repeats = set(), set()
    for (kind, run), jobs in groups.items():
        if run and len(jobs) >= _REPEATED:
            key = (kind, *jobs)
            if key in seen:
                repeats.add((kind, run))
            seen.add(key)
    return [row for row in rows if (row.kind, row.run) not in repeats]


def resolution_seconds(rows: Sequence[Row]) -> float:
    """Return the finest difference that the file's durations can show."""
    if all(row.seconds.is_integer() for row in rows):
        return 1.0
    return min([_FINEST_SECONDS, *(row.seconds for row in rows if row.seconds > 0)])


def _row(line: dict[str, str]) -> Row | None:
    kind = f"{line.get('workflow') or ''}/{line.get('kind') or ''}".strip("/")
    run = f"{line.get('workflow') or ''}/{line['run']}" if line.get("run") else None
    size = _number(line.get("input_bytes"))
    started, ended = _number(line.get("started_s")), _number(line.get("ended_s"))
    if started is not None and ended is not None and ended >= started:
        seconds = round(ended - started, _DECIMALS)
        return Row(kind, run, size, seconds, started, ended, timed=True)
    seconds = _number(line.get("runtime_seconds"))
    if seconds is None or seconds < 0:
        return None
    start = _time(line.get("run_started")) if run else None
    return Row(kind, run, size, seconds, start, start and start + seconds, timed=False)


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text else None
    except ValueError:
        return None
    return number if number is not None and math.isfinite(number) else None


def _time(text: str | None) -> float | None:
    """Return a time of day or a number of seconds; None if it is neither."""
    if (number := _number(text)) is not None:
        return number
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except ValueError:
        return None

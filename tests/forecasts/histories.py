"""Histories to forecast from, built from plain numbers."""

import math
import random
from collections.abc import Sequence

from helpers.forecasting import History, KindHistory, Record, quantile_points, size_class

KIND = "Analysis"


def kind_history(
    seconds: Sequence[float], *, sizes: Sequence[float] | None = None, record: Record | None = None
) -> KindHistory:
    """Return a history of these durations, by size class if sizes are given."""
    logs = [math.log(each) for each in seconds]
    classes: dict[int | None, Sequence[float]] = {None: quantile_points(logs)}
    for key in {size_class(size) for size in sizes or ()}:
        of = [log for log, size in zip(logs, sizes or (), strict=True) if size_class(size) == key]
        classes[key] = quantile_points(of)
    return KindHistory(len(logs), classes, record or Record())


def usual_history(
    *,
    median: float = 600.0,
    count: int = 200,
    spread: float = 0.5,
    misses: Sequence[float] = (),
    waits: KindHistory | None = None,
    seed: int = 1,
) -> History:
    """Return a history of one kind, whose past errors spread as its durations do."""
    draw = random.Random(seed)
    errors = [draw.gauss(0, spread) for _ in range(count)]
    record = Record(
        errors=(tuple(errors[:100]),) * 4,
        effects=tuple(draw.gauss(0, 0.4) for _ in range(30)),
        within=tuple(sorted(errors)),
    )
    seconds = [median * math.exp(error) for error in errors]
    return History(
        {KIND: kind_history(seconds, record=record)},
        waits={KIND: waits} if waits else {},
        misses=dict.fromkeys(range(6), misses),
    )

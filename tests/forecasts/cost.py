"""Measure in a fresh process what the forecasts of a large pass cost, imports included.

100 batches with 10,000 active jobs, 100,000 jobs in history. The last line of the output is
the CPU time in seconds.
"""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

_KINDS, _CLASSES = 12, 8


def measure() -> float:
    """Return the CPU seconds, with BLAS on one thread."""
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.forecasts.cost"],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[-1])


def _main() -> None:
    start = time.process_time()
    # What importing costs is part of the question.
    from helpers.forecasting import (  # noqa: PLC0415
        BatchState,
        History,
        Job,
        KindHistory,
        Record,
        quantile_points,
    )
    from helpers.forecasting.batches import forecast_batches  # noqa: PLC0415
    from helpers.forecasting.jobs import forecast_jobs  # noqa: PLC0415

    imports = time.process_time() - start
    draw = random.Random(1)

    def points(count: int, spread: float) -> tuple[float, ...]:
        return tuple(sorted(draw.gauss(0, spread) for _ in range(count)))

    def kind() -> KindHistory:
        classes: dict[int | None, tuple[float, ...]] = {
            n: tuple(6 + 0.3 * n + p for p in points(1_000, 0.7)) for n in range(_CLASSES)
        }
        classes[None] = quantile_points([p for of in classes.values() for p in of])
        errors = tuple(points(100, 0.6) for _ in Record().errors)
        return KindHistory(
            8_000, classes, Record(errors, 0.8, points(100, 0.4), points(1_000, 0.5))
        )

    def jobs(count: int) -> list[Job]:
        return [Job(draw.uniform(1, 900), 2.0 ** draw.randrange(_CLASSES)) for _ in range(count)]

    history = History(
        {f"kind {n}": kind() for n in range(_KINDS)},
        misses={n: points(100, 0.2) for n in range(6)},
    )
    batches = []
    for number in range(100):
        servers = draw.randrange(8, 25)
        state = BatchState(f"kind {number % _KINDS}", jobs(100), jobs(servers), jobs(100 - servers))
        batches.append(state)
    start = time.process_time()
    forecast_batches(history, batches)
    for batch in batches:
        forecast_jobs(history, batch)
    print(imports + time.process_time() - start)


if __name__ == "__main__":
    _main()

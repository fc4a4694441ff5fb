"""One pass of the monitor in a process of its own, as a schedule would start it; prints JSON.

Shown: seconds of each section by the clock and of CPU, the peak of its memory, the SQL statements
that it sent, and how many jobs it polled.
With ``BENCH_SHARE=0/2`` it leaves every other batch to somebody else.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

from helpers.monitor import Monitor

SECTIONS = ("find_batches", "poll_jobs", "reconcile_batches", "execute_next_steps", "summarise")


def main() -> None:
    """Run the pass that the environment describes."""
    statements = _counted_statements()
    started = time.perf_counter()
    monitor = Monitor()
    seconds = {"start": time.perf_counter() - started}
    cpu_seconds = {"start": time.process_time()}
    reports = {}
    for section in SECTIONS:
        begun, begun_cpu = time.perf_counter(), time.process_time()
        reports[section] = getattr(monitor, section)()
        seconds[section] = time.perf_counter() - begun
        cpu_seconds[section] = time.process_time() - begun_cpu
        if section == "find_batches":
            _leave_to_others(reports[section].batches)
    summary = reports["summarise"]
    measured = {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_mb": _peak_mb(),
        "statements": next(statements),
        "jobs_polled": summary.jobs_polled,
        "batches_settled": summary.batches_completed + summary.batches_failed,
        "errors": [str(error) for error in summary.errors],
    }
    json.dump(measured, sys.stdout)


def _leave_to_others(batches: list[Any]) -> None:
    number, _, of = os.environ.get("BENCH_SHARE", "0/1").partition("/")
    batches[:] = batches[int(number) :: int(of)]


def _counted_statements() -> "count[int]":
    """Count what is executed from now on, in any thread; BEGIN and COMMIT are not counted."""
    counter = count()

    def counting(sends: Callable[..., Any]) -> Callable[..., Any]:
        def send(cursor: Any, *args: Any, **kwargs: Any) -> Any:
            next(counter)
            return sends(cursor, *args, **kwargs)

        return send

    psycopg.Cursor.execute = counting(psycopg.Cursor.execute)  # type: ignore[method-assign]
    paged = psycopg.ServerCursor
    paged.execute, paged.fetchmany = counting(paged.execute), counting(paged.fetchmany)  # type: ignore[method-assign]
    return counter


def _peak_mb() -> float:
    """Return the most memory that this process has held."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2  # bytes, on macOS
    lines = status.read_text(encoding="ascii").splitlines()
    [kilobytes] = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    return int(kilobytes) / 1024


if __name__ == "__main__":
    main()

"""A monitor that stops at named points: ``python faults_monitor.py [--crew] POINT…``.

Runs one pass by its own entry point; with ``--crew``, one pass section by section as the
notebook does, each time that the test says so.
"""

import os
import sys

import faults_points

import helpers.database.locks
import helpers.recording
from helpers.monitor import Monitor
from helpers.monitor.__main__ import main

SECTIONS = (
    "find_batches",
    "poll_jobs",
    "reconcile_batches",
    "execute_next_steps",
    "summarise",
)


def passes_on_demand() -> int:
    """Run a pass whenever the test says so, and hand its displays over."""
    while faults_points.meet("start") == faults_points.GO:
        monitor = Monitor()
        shown = [str(getattr(monitor, section)()) for section in SECTIONS]
        faults_points.meet("ended", shown="\n".join(shown))
    return 0


if __name__ == "__main__":
    helpers.recording.RECORD_CHUNK = 3  # several chunks of few jobs
    if idle_seconds := os.environ.get("FAULTS_IDLE_SECONDS"):
        helpers.database.locks.IDLE_SECONDS = float(idle_seconds)
    crew, points = sys.argv[1:2] == ["--crew"], [a for a in sys.argv[1:] if a != "--crew"]
    for point in points:
        faults_points.stop_at(point)
    sys.exit(passes_on_demand() if crew else main([]))

"""The monitor: one pass over everything that is active; see ``Monitor``."""

from helpers.monitor.monitor_pass import Monitor, run_pass
from helpers.monitor.waiting import what_waits

__all__ = ["Monitor", "run_pass", "what_waits"]

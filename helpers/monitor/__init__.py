"""The monitor: one pass over everything that is active; see ``Monitor``."""

from helpers.monitor.monitor_pass import Monitor, run_pass
from helpers.monitor.waiting import acknowledge, what_waits

__all__ = ["Monitor", "acknowledge", "run_pass", "what_waits"]

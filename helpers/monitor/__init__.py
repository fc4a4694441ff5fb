"""The monitor: one pass over everything that is active; see ``Monitor``."""

from helpers.monitor.monitor_pass import Monitor, run_pass

__all__ = ["Monitor", "run_pass"]

"""Is everything set up? One line for each thing that a pass needs, and what to do about it."""

from helpers.check.findings import CheckReport
from helpers.check.system import check_system

__all__ = ["CheckReport", "check_system"]

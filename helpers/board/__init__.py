"""The work on one page: what runs, what failed, what waits. It polls, decides and sends nothing."""

from helpers.board.grid import Board
from helpers.board.night import NightHistory, monitoring_gaps, night_history
from helpers.board.reading import board, jobs_of
from helpers.board.step_jobs import JobsReport

__all__ = [
    "Board",
    "JobsReport",
    "NightHistory",
    "board",
    "jobs_of",
    "monitoring_gaps",
    "night_history",
]

"""The work on one page: what runs, what failed, what waits. It polls, decides and sends nothing."""

from helpers.board.grid import Board
from helpers.board.night import monitoring_gaps, night_history
from helpers.board.reading import board, jobs_of

__all__ = [
    "Board",
    "board",
    "jobs_of",
    "monitoring_gaps",
    "night_history",
]

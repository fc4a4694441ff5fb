"""The work on one page: what runs, what failed, what waits. It polls, decides and sends nothing."""

from helpers.board.grid import Board
from helpers.board.history import NightHistory
from helpers.board.reading import board, night_history

__all__ = ["Board", "NightHistory", "board", "night_history"]

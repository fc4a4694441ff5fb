"""How a run of a notebook ended: what is known at its last cell, and what when all is over."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Ending(StrEnum):
    """How a run came to its end."""

    SUCCEEDED = "SUCCEEDED"  # every cell ran through, or the notebook exited with code 0
    FAILED = "FAILED"  # the notebook failed, took too long, lost its kernel or could not be run
    STOPPED = "STOPPED"  # ``stop`` or the end of its lease ended it; the notebook is not to blame


@dataclass(frozen=True)
class Verdict:
    """How a run ended, as it is known at its last cell: ``error`` is None if it succeeded.

    ``remarks`` are for people, also after a success: cells that were not run, outputs that are
    lost.
    """

    ending: Ending
    error: str | None
    execution_seconds: float = 0.0
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class NotebookOutcome(Verdict):
    """A verdict, and what there is to see.

    ``executed_path`` is None if no copy was written: nothing ran, or it could not be.
    """

    executed_path: Path | None = None
    stdout: str = ""
    stderr: str = ""

    @classmethod
    def failed(cls, error: str) -> "NotebookOutcome":
        """Return the outcome of a run that failed before it began."""
        return cls(Ending.FAILED, error)

    @classmethod
    def stopped(cls, reason: str) -> "NotebookOutcome":
        """Return the outcome of a run that was stopped before it began."""
        return cls(Ending.STOPPED, reason)

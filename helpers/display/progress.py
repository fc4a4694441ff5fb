"""Progress of long work: a tqdm bar in a terminal, one updated line in a notebook.

In a notebook the bar is a display that is updated in place, so that an executed copy holds its
last state only, and no widget is needed to look at it.
"""

from contextlib import AbstractContextManager
from typing import Protocol


class Progress(AbstractContextManager["Progress"], Protocol):
    """What reports progress: counts up to a total that may still grow. A block closes it."""

    total: float | None

    def update(self, n: float | None = 1) -> bool | None:
        """Count."""

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None:  # noqa: FBT001, FBT002 - tqdm's
        """Say what is being worked on."""

    def close(self) -> None:
        """End."""


def progress(total: int, what: str, unit: str) -> Progress:
    """Return a bar for this much work; silent where nobody watches (no notebook, no terminal)."""
    # Imported when there is work: tqdm brings its own command line with it.
    from helpers.display.bars import bar  # noqa: PLC0415

    return bar(total, what, unit)

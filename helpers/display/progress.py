"""Progress of long work: a tqdm bar in a terminal, one updated line in a notebook.

In a notebook the bar is a display that is updated in place, so that an executed copy holds its
last state only, and no widget is needed to look at it.
"""

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from tqdm import tqdm

Progress: TypeAlias = "tqdm[None]"
"""What reports progress: counts up to a total that may still grow. A block closes it."""


def progress(total: int, what: str, unit: str) -> Progress:
    """Return a bar for this much work; silent where nobody watches (no notebook, no terminal)."""
    # Imported when there is work: tqdm brings its own command line with it.
    from helpers.display.bars import bar  # noqa: PLC0415

    return bar(total, what, unit)

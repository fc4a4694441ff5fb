"""Bars of tqdm: in a terminal, or as one updated line in a notebook."""

import sys
from collections.abc import Callable
from io import StringIO
from typing import Any

from tqdm import tqdm


class _NotebookProgress(tqdm):  # type: ignore[type-arg]  # generic only in the stubs
    """A bar that updates one display of the notebook."""

    def __init__(self, *arguments: Any, show: Callable[..., Any], **options: Any) -> None:
        self._handle: Any = None
        self._show = show
        super().__init__(*arguments, **options)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Show the bar as it is, instead of what it showed before."""
        del pos
        line = {"text/plain": str(self) if msg is None else msg}
        if self._handle is None:
            self._handle = self._show(line, raw=True, display_id=True)
        else:
            self._handle.update(line, raw=True)


def bar(total: int, what: str, unit: str) -> "tqdm[None]":
    """Return a bar for this much work; silent where nobody watches (no notebook, no terminal)."""
    options: dict[str, Any] = {
        "total": total,
        "desc": what,
        "unit": f" {unit}",
        "mininterval": 0.5,
        "bar_format": "{desc}: {n_fmt} of {total_fmt}{unit}, {elapsed}{postfix}",
    }
    show = _notebook_display()
    if show is not None:
        # Its own output goes nowhere: a bar ends with an empty line, which would show as an error.
        return _NotebookProgress(show=show, file=StringIO(), **options)
    return tqdm(**options, file=sys.stderr, disable=None, leave=False)


def _notebook_display() -> Callable[..., Any] | None:
    """Return IPython's display function inside a notebook's kernel; None elsewhere."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import display  # noqa: PLC0415 - only there, it is loaded already

    return display

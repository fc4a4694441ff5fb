"""The scheduled copies of the monitor's notebook, compared with the package's own.

A schedule runs the copy that was made when it was created or last updated. Copies are told apart
by what they run: the sources of their code cells, not their bytes, because JupyterLab rewrites a
notebook's metadata whenever it saves it.
"""

import json
from pathlib import Path

from helpers.errors import NotebookError
from helpers.workflow_paths import MONITOR_NOTEBOOK, monitor_notebook

STAGING_DIR = "scheduler_staging_area"  # below Jupyter's data directory
_MONITOR = "helpers.monitor"  # what every version of the notebook imports


def own_run_id() -> str | None:
    """Return the scheduler's id of the run that this process is; None if it was not scheduled.

    The scheduler runs each copy in a folder that is named by the run.
    """
    try:
        folder = Path.cwd()
    except FileNotFoundError:  # it was removed meanwhile
        return None
    return folder.name if folder.parent.name == STAGING_DIR else None


def own_copy_is_current() -> bool | None:
    """Tell whether this process's scheduled copy runs what the package's notebook runs."""
    return is_current(Path.cwd() / MONITOR_NOTEBOOK.name) if own_run_id() else None


def is_monitor(copy: Path) -> bool | None:
    """Tell whether a file is a copy of the monitor's notebook; None if it cannot be read."""
    cells = _code_cells(copy)
    return None if cells is None else any(_MONITOR in cell for cell in cells)


def is_current(copy: Path) -> bool | None:
    """Tell whether a copy runs what the package's notebook runs; None if that is unknown."""
    try:
        wanted = _code_cells(monitor_notebook())
    except NotebookError:
        return None
    cells = _code_cells(copy)
    return None if cells is None or wanted is None else cells == wanted


def _code_cells(notebook: Path) -> list[str] | None:
    """Return what the code cells hold, without nbformat, which takes its time."""
    try:
        content = json.loads(notebook.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return None
    cells = content.get("cells") if isinstance(content, dict) else None
    if not isinstance(cells, list):
        return None
    sources = [cell.get("source", "") for cell in cells if cell.get("cell_type") == "code"]
    return [("".join(it) if isinstance(it, list) else str(it)).strip() for it in sources]

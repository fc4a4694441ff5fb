"""The monitor's notebook, and the frozen copies of it that schedules run.

A schedule runs the copy that was made when it was created or last updated. Copies are told apart
by what they run: the sources of their code cells, not their bytes, because JupyterLab rewrites a
notebook's metadata whenever it saves it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from helpers.errors import NotebookError
from helpers.workflow_paths import inside_workflows, workflows_dir

MONITOR_NOTEBOOK = Path("_Tools", "Batch Management", "Monitor Active Jobs.ipynb")
STAGING_DIR = "scheduler_staging_area"  # below Jupyter's data directory
_MONITOR = "helpers.monitor"  # what every version of the notebook imports


def monitor_notebook() -> Path:
    """Return the notebook that is to be scheduled.

    Raises:
        NotebookError: the workflows folder does not hold it.
    """
    try:
        return inside_workflows(workflows_dir() / MONITOR_NOTEBOOK)
    except NotebookError as exc:
        raise NotebookError(
            f"{exc} Set IRP_WORKFLOWS_DIR to the folder that holds {MONITOR_NOTEBOOK.parts[0]}."
        ) from None


def kernel_of(notebook: Path) -> str | None:
    """Return the name of the kernel that a notebook asks for; None where it names none."""
    name = _read(notebook).get("metadata", {}).get("kernelspec", {}).get("name")
    return name if isinstance(name, str) else None


def is_monitor(copy: Path) -> bool | None:
    """Tell whether a file is a copy of the monitor's notebook; None where it cannot be read."""
    cells = _code_cells(copy)
    return None if cells is None else any(_MONITOR in cell for cell in cells)


def is_current(copy: Path) -> bool | None:
    """Tell whether a copy runs what the package's notebook runs; None where that is unknown."""
    try:
        wanted = _code_cells(monitor_notebook())
    except NotebookError:
        return None
    cells = _code_cells(copy)
    return None if cells is None or wanted is None else cells == wanted


def _code_cells(notebook: Path) -> list[str] | None:
    cells = _read(notebook).get("cells")
    if not isinstance(cells, list):
        return None
    return [_source(cell) for cell in cells if cell.get("cell_type") == "code"]


def _source(cell: dict[str, Any]) -> str:
    source = cell.get("source", "")
    return ("".join(source) if isinstance(source, list) else str(source)).strip()


def _read(notebook: Path) -> dict[str, Any]:
    """Return the notebook as JSON, without nbformat, which takes its time; {} if unreadable."""
    try:
        content = json.loads(notebook.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}

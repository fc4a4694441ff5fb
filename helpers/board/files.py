"""The files that the board leads to: only those that are there, below the workflows folder."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from helpers.errors import NotebookError
from helpers.workflow_paths import find_step_notebook, inside_workflows, relative_to_workflows


def notebook_to_open(step: Mapping[str, Any]) -> str | None:
    """Return the notebook of a step, as ``workflows/…``; None if there is not just one."""
    named = {key: step[key] for key in ("cycle_name", "stage_num", "step_num", "notebook_path")}
    try:
        return relative_to_workflows(find_step_notebook(**named))
    except NotebookError:
        return None


def copy_to_open(path: str | None) -> str | None:
    """Return the executed copy that the metastore names, as ``workflows/…``; None if it is gone."""
    if path is None:
        return None
    try:
        below = Path(*PurePosixPath(path).parts[1:])
        return relative_to_workflows(inside_workflows(below))
    except NotebookError:
        return None

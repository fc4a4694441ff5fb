"""Where a link to a file below the workflows folder leads, for each way of showing it.

Files are named as ``workflow_paths.relative_to_workflows`` names them: ``workflows/…``.
"""

import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TypeAlias
from urllib.parse import quote

from helpers.settings import get_settings

Target: TypeAlias = Callable[[str], str | None]
"""Return the address of a file; None: it cannot be reached from there."""


def file_of(path: str) -> Path:
    """Return the file that is meant."""
    return _workflows_dir().joinpath(*PurePosixPath(path).parts[1:])


def as_file(path: str) -> str:
    """Return the address for a page that lies anywhere on this machine."""
    return file_of(path).as_uri()


def from_this_notebook(path: str) -> str | None:
    """Return the address for a notebook that runs in this process, so that JupyterLab opens it.

    A notebook that does not lie below the workflows folder, such as the copy of a schedule, cannot
    lead there.
    """
    folder = Path.cwd()
    if not folder.resolve().is_relative_to(_workflows_dir()):
        return None
    return quote(Path(os.path.relpath(file_of(path), folder.resolve())).as_posix())


def _workflows_dir() -> Path:
    return get_settings().irp_workflows_dir.resolve()

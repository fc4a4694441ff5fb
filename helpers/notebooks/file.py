"""A notebook as a file: read it for a run, write its executed copy, tell its cells apart.

What a notebook holds is foreign, and so is what its cells wrote: nothing leaves here with a
configured secret in it. Imported only where a notebook is run: nbformat takes its time.
"""

import json
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.reader import NotJSONError
from nbformat.v4.rwbase import strip_transient

from helpers.errors import NotebookError
from helpers.redaction import printable, shown
from helpers.settings import get_settings
from helpers.text import shorten
from helpers.workflow_paths import numbered

SKIP_TAG = "skip-execution"
_LONGEST_STREAM = 200_000
_LONGEST_LABEL = 60
_LONGEST_REASON = 300
_FORMAT = 4
_GROUP_READS = 0o640


def read_notebook(path: Path) -> NotebookNode:
    """Return the notebook in today's format, without the outputs that this run will replace.

    What JupyterLab opens is read: it need not be valid by the schema.

    Raises:
        NotebookError: the file cannot be read, or holds no notebook.
    """
    try:
        read = nbformat.reader.reads(path.read_text(encoding="utf-8-sig"))
        notebook: NotebookNode = nbformat.convert(read, _FORMAT)
        _complete(notebook)
        for cell in cells_to_run(notebook):
            cell.outputs, cell.execution_count = [], None
    except OSError as exc:
        raise NotebookError(f"{path.name} cannot be read: {exc.strerror}.") from exc
    except (NotJSONError, UnicodeDecodeError) as exc:
        raise NotebookError(f"{path.name} is not a notebook: it does not hold JSON.") from exc
    except nbformat.ValidationError as exc:
        reason = shown(str(exc).splitlines()[0], _LONGEST_REASON)
        raise NotebookError(f"{path.name} is not a valid notebook: {reason}") from exc
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as exc:
        reason = shown(f"{type(exc).__name__}: {exc}", _LONGEST_REASON)
        raise NotebookError(f"{path.name} is not a notebook that can be run: {reason}") from exc
    return notebook


def _complete(notebook: NotebookNode) -> None:
    """Add what a cell must have, and give each an id of its own."""
    if not isinstance(notebook.cells, list):
        raise TypeError("its cells are not a list")
    notebook.metadata = table(notebook, "metadata")
    seen: set[Any] = {None} if notebook.nbformat_minor >= 5 else set()  # noqa: PLR2004 - ids came with 4.5
    for cell in notebook.cells:
        cell.metadata = table(cell, "metadata")
        if not isinstance(cell.source, str):
            raise TypeError("a cell whose source is not text")
        if cell.get("id") in seen:
            cell.id = uuid.uuid4().hex[:8]
        seen.add(cell.get("id"))


def table(node: NotebookNode, key: str) -> NotebookNode:
    """Return what stands under a key; an empty table if that is something else."""
    value = node.get(key)
    return value if isinstance(value, NotebookNode) else NotebookNode()


def cells_to_run(notebook: NotebookNode) -> list[NotebookNode]:
    """Return the cells that a run executes."""
    return [cell for cell in notebook.cells if is_to_run(cell)]


def is_to_run(cell: NotebookNode) -> bool:
    """Tell whether a run executes a cell, as nbclient does."""
    return cell.cell_type == "code" and bool(cell.source.strip()) and not _is_tagged(cell, SKIP_TAG)


def may_fail(cell: NotebookNode) -> bool:
    """Tell whether a run goes on after an error of this cell."""
    return _is_tagged(cell, "raises-exception")


def _is_tagged(cell: NotebookNode, tag: str) -> bool:
    return tag in (cell.metadata.get("tags") or [])


def label(cell: NotebookNode) -> str:
    """Return the first line of a cell, as people recognise it."""
    return shown(cell.source.strip().partition("\n")[0], _LONGEST_LABEL)


def stream(notebook: NotebookNode, name: str) -> str:
    """Return what all cells that were run wrote to ``stdout`` or ``stderr``, in their order.

    The notebook must be without secrets already: half of one would not be found.
    """
    texts = [
        output.text
        for cell in cells_to_run(notebook)
        for output in cell.outputs
        if output.output_type == "stream" and output.name == name
    ]
    text = shorten("".join(texts), 4 * _LONGEST_STREAM)  # cleaning copies it a few times
    return shorten(printable(text), _LONGEST_STREAM)


def write_copy(notebook: NotebookNode, path: Path) -> Path:
    """Write the notebook aside and rename it, so that nobody sees half of it; return its path.

    It is readable by the account and its group, unless MONITOR_COPIES_MODE says otherwise: outputs
    name portfolios and paths.

    *Races:* another process may have written a copy of this name; then this one is numbered.

    Raises:
        OSError: it could not be written; nothing is left.
    """
    aside = path.with_name(f".{uuid.uuid4().hex}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with aside.open("w", encoding="utf-8", errors="replace") as file:
            mode = get_settings().monitor_copies_mode
            with suppress(OSError):  # a file system without modes
                aside.chmod(aside.stat().st_mode & _GROUP_READS if mode is None else int(mode, 8))
            # Piece by piece: the text of a large notebook would take its memory once more.
            json.dump(strip_transient(notebook), file, ensure_ascii=False, indent=1, sort_keys=True)
            file.write("\n")
        return aside.replace(_claim_name(path))
    finally:
        aside.unlink(missing_ok=True)


def _claim_name(path: Path) -> Path:
    """Return the first of a path's numbered names that nobody has; it is an empty file then."""
    for free in numbered(path):
        with suppress(FileExistsError):
            free.open("x").close()
            return free
        if not free.is_file():
            break  # a folder: renaming says what is wrong
    return path

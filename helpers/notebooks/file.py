"""A notebook as a file: read it for a run, write its executed copy, tell its cells apart.

What a notebook holds is foreign, and so is what its cells wrote: nothing leaves here with a
configured secret in it. Imported only where a notebook is run: nbformat takes its time.
"""

from __future__ import annotations

import html
import uuid
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from nbformat import NotebookNode
from nbformat.reader import NotJSONError

from helpers.errors import NotebookError
from helpers.redaction import redact
from helpers.settings import get_settings
from helpers.text import clean, shorten

SKIP_TAG = "skip-execution"
_LONGEST_STREAM = 200_000
_LONGEST_MESSAGE = 4_000
_LONGEST_LABEL = 60
_FORMAT = 4


def read_notebook(path: Path) -> NotebookNode:
    """Return the notebook in today's format, without the outputs that this run will replace.

    Raises:
        NotebookError: the file cannot be read, or holds no notebook.
    """
    try:
        read = nbformat.reader.reads(path.read_text(encoding="utf-8-sig"))
        notebook: NotebookNode = nbformat.convert(read, _FORMAT)
        for cell in cells_to_run(notebook):
            cell.outputs, cell.execution_count = [], None
        _, notebook = nbformat.validator.normalize(_identified(notebook))
        nbformat.validate(notebook, relax_add_props=True)
    except OSError as exc:
        raise NotebookError(f"{path.name} cannot be read: {exc.strerror}.") from exc
    except (NotJSONError, UnicodeDecodeError) as exc:
        raise NotebookError(f"{path.name} is no notebook: it does not hold JSON.") from exc
    except nbformat.ValidationError as exc:
        reason = shown(str(exc).splitlines()[0], 300)
        raise NotebookError(f"{path.name} is no valid notebook: {reason}") from exc
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as exc:
        reason = shown(f"{type(exc).__name__}: {exc}", 300)
        raise NotebookError(f"{path.name} is no notebook that can be run: {reason}") from exc
    return notebook


def _identified(notebook: NotebookNode) -> NotebookNode:
    """Give every cell an id of its own; nbformat does it too, but warns of each."""
    seen: set[str] = set()
    for cell in notebook.cells:
        if cell.get("id") in seen or ("id" not in cell and notebook.nbformat_minor >= 5):  # noqa: PLR2004 - ids came with 4.5
            cell.id = uuid.uuid4().hex[:8]
        seen.add(cell.get("id"))
    return notebook


def cells_to_run(notebook: NotebookNode) -> list[NotebookNode]:
    """Return the cells that a run executes, as nbclient chooses them."""
    return [
        cell
        for cell in notebook.cells
        if cell.cell_type == "code"
        and cell.source.strip()
        and SKIP_TAG not in cell.metadata.get("tags", [])
    ]


def label(cell: NotebookNode) -> str:
    """Return the first line of a cell, as people recognise it."""
    return shown(cell.source.strip().partition("\n")[0], _LONGEST_LABEL)


def shown(text: str, limit: int = _LONGEST_MESSAGE) -> str:
    """Return foreign text fit for people: no terminal sequences, no secrets, not too long."""
    return shorten(redact(clean(text)).strip(), limit)


def tidy_outputs(notebook: NotebookNode) -> NotebookNode:
    """Return the notebook with each stream in one piece and without any secret.

    In one piece first: a kernel sends a stream as it comes, and may cut a secret in two.
    """
    coalesce = CoalesceStreamsPreprocessor()
    for index, cell in enumerate(notebook.cells):
        coalesce.preprocess_cell(cell, {}, index)
    tidy: NotebookNode = nbformat.from_dict(_without_secrets(notebook))
    return tidy


def _without_secrets(value: Any) -> Any:
    if isinstance(value, str):
        return _without_secrets_in(value)
    if isinstance(value, list):
        return [_without_secrets(item) for item in value]
    if isinstance(value, dict):
        return {_without_secrets_in(key): _without_secrets(item) for key, item in value.items()}
    return value


def _without_secrets_in(text: str) -> str:
    text = redact(text)
    for secret in get_settings().secrets():  # a table that a cell shows is HTML
        text = text.replace(html.escape(secret), "***")
    return text


def stream(notebook: NotebookNode, name: str) -> str:
    """Return what all cells that were run wrote to ``stdout`` or ``stderr``, in their order."""
    texts = [
        output.text
        for cell in cells_to_run(notebook)
        for output in cell.outputs
        if output.output_type == "stream" and output.name == name
    ]
    return shorten(redact(clean("".join(texts))), _LONGEST_STREAM)


def write_copy(notebook: NotebookNode, path: Path) -> None:
    """Write the notebook aside and rename it, so that nobody sees half of it.

    Raises:
        NotebookError: it could not be written; nothing is left behind.
    """
    aside = path.with_name(f".{uuid.uuid4().hex}.part")
    text = nbformat.v4.writes(notebook)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            aside.write_text(text, encoding="utf-8", errors="replace")
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as exc:
        raise NotebookError(
            f"The executed copy could not be written to {path.parent}: {exc.strerror}."
        ) from exc

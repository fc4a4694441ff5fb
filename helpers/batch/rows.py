"""Rows of a list: what an analyst wrote in a cell, a CSV or XLSX file, or a DataFrame.

Nothing is judged here; a row keeps the number by which its author finds it again.
"""

import csv
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from io import StringIO
from pathlib import Path
from typing import Any, TypeAlias

from helpers.errors import BatchError
from helpers.text import clean

Source: TypeAlias = "Iterable[Mapping[str, Any]] | Path | str | Any"
"""Dicts, the path of a ``.csv`` or ``.xlsx`` file, or a pandas DataFrame."""


@dataclass(frozen=True)
class NumberedRow:
    """A row by column, empty cells left out."""

    number: int  # from 1; in a file as the spreadsheet counts, its header included
    values: dict[str, Any]


def read_rows(source: Source) -> list[NumberedRow]:
    """Return the rows of a source, in order; rows without any value are left out.

    Raises:
        BatchError: the file cannot be read, or the source is none of those.
    """
    rows: Iterable[tuple[int, Any]]
    if isinstance(source, str | Path):
        rows = _file_rows(Path(source))
    elif hasattr(source, "to_dict"):
        rows = enumerate(source.to_dict("records"), 1)
    elif isinstance(source, Mapping) or not isinstance(source, Iterable):
        raise BatchError("Rows are a list of dicts, a CSV or XLSX file, or a DataFrame.")
    else:
        rows = enumerate(source, 1)
    numbered = [NumberedRow(number, _cells(number, row)) for number, row in rows]
    return [row for row in numbered if row.values]


def _cells(number: int, row: object) -> dict[str, Any]:
    if not isinstance(row, Mapping):
        raise BatchError(f"Row {number} is not a dict of columns: {type(row).__name__}.")
    return {_column(name): _plain(value) for name, value in row.items() if not _is_empty(value)}


def _column(name: object) -> str:
    """Return ``edm_name`` for ``EDM Name`` and the like."""
    return "_".join(clean(str(name)).strip().lower().replace("-", " ").split())


def _is_empty(value: Any) -> bool:
    is_nothing = isinstance(value, float) and math.isnan(value)
    return value is None or is_nothing or (isinstance(value, str) and not value.strip())


def _plain(value: Any) -> Any:
    """Return a cell as JSON holds it: 7 for the 7.0 of a spreadsheet, a date as text."""
    if isinstance(value, datetime | date):
        return f"{value:%Y-%m-%d}"
    if isinstance(value, float) and value.is_integer():
        return int(value)
    item = getattr(value, "item", None)  # numpy's numbers
    if item is not None and not isinstance(value, str | list | dict):
        return _plain(item())
    return value.strip() if isinstance(value, str) else value


def _file_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Give the rows below the header of a file; files that they name lie relative to it."""
    match path.suffix.lower():
        case ".csv":
            table = _csv_table(path)
        case ".xlsx":
            table = _xlsx_table(path)
        case _:
            raise BatchError(f"{path.name} is neither a .csv nor an .xlsx file.")
    if not table:
        raise BatchError(f"{path.name} is empty: its first row names the columns.")
    names = [_column(name) if name is not None else "" for name in table[0]]
    twice = {name for name in names if name and names.count(name) > 1}
    if twice:
        raise BatchError(f"{path.name} has the column {min(twice)!r} twice.")
    for number, cells in enumerate(table[1:], 2):
        if not all(map(_is_empty, cells[len(names) :])):
            raise BatchError(f"Row {number} of {path.name} has more cells than there are columns.")
        named = [(n, c) for n, c in zip(names, cells, strict=False) if not _is_empty(c)]
        paths = {n: str(path.parent.absolute() / str(c)) for n, c in named if n.endswith("_path")}
        yield number, dict(named) | paths


def _csv_table(path: Path) -> list[list[Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as exc:
        raise BatchError(f"{path} cannot be read: {exc.strerror}.") from exc
    except UnicodeDecodeError as exc:
        line = exc.object.count(b"\n", 0, exc.start) + 1
        raise BatchError(
            f"{path.name} is not UTF-8 (line {line}). In Excel, save it as CSV UTF-8, or as .xlsx."
        ) from exc
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    try:
        return list(csv.reader(StringIO(text), delimiter=delimiter))
    except csv.Error as exc:
        raise BatchError(f"{path.name} cannot be read as CSV: {exc}.") from exc


def _xlsx_table(path: Path) -> list[list[Any]]:
    try:
        from openpyxl import load_workbook  # type: ignore[import-untyped]  # noqa: PLC0415 - an extra
    except ImportError:
        raise BatchError(
            "Reading .xlsx files needs openpyxl: pip install 'batch-monitoring[xlsx]'."
        ) from None
    try:
        book = load_workbook(path, read_only=True, data_only=True)
        table = [list(row) for row in book.worksheets[0].iter_rows(values_only=True)]
        book.close()
    except Exception as exc:
        raise BatchError(f"{path} cannot be read as a workbook: {exc}") from exc
    return table

"""Make the arguments of a call from a row: what an analyst or a spreadsheet wrote. Pure.

The columns of a row are the parameters of the call that builds its request. Everything that is
wrong with a row is said at once, by column.
"""

import inspect
import json
import math
import types
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from difflib import get_close_matches
from typing import Any, Union, get_args, get_origin, get_type_hints

from helpers.errors import BuildError

_YES = frozenset({"true", "yes", "y", "1"})
_NO = frozenset({"false", "no", "n", "0"})
_MARKS = {"tag_names": "'"}
"""What would end the text of a search for a name; elsewhere it is the double quote."""


@dataclass(frozen=True)
class Column:
    """A column of the rows of a batch type."""

    name: str
    kind: type  # str, int, float, bool, list, dict or set
    of_texts: bool  # a list or set whose items are texts
    required: bool

    @property
    def is_name(self) -> bool:
        """Whether a look-up searches for its value."""
        return self.name.endswith(("_name", "_names"))


def columns_of(call: Callable[..., Any], *, without: Collection[str] = ()) -> tuple[Column, ...]:
    """Return the columns that a call takes, in its order; those that must be there are required."""
    hints = get_type_hints(call)
    return tuple(
        _column(name, hints[name], required=parameter.default is inspect.Parameter.empty)
        for name, parameter in inspect.signature(call).parameters.items()
        if name in hints and name not in without
    )


def _column(name: str, hint: Any, *, required: bool) -> Column:
    if get_origin(hint) in {Union, types.UnionType}:
        hint = next(arg for arg in get_args(hint) if arg is not type(None))
    of_texts = get_args(hint) in {(), (str,)}
    return Column(name, get_origin(hint) or hint, of_texts, required)


def arguments(columns: Collection[Column], row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that a row gives.

    Raises:
        BuildError: with a line for each column that is unknown, missing or of the wrong kind.
    """
    known = {column.name: column for column in columns}
    problems = [_unknown(name, known) for name in row if name not in known]
    given: dict[str, Any] = {}
    for column in columns:
        value = row.get(column.name)
        if _is_empty(value):
            problems += [_missing(column)] if column.required else []
            continue
        try:
            given[column.name] = _converted(column, value)
        except (TypeError, ValueError) as exc:
            problems.append(f"{column.name}: {value!r} {exc}.")
    if problems:
        raise BuildError(problems)
    return given


def header_problems(columns: Collection[Column], names: Collection[str]) -> list[str]:
    """Return what ``arguments`` finds wrong with every row under a header of these names."""
    known = {column.name: column for column in columns}
    unknown = [_unknown(name, known) for name in names if name not in known]
    return unknown + [_missing(c) for c in columns if c.required and c.name not in names]


def fit(columns: Collection[Column], row: Mapping[str, Any]) -> bool:
    """Tell whether a row gives the arguments of a call."""
    try:
        arguments(columns, row)
    except BuildError:
        return False
    return True


def _unknown(name: str, known: Collection[str]) -> str:
    nearest = get_close_matches(str(name).lower(), known, n=1)
    return f"{name!r} is not a column{f'; did you mean {nearest[0]!r}?' if nearest else '.'}"


def _missing(column: Column) -> str:
    return f"{column.name} is missing."


def _is_empty(value: Any) -> bool:
    """Tell whether a cell is empty, as spreadsheets and pandas write it."""
    is_nothing = isinstance(value, float | datetime) and value != value  # noqa: PLR0124 - NaN, NaT
    return value is None or is_nothing or (isinstance(value, str) and not value.strip())


def _converted(column: Column, value: Any) -> Any:
    if type(value).__module__ == "numpy" and hasattr(value, "item"):
        value = value.item()
    if column.kind is bool:
        return _truth(value)
    if column.kind is int:
        return _whole(value)
    if column.kind is float:
        return _number(value)
    if column.kind is dict:
        given = _json(value, dict)
        return {k: _text(column, v) for k, v in given.items()} if column.is_name else given
    if column.kind in {list, set}:
        items = [_text(column, item) for item in _items(value)] if column.of_texts else None
        return _json(value, list) if items is None else column.kind(items)
    return _text(column, value)


def _text(column: Column, value: Any) -> str:
    if isinstance(value, datetime | date):
        return f"{value:%Y-%m-%d}"
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # spreadsheets know no whole numbers
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise TypeError("is not a text")
    text = str(value).strip()
    mark = _MARKS.get(column.name, '"')
    if column.is_name and mark in text:
        raise ValueError(f"holds {mark}, which Moody's cannot search for")
    return text


def _items(value: Any) -> list[Any]:
    """Return the items of a list, however it is written: ``["a", "b"]``, ``a; b`` or ``a, b``."""
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    if not isinstance(value, str):
        return [value]
    if value.lstrip().startswith("["):
        return list(_json(value, list))
    parts = value.split(";" if ";" in value else ",")
    return [part.strip() for part in parts if part.strip()]


def _truth(value: Any) -> bool:
    text = str(value).strip().lower().removesuffix(".0")
    if text not in _YES | _NO:
        raise ValueError("is neither true nor false")
    return text in _YES


def _whole(value: Any) -> int:
    number = _number(value)
    if not number.is_integer():
        raise ValueError("is not a whole number")
    return int(value) if isinstance(value, int) else int(number)


def _number(value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError("is not a number")
    return number


def _json(value: Any, kind: type) -> Any:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if not isinstance(value, kind):
        raise TypeError(f"is not a JSON {'object' if kind is dict else 'list'}")
    return value

"""Render the blocks of a report, each once as HTML and once as text.

Every text passes through ``printable``, whoever wrote it: cleaned of what steers terminals, and
without secrets. The template engine escapes it for HTML.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, ClassVar, assert_never

from helpers.display.blocks import (
    Block,
    Cell,
    Fold,
    Headline,
    Note,
    Remarks,
    Row,
    Table,
    Tiles,
    Timeline,
    Value,
)
from helpers.display.links import Target, as_file, file_name, from_this_notebook
from helpers.display.severity import Severity
from helpers.display.timelines import TimelineDrawing, as_table
from helpers.redaction import printable
from helpers.text import counted

if TYPE_CHECKING:
    from jinja2 import Environment

_LABEL_WIDTH = 20


class Report(ABC):
    """Something that displays itself: subclasses hold the facts and say them in blocks."""

    most_lines: ClassVar[int] = 100  # rows that a table shows; the rest is counted

    @abstractmethod
    def blocks(self) -> Iterator[Block]:
        """Give what is shown, from the top."""

    def _repr_html_(self) -> str:
        style = _environment().get_template("report.css").render()
        return f"<style>\n{style}</style>\n{fragment(self, target=from_this_notebook)}"

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        lines = (line for block in self.blocks() for line in _text(block, self.most_lines))
        text = "\n".join(line.rstrip() for line in lines).strip("\n")
        return text.replace("\n\n\n", "\n\n")  # between two blocks with titles


def page(title: str, reports: Sequence[Report]) -> str:
    """Return reports as one page of HTML that needs nothing else, light or dark as the reader's."""
    parts = [fragment(report, target=as_file) for report in reports]
    return _environment().get_template("page.html").render(title=title, parts=parts)


def fragment(report: Report, *, target: Target, tab: str | None = None) -> str:
    """Return a report as a part of a page, without its style.

    Args:
        report: what is shown.
        target: where a link to a file below the workflows folder leads; None: nowhere.
        tab: of a page with a script: where its links open, with buttons that copy code.
    """
    return (
        _environment()
        .get_template("report.html")
        .render(blocks=list(report.blocks()), most=report.most_lines, target=target, tab=tab)
    )


@cache
def _environment() -> Environment:
    # Imported for HTML only: a pass as a command prints text.
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415

    environment = Environment(
        loader=PackageLoader("helpers.display"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    environment.filters |= {
        "as_cell": _as_cell,
        "drawn": TimelineDrawing,
        "file_name": file_name,
        "left_out": left_out,
    }
    environment.tests["number"] = lambda value: type(value) is int
    return environment


def _as_cell(value: Value) -> Cell:
    return value if isinstance(value, Cell) else Cell(_figure(value))


def _figure(value: str | int) -> str:
    return f"{value:,}" if isinstance(value, int) else value


def left_out(block: Table | Remarks, most: int) -> str:
    """Return ``… and 3 more jobs``; empty if every row is shown."""
    more = (block.total or len(block.rows)) - min(len(block.rows), most)
    plural = block.plural and f"more {block.plural}"
    return f"… and {counted(more, f'more {block.noun}', plural)}" if more > 0 else ""


def _text(block: Block, most: int) -> Iterator[str]:
    """Give the lines of a block."""
    match block:
        case Headline():
            yield printable(block.text)
        case Note():
            yield _note(block, "  ")
        case Tiles():
            yield ""
            for tile in block.tiles:
                more = f" ({tile.more})" if tile.more else ""
                yield printable(f"  {tile.label:{_LABEL_WIDTH}} {_figure(tile.value)}{more}")
        case Timeline():
            yield from _rows(as_table(block), most)
        case Table() | Remarks():
            yield from _rows(block, most)
        case _:
            assert_never(block)


def _rows(block: Table | Remarks, most: int) -> Iterator[str]:
    """Give the title, the rows, and how many more there are; nothing for no rows."""
    if not block.rows:
        return
    sign = _sign(block.severity) if isinstance(block, Table) else ""
    yield from ["", f"{sign}{printable(block.title)}"] if block.title else []
    if isinstance(block, Table) and block.fold is Fold.CLOSED:
        return
    yield from _lines(block, most)
    if rest := left_out(block, most):
        yield f"  {rest}"
    yield from [""] if block.title else []


def _lines(block: Table | Remarks, most: int) -> Iterator[str]:
    if isinstance(block, Table):
        yield from _table(block.columns, block.rows[:most])
        return
    for remark in block.rows[:most]:
        parts = [remark.text, remark.code and f"Mend it: {remark.code}", remark.link or ""]
        text = printable(" ".join(filter(None, parts)))
        yield f"  {_sign(remark.severity)}{printable(remark.about)}: {text}"


def _note(note: Note, indent: str) -> str:
    return f"{indent}{_sign(note.severity)}{printable(note.text)}"


def _sign(severity: Severity | None) -> str:
    return f"{severity.sign} " if severity else ""


def _table(columns: Sequence[str], rows: Sequence[Row]) -> Iterator[str]:
    """Give aligned lines, numbers to the right, and the notes of each row below it."""
    lines = [list(columns), *([_line_cell(cell) for cell in row.cells] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    are_numbers = [type(cell) is int for cell in rows[0].cells]
    for line, notes in zip(lines, [(), *(row.notes for row in rows)], strict=True):
        padded = [
            text.rjust(width) if is_number else text.ljust(width)
            for text, width, is_number in zip(line, widths, are_numbers, strict=True)
        ]
        yield f"  {'  '.join(padded)}"
        yield from (_note(note, "      ") for note in notes)


def _line_cell(cell: Value) -> str:
    shown = _as_cell(cell)
    return f"{_sign(shown.severity)}{printable(shown.text)}".replace("\n", " ")

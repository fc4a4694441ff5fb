"""Render the blocks of a report, each once as HTML and once as text.

Every text passes through ``printable``, whoever wrote it: cleaned of what steers terminals, and
without secrets. The template engine escapes it for HTML.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, ClassVar, TypeAlias, assert_never, get_args
from urllib.parse import quote

from helpers.display.blocks import (
    AsOf,
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
from helpers.display.severity import Severity
from helpers.display.timelines import TimelineDrawing, as_table
from helpers.redaction import printable
from helpers.settings import get_settings
from helpers.text import counted

if TYPE_CHECKING:
    from jinja2 import Environment

_LABEL_WIDTH = 20
_MEND = "Mend it, in the notebook Manage Batches:"

Target: TypeAlias = Callable[[str], str | None]
"""Return the address of a file; None: it cannot be reached from there."""


class Report(ABC):
    """Something that displays itself: subclasses hold the facts and say them in blocks."""

    most_lines: ClassVar[int] = 100  # rows that a table shows; the rest is counted

    @abstractmethod
    def blocks(self) -> Iterator[Block]:
        """Give what is shown, from the top."""

    def _repr_html_(self) -> str:
        style = _environment().get_template("report.css").render()
        shown = _html(self.blocks(), self.most_lines, target=_from_this_notebook)
        return f"<style>\n{style}</style>\n{shown}"

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return _as_text(self.blocks(), self.most_lines)


def page(title: str, reports: Sequence[Report]) -> str:
    """Return reports as one page of HTML that needs nothing else, light or dark as the reader's."""
    named = {str(number): report for number, report in enumerate(reports)}
    parts = parts_of(named, target=lambda path: file_of(path).as_uri()).values()
    return _environment().get_template("page.html").render(title=title, parts=parts, nonce=None)


def parts_of(
    reports: Mapping[str, Report], *, target: Target, tab: str | None = None
) -> dict[str, str]:
    """Return reports as parts of a page, by name and without their style.

    The last part, ``time``, says when they were made.

    Args:
        reports: what is shown, from the top.
        target: where a link to a file below the workflows folder leads; None: nowhere.
        tab: of a page with a script: where its links open, with buttons that copy code.
    """
    parts = {
        name: _html(_without_time(report), report.most_lines, target=target, tab=tab)
        for name, report in reports.items()
    }
    return {**parts, "time": _html(_time(reports.values()), 0, target=target)}


def text_page(reports: Sequence[Report]) -> str:
    """Return reports as one text."""
    texts = [_as_text(_without_time(report), report.most_lines) for report in reports]
    return "\n\n".join([*texts, _as_text(_time(reports), 0)])


def _without_time(report: Report) -> Iterator[Block]:
    return (block for block in report.blocks() if not isinstance(block, AsOf))


def _time(reports: Iterable[Report]) -> list[AsOf]:
    """Return when the last of these reports was made."""
    times = [block for one in reports for block in one.blocks() if isinstance(block, AsOf)]
    return times[-1:]


def _html(blocks: Iterable[Block], most: int, *, target: Target, tab: str | None = None) -> str:
    template = _environment().get_template("report.html")
    return template.render(blocks=list(blocks), most=most, target=target, tab=tab)


def _as_text(blocks: Iterable[Block], most: int) -> str:
    lines = (line for block in blocks for line in _text(block, most))
    text = "\n".join(line.rstrip() for line in lines).strip("\n")
    return text.replace("\n\n\n", "\n\n")  # between two blocks with titles


def live_page(parts: Mapping[str, str], names: Sequence[str], **facts: str | None) -> str:
    """Return a page whose parts a script replaces as events arrive.

    Args:
        parts: as ``parts_of`` gives them; empty before anything was read.
        names: those below the head, from the top; the time is in its head.
        facts: ``problem``, why it may be out of date; ``events``, their address; ``nonce``, which
            its script and its style have, and nothing that it shows; ``version``.
    """
    template = _environment().get_template("live.html")
    shown = {name: parts.get(name, "") for name in names}
    time = parts.get("time", "")
    return template.render(title="Batch monitoring", time=time, parts=shown, **facts)


def file_of(path: str) -> Path:
    """Return the file that is meant: they are named as ``workflow_paths`` does, ``workflows/…``."""
    return _workflows_dir().joinpath(*PurePosixPath(path).parts[1:])


def _from_this_notebook(path: str) -> str | None:
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


@cache
def _environment() -> "Environment":
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
        "file_name": lambda path: PurePosixPath(path).name,
        "left_out": left_out,
    }
    environment.tests["number"] = lambda value: type(value) is int
    environment.tests |= {
        kind.__name__.lower(): lambda value, kind=kind: isinstance(value, kind)
        for kind in get_args(Block)
    }
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
        text = printable(f"{remark.text} {_MEND} {remark.code}" if remark.code else remark.text)
        yield f"  {_sign(remark.severity)}{printable(remark.about)}: {text}"


def _note(note: Note, indent: str) -> str:
    text = f"{note.text} {note.link}" if note.link else note.text
    return f"{indent}{_sign(note.severity)}{printable(text)}"


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

"""What a kernel sends, put into cells: whole, or marked, and never more than the bound."""

from typing import Any

import nbformat
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_notebook

from helpers.notebooks import outputs
from helpers.notebooks.file import write_copy
from helpers.notebooks.outputs import CellOutputs
from helpers.redaction import redact
from helpers.text import map_texts

KINDS = ["stream", "display_data", "execute_result", "update_display_data", "error", "status"]
KINDS += ["clear_output", "comm_open", "comm_msg", "comm_close", "execute_input", "unheard_of", ""]
KEYS = ["name", "text", "data", "metadata", "transient", "execution_count", "ename", "evalue"]
KEYS += ["traceback", "execution_state", "wait", "comm_id", "state", "buffer_paths", "target_name"]
ANYTHING: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("jupyter.widget"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner),
)


class Cells:
    """Two cells that are run, and what was sent to them."""

    def __init__(self) -> None:
        self.notebook = new_notebook(cells=[new_code_cell("1"), new_code_cell("2")])
        self.outputs = CellOutputs(self.notebook)
        for index, cell in enumerate(self.notebook.cells):
            self.outputs.expect(f"request {index}", cell, index)

    def send(self, kind: str, content: Any, *, to: int = 0, size: int | None = None) -> None:
        self.outputs.take(
            {
                "msg_type": kind,
                "header": {"msg_type": kind},
                "parent_header": {"msg_id": f"request {to}"},
                "metadata": {},
                "content": content,
                "buffers": [],
                "size": len(str(content)) if size is None else size,
            }
        )

    def print(self, text: str, *, to: int = 0, name: str = "stdout") -> None:
        self.send("stream", {"name": name, "text": text}, to=to)

    def display(self, text: str, *, kind: str = "display_data", display_id: str = "") -> None:
        content = {"data": {"text/plain": text}, "metadata": {}}
        self.send(kind, content | {"transient": {"display_id": display_id} if display_id else {}})

    def shown(self, index: int = 0) -> list[str]:
        self.outputs.finish()
        nbformat.validate(self.notebook)
        return [o.get("text") or o.data["text/plain"] for o in self.notebook.cells[index].outputs]


@pytest.fixture
def cells(monkeypatch) -> Cells:
    """Cells whose outputs may take 10,000 bytes."""
    monkeypatch.setattr(outputs, "MOST_BYTES", 10_000)
    monkeypatch.setattr(outputs, "_OUTPUT_BYTES", 10)
    monkeypatch.setattr(outputs, "_WEIGH_BYTES", 1_000)
    return Cells()


@given(messages=st.lists(st.tuples(st.sampled_from(KINDS), ANYTHING), max_size=6))
@example([("execute_input", {"execution_count": -1})])
@example([("execute_result", {"execution_count": -1, "data": {}, "metadata": {}})])
def test_whatever_a_kernel_sends_leaves_a_notebook_that_is_valid(messages):
    cells = Cells()
    for kind, content in messages:
        cells.send(kind, content)
    cells.outputs.finish()
    nbformat.validate(cells.notebook)


def test_the_pieces_of_a_stream_become_one_output_until_something_else_is_shown(cells):
    for text in ("a", "b\n"):
        cells.print(text)
    cells.display("a table")
    cells.print("c\n")
    cells.print("d\n", name="stderr")
    cells.print("e\n", to=1)
    assert cells.shown() == ["ab\n", "a table", "c\n", "d\n"]
    assert cells.shown(1) == ["e\n"]


def test_of_a_progress_line_its_last_state_is_kept(cells):
    for text in ("1%\r", "50%\r", "100%\n", "done\r\n"):
        cells.print(text)
    assert cells.shown() == ["100%\ndone\r\n"]


def test_what_is_cleared_is_gone_and_a_new_stream_begins(cells):
    cells.print("a")
    cells.send("clear_output", {"wait": True})
    cells.print("b")
    cells.print("c")
    assert cells.shown() == ["bc"]


def test_all_outputs_share_one_bound_and_what_is_cut_is_marked_once_in_each_cell(cells):
    for _ in range(10):
        cells.print("x" * 4_000)
        cells.display("y" * 4_000)
        cells.print("z" * 4_000, to=1, name="stderr")
    first, second = cells.shown(), cells.shown(1)
    assert sum(len(text) for text in first + second) < 10_500
    assert [text.startswith("\n[What this cell showed from here on") for text in first].count(
        True
    ) == 1
    assert second[-1].startswith("\n[What this cell showed from here on was not kept")


def test_a_later_cell_still_shows_what_there_is_room_for(cells):
    cells.print("x" * 20_000)
    cells.print("y", to=1)
    assert cells.shown(1) == ["y"]


def test_an_error_is_kept_shortened_when_there_is_no_room(cells):
    cells.print("x" * 20_000)
    for _ in range(3):
        cells.send("error", {"ename": "E", "evalue": "v", "traceback": ["t" * 50_000]})
    errors = [o for o in cells.notebook.cells[0].outputs if o.output_type == "error"]
    assert [(error.ename, len(error.traceback[0])) for error in errors] == [("E", 20_000)]


@pytest.mark.parametrize("replace", ["clear", "update", "overwrite"])
def test_what_was_replaced_takes_no_room(cells, replace):
    cells.display("first", display_id="d")
    for _ in range(100):
        match replace:
            case "clear":
                cells.send("clear_output", {"wait": False})
                cells.display("x" * 2_000)
            case "update":
                cells.display("x" * 2_000, kind="update_display_data", display_id="d")
            case "overwrite":
                cells.print("x" * 2_000 + "\r")
    cells.print("last")
    assert cells.shown()[-1] == "last"
    assert not any("not kept" in text for text in cells.shown())


@pytest.mark.parametrize(("levels", "is_kept"), [(90, True), (400, False), (480, False)])
def test_what_is_nested_too_deep_to_be_written_is_marked(cells, tmp_path, levels, is_kept):
    nested: dict[str, Any] = {}
    for _ in range(levels):
        nested = {"a": nested}
    cells.send("display_data", {"data": {"application/json": nested}, "metadata": {}})
    cells.outputs.finish()
    write_copy(map_texts(cells.notebook, redact), tmp_path / "a.ipynb")
    (output,) = cells.notebook.cells[0].outputs
    assert ("data" in output) == is_kept


def test_the_end_of_a_request_is_reported():
    cells = Cells()
    is_done = cells.outputs.expect("request 2", new_code_cell(), -1)
    cells.send("status", {"execution_state": "busy"}, to=2)
    assert not is_done.is_set()
    cells.send("status", {"execution_state": "idle"}, to=2)
    assert is_done.is_set()

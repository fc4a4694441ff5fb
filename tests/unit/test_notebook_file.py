"""Notebooks as files: what is read, shown and written."""

import os
import stat

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from helpers.notebooks.file import (
    cells_to_run,
    label,
    read_notebook,
    stream,
    write_copy,
)
from helpers.redaction import redact
from helpers.settings import get_settings
from helpers.text import map_texts


def test_cells_to_run_are_the_code_cells_with_code_that_are_not_skipped():
    skipped = new_code_cell("1", metadata={"tags": ["skip-execution"]})
    cells = [new_markdown_cell("# 1"), new_code_cell(" \n"), skipped, new_code_cell("2")]
    assert cells_to_run(new_notebook(cells=cells)) == cells[-1:]


def test_reading_drops_the_outputs_that_a_run_replaces_and_keeps_the_others(tmp_path):
    old = [new_output("stream", text="old")]
    skipped = new_code_cell("1", outputs=old, metadata={"tags": ["skip-execution"]})
    notebook = new_notebook(cells=[skipped, new_code_cell("2", outputs=old, execution_count=9)])
    path = tmp_path / "a.ipynb"
    path.write_text(nbformat.v4.writes(notebook))

    first, second = read_notebook(path).cells

    assert (first.outputs, second.outputs, second.execution_count) == (old, [], None)


def test_reading_gives_cells_of_the_same_id_different_ones(tmp_path):
    path = tmp_path / "a.ipynb"
    text = nbformat.v4.writes(new_notebook(cells=[new_code_cell("1", id="a"), new_code_cell("2")]))
    path.write_text(text.replace(nbformat.reads(text, as_version=4).cells[1].id, "a"))
    assert len({cell.id for cell in read_notebook(path).cells}) == 2


def test_reading_an_old_format_gives_todays(tmp_path):
    path = tmp_path / "a.ipynb"
    old = nbformat.v3.new_notebook(
        worksheets=[nbformat.v3.new_worksheet(cells=[nbformat.v3.new_code_cell("1")])]
    )
    path.write_text(nbformat.v3.writes_json(old))
    notebook = read_notebook(path)
    assert (notebook.nbformat, cells_to_run(notebook)[0].source) == (4, "1")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("\n\n# Load\nx = 1", "# Load"),
        ("x = '" + "y" * 200 + "'", "x = 'yy"),
        ("\x1b[31mred", "red"),
    ],
)
def test_a_label_is_the_first_line_that_says_something(source, expected):
    shown_label = label(new_code_cell(source))
    assert shown_label.startswith(expected)
    assert len(shown_label) <= 60


def test_streams_come_in_the_order_of_the_cells_and_without_those_not_run():
    skipped = new_code_cell(
        "1", outputs=[new_output("stream", text="old")], metadata={"tags": ["skip-execution"]}
    )
    cells = [skipped] + [
        new_code_cell("2", outputs=[new_output("stream", name=name, text=f"{n}{name[3]}\n")])
        for n, name in enumerate(["stdout", "stderr", "stdout"])
    ]
    notebook = new_notebook(cells=cells)
    assert (stream(notebook, "stdout"), stream(notebook, "stderr")) == ("0o\n2o\n", "1e\n")


def test_a_notebook_without_secrets_is_equal_but_for_them(monkeypatch):
    monkeypatch.setenv("RISK_MODELER_API_KEY", "s3cret&token")
    get_settings.cache_clear()
    data = {
        "text/html": "<b>s3cret&amp;token</b>",
        "application/json": {"s3cret&token": [1, None, "s3cret&token"]},
    }
    outputs = [new_output("display_data", data=data)]
    notebook = map_texts(new_notebook(cells=[new_code_cell("1", outputs=outputs)]), redact)
    assert notebook.cells[0].outputs[0].data == {
        "text/html": "<b>***</b>",
        "application/json": {"***": [1, None, "***"]},
    }


def test_a_copy_holds_any_text_and_leaves_nothing_else_in_its_folder(tmp_path):
    outputs = [new_output("stream", text="\ud800 \x00 é </script>")]
    path = tmp_path / "new" / "runs" / "a.ipynb"
    write_copy(new_notebook(cells=[new_code_cell("1", outputs=outputs)]), path)
    text = nbformat.read(path, as_version=4).cells[0].outputs[0].text
    assert text == "? \x00 é </script>"
    assert list(path.parent.iterdir()) == [path]


def test_a_copy_whose_name_another_process_has_taken_is_numbered(tmp_path):
    path = tmp_path / "a 26 Nov 16.51.ipynb"
    path.write_text("theirs")
    written = [write_copy(new_notebook(), path) for _ in range(2)]
    assert [one.name for one in written] == ["a 26 Nov 16.51 (2).ipynb", "a 26 Nov 16.51 (3).ipynb"]
    assert path.read_text() == "theirs"
    assert len(list(tmp_path.iterdir())) == 3


def test_a_copy_that_cannot_be_put_in_location_leaves_nothing_behind(tmp_path):
    path = tmp_path / "a.ipynb"
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        write_copy(new_notebook(), path)
    assert list(tmp_path.iterdir()) == [path]
    assert list(path.iterdir()) == []


@pytest.mark.parametrize(
    ("mode", "umask", "expected"),
    [("", 0o022, 0o640), ("", 0o002, 0o640), ("", 0o077, 0o600), ("664", 0o077, 0o664)],
    ids=["usual", "a group that writes", "strict", "a team that shares"],
)
def test_a_copy_is_readable_by_the_account_and_its_group_unless_a_setting_says_otherwise(
    tmp_path, monkeypatch, mode, umask, expected
):
    monkeypatch.setenv("MONITOR_COPIES_MODE", mode)
    get_settings.cache_clear()
    before = os.umask(umask)
    try:
        write_copy(new_notebook(), tmp_path / "a.ipynb")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.ipynb").stat().st_mode) == expected

"""Scheduled copies are compared by what they run."""

import json
from pathlib import Path

import pytest

from helpers.schedule.scheduled_copy import STAGING_DIR, is_current, is_monitor, own_run_id
from helpers.workflow_paths import MONITOR_NOTEBOOK
from tests.support.notebooks import write_notebook


@pytest.fixture
def notebook(workflows: Path) -> Path:
    return write_notebook(workflows / MONITOR_NOTEBOOK, "from helpers.monitor import Monitor", "1")


def copied(notebook: Path, target: Path, **changes: object) -> Path:
    content = json.loads(notebook.read_text()) | changes
    target.write_text(json.dumps(content))
    return target


def test_a_copy_with_other_metadata_outputs_and_layout_is_current(notebook, tmp_path):
    content = json.loads(notebook.read_text())
    for cell in content["cells"]:
        cell["source"] = [part + "\n" for part in "".join(cell["source"]).splitlines()]
        cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x"}]
    markdown = {"cell_type": "markdown", "metadata": {}, "source": "Explained anew"}
    copy = copied(
        notebook, tmp_path / "copy.ipynb", cells=[markdown, *content["cells"]], metadata={"a": 1}
    )
    assert is_current(copy) is True


def test_a_copy_that_runs_something_else_is_not_current(notebook, tmp_path):
    cells = json.loads(notebook.read_text())["cells"]
    assert is_current(copied(notebook, tmp_path / "copy.ipynb", cells=cells[:1])) is False


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"cells": 3}', "\x00"])
def test_what_is_no_notebook_is_neither_current_nor_old(notebook, tmp_path, content):
    copy = tmp_path / "copy.ipynb"
    copy.write_text(content)
    assert is_current(copy) is None
    assert is_monitor(copy) is None
    assert is_current(tmp_path / "none.ipynb") is None


def test_a_namesake_is_no_monitor(notebook, tmp_path):
    assert is_monitor(notebook) is True
    assert is_monitor(write_notebook(tmp_path / MONITOR_NOTEBOOK.name, "print(1)")) is False


@pytest.mark.parametrize(
    ("folder", "run_id"),
    [
        ((STAGING_DIR, "a-run"), "a-run"),
        ((STAGING_DIR, "a-run", "data"), None),  # a notebook that goes elsewhere
        (("workflows",), None),  # by hand, or cron
    ],
)
def test_a_scheduled_run_knows_itself_by_its_folder(tmp_path, monkeypatch, folder, run_id):
    tmp_path.joinpath(*folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path.joinpath(*folder))
    assert own_run_id() == run_id

"""A stage notebook finds out which step it is, from whoever runs it."""

import sys

import pytest

from helpers.errors import NotebookError
from helpers.stage.location import current_step
from helpers.steps.execution import NOTEBOOK_PATH_VARIABLE
from helpers.workflow_paths import StepReference
from tests.support.notebooks import step_notebook

CYCLE = "Q1 [2025] O'Brien"
HERE = StepReference(CYCLE, 3, 4)


@pytest.fixture
def notebook(workflows, monkeypatch):
    """The notebook of step 3.4, beside one of another step; its folder is the kernel's."""
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    path = step_notebook(workflows, cycle=CYCLE, stage_num=3, step_num=4)
    step_notebook(workflows, cycle=CYCLE, stage_num=3, step_num=5)
    monkeypatch.chdir(path.parent)
    return path


def test_by_the_executor(notebook, monkeypatch):
    monkeypatch.setenv(NOTEBOOK_PATH_VARIABLE, str(notebook))
    monkeypatch.setenv("JPY_SESSION_NAME", "/somewhere/Monitor Active Jobs.ipynb")
    assert current_step() == HERE


@pytest.mark.parametrize("rooted", ["absolute", "at the server's root", "elsewhere"])
def test_by_the_session_that_jupyterlab_names_after_the_notebook(
    notebook, workflows, monkeypatch, rooted
):
    root = workflows.parent if rooted == "at the server's root" else notebook.parents[1]
    name = str(notebook if rooted == "absolute" else notebook.relative_to(root))
    monkeypatch.setenv("JPY_SESSION_NAME", name)
    assert current_step() == HERE


def test_by_visual_studio_code(notebook, monkeypatch):
    monkeypatch.setattr(sys.modules["__main__"], "__vsc_ipynb_file__", str(notebook), raising=False)
    assert current_step() == HERE


def test_by_its_folder_where_only_one_steps_notebook_lies_there(notebook):
    notebook.with_name("Step_05_Work.ipynb").unlink()
    assert current_step() == HERE


def test_where_two_steps_share_the_folder_it_says_how_to_tell(notebook):
    how = "set IRP_NOTEBOOK_PATH to the notebook's path, or name it: open_step"
    with pytest.raises(NotebookError, match=rf"Jupyter did not say.* nbconvert.*{how}"):
        current_step()


def test_a_session_that_is_no_step_and_a_folder_outside_tell_nothing(
    notebook, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Step_01_Alone.ipynb").touch()
    monkeypatch.setenv("JPY_SESSION_NAME", "Untitled.ipynb")
    with pytest.raises(NotebookError, match="cannot tell which step it is"):
        current_step()

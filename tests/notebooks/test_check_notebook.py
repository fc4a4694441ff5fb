"""System Check, executed in a fresh kernel as a new team runs it."""

from helpers.notebooks.run import NotebookRun
from helpers.settings import PROJECT_DIR
from tests.support.notebooks import texts_of

CHECK = PROJECT_DIR / "workflows" / "_Tools" / "Batch Management" / "System Check.ipynb"


def test_it_names_everything_that_a_pass_needs_and_changes_nothing(
    metastore, moodys, teams, workflows, tmp_path
):
    outcome = NotebookRun(CHECK, tmp_path / "executed.ipynb", timeout_seconds=120).execute()

    assert outcome.error is None
    shown = "".join(texts_of(tmp_path / "executed.ipynb"))
    for thing in ("migrations", "clocks", "schedule", "Moody's risk data", "kernel"):
        assert thing in shown
    assert "no pass was completed yet" in shown
    assert (moodys.submissions, teams.messages) == ([], [])

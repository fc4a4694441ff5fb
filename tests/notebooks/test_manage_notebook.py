"""Manage Batches, executed in a fresh kernel as an analyst runs it."""

import re
from pathlib import Path

import nbformat
import pytest

import helpers
from helpers import batch as batch_calls
from helpers.constants import BatchStatus, JobStatus
from helpers.job import read_job
from helpers.monitor import what_waits
from helpers.notebooks.run import NotebookRun
from helpers.settings import PROJECT_DIR
from sandbox.seeding import PreparedJob, SeededBatch
from tests.support.analysis import analysis_batch, request
from tests.support.notebooks import texts_of, write_notebook

MANAGE = PROJECT_DIR / "workflows" / "_Tools" / "Batch Management" / "Manage Batches.ipynb"
REQUEST = request("CAL EQ - Commercial")


@pytest.fixture
def batch(metastore, moodys, workflows, sql) -> SeededBatch:
    jobs = [PreparedJob(JobStatus.FAILED, "1", REQUEST, {"job_name": "CAL EQ - Commercial"})]
    made = analysis_batch(jobs, status=BatchStatus.ACTIVE)
    sql.execute("UPDATE irp_batch SET status = 'FAILED', completed_ts = now()")
    return made


def test_every_line_that_mends_can_be_run_there():
    package = Path(helpers.__file__).parent
    sources = [*package.glob("attention/*.py"), package / "batch" / "reconciling.py"]
    text = "".join(source.read_text() for source in sources)
    calls = "|".join([*batch_calls.__all__, "create_cycle"])
    offered = set(re.findall(rf"[\"']({calls})(?=[(\"'])", text))
    imports = nbformat.read(MANAGE, as_version=4).cells[1].source
    namespace: dict[str, object] = {}
    exec(imports, namespace)

    assert {"plan_resubmit", "plan_skip", "release_step", "create_cycle"} <= offered
    assert {name for name in offered if not callable(namespace.get(name))} == set()


def test_as_it_stands_it_looks_and_plans_and_does_nothing(batch, moodys, tmp_path):
    outcome = NotebookRun(MANAGE, tmp_path / "executed.ipynb", timeout_seconds=120).execute()

    assert "Say why" in str(outcome.error)
    shown = "".join(texts_of(tmp_path / "executed.ipynb"))
    assert "1 thing waits for you" in shown
    assert "CAL EQ - Commercial" in shown
    assert "Plan: resubmit 1 job" in shown
    assert moodys.submissions == []
    assert not read_job(batch.job_ids[0])["skipped"]


def test_on_a_calm_day_it_ends_where_a_batch_is_chosen_as_it_announces(
    metastore, workflows, tmp_path
):
    outcome = NotebookRun(MANAGE, tmp_path / "executed.ipynb", timeout_seconds=120).execute()

    assert "No batch has ended badly. Name one: choose_batch(8)." in str(outcome.error)
    assert "Nothing waits for you." in "".join(texts_of(tmp_path / "executed.ipynb"))
    texts = [cell.source for cell in nbformat.read(MANAGE, as_version=4).cells]
    before = texts[texts.index("batch = choose_batch()\nbatch") - 1]
    assert "If none has, the cell says so and fails, and *Run all* ends here." in before


def test_with_a_reason_it_mends_the_batch_and_tells_of_it(batch, moodys, tmp_path):
    notebook = nbformat.read(MANAGE, as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace('reason=""', 'reason="The EDM was locked"')
    edited = tmp_path / "edited.ipynb"
    nbformat.write(notebook, edited)

    outcome = NotebookRun(edited, tmp_path / "executed.ipynb", timeout_seconds=120).execute()

    assert outcome.error is None
    assert len(moodys.submissions) == 1
    assert read_job(batch.job_ids[0])["skipped"]
    shown = "".join(texts_of(Path(tmp_path, "executed.ipynb")))
    assert "The EDM was locked" in shown
    assert f"Applied: resubmit 1 job of batch {batch.batch_id} (Analysis, ACTIVE)" in shown
    assert "'plan_id'" not in shown


def test_every_call_that_is_offered_can_be_copied_into_a_cell(batch, tmp_path):
    [item] = what_waits().items
    cells = nbformat.read(MANAGE, as_version=4).cells
    first = next(cell.source for cell in cells if cell.cell_type == "code")
    others = "plan_rerun, release_step, plan_skip, plan_cancel, skip_job_configuration"
    copied = write_notebook(tmp_path / "copied.ipynb", first, item.mend, others)

    outcome = NotebookRun(copied, tmp_path / "executed.ipynb", timeout_seconds=120).execute()

    assert outcome.error is None
    assert "Plan: resubmit 1 job" in texts_of(tmp_path / "executed.ipynb")

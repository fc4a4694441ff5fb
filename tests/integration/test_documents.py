"""What the documents tell people to do works, on a real metastore."""

import re
import shutil
from pathlib import Path

import pytest

from helpers.batch import choose_batch, read_batch
from helpers.constants import BatchType
from helpers.cycle import create_cycle, get_active_cycles
from helpers.errors import CycleError
from helpers.settings import PROJECT_DIR
from helpers.stage import open_step
from helpers.steps.execution import NOTEBOOK_PATH_VARIABLE
from sandbox.demo_cycle import LISTS, cycle_folder
from sandbox.seeding import PreparedJob, add_batch, add_cycle, add_step
from tests.support.notebooks import step_notebook
from tests.support.passes import one_pass, rows

README = PROJECT_DIR / "workflows" / "_Tools" / "Batch Management" / "README.md"
PREPARING = PROJECT_DIR / "docs" / "preparing-a-cycle.md"
DRAWN = [PROJECT_DIR / "README.md", PROJECT_DIR / "docs" / "architecture.md"]
CYCLE = "Analysis-2025-Q1"
REQUEST = {
    "method": "POST",
    "path": "/platform/model/v1/jobs",
    "json": {
        "resourceUri": "/platform/riskdata/v1/exposures/1/portfolios/1",
        "resourceType": "portfolio",
        "type": "DLM",
        "settings": {"name": "A", "modelProfileId": 1},
    },
}


def blocks_of(document: Path, language: str) -> list[str]:
    text = document.read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def failed(metastore, workflows, moodys, sql, monkeypatch):
    """A batch of two analyses that failed, as a pass has found it; and how its step is run."""
    step_id = add_step(add_cycle(CYCLE), stage_num=4, step_num=1)
    jobs = [PreparedJob(request=REQUEST, configuration={"analysis": name}) for name in "AB"]
    batch = add_batch(step_id, BatchType.ANALYSIS, jobs)
    path = step_notebook(workflows, cycle=CYCLE, stage_num=4, step_num=1)
    monkeypatch.setenv(NOTEBOOK_PATH_VARIABLE, str(path))
    open_step().submit_batch()
    end_all(moodys, sql, "FAILED")
    assert one_pass().became == {batch.batch_id: "FAILED"}
    return batch


def end_all(moodys, sql, status: str) -> None:
    """Let Moody's have ended every job that runs there."""
    query = "SELECT moodys_workflow_id FROM irp_job WHERE NOT skipped"
    for (workflow_id,) in rows(sql, query):
        moodys.set_status(workflow_id, status)


def carry_out(document: Path, number: int, batch) -> None:
    """Run a document's Python, with this batch in place of its example."""
    blocks = [block for block in blocks_of(document, "python") if "choose_batch(8)" in block]
    code = blocks[number].replace("choose_batch(8)", "choose_batch(BATCH)")
    exec(code.replace("CAL EQ - Commercial", "A"), {"BATCH": batch.batch_id})


def test_jobs_are_resubmitted_as_the_readme_says(failed, moodys, sql):
    carry_out(README, 0, failed)
    assert len(moodys.submissions) == 3

    choose_batch(failed.batch_id).plan_skip().apply(reason="B is not needed")
    end_all(moodys, sql, "FINISHED")

    after = one_pass()
    assert after.became == {failed.batch_id: "COMPLETED"}
    assert [item for item in after.summary.waiting.items if item.about.startswith("Batch")] == []


def test_jobs_are_skipped_as_the_readme_says(failed, sql):
    carry_out(README, 1, failed)

    assert one_pass().became == {failed.batch_id: "COMPLETED"}


def test_a_cycle_is_prepared_as_the_document_says(
    metastore, workflows, moodys, sql, tmp_path, monkeypatch
):
    shutil.copytree(PROJECT_DIR / "workflows" / "_Template", workflows / "_Template")
    create, prepare, submit = blocks_of(PREPARING, "python")
    exec(create)
    folder = workflows / f"Active_{CYCLE}"
    (folder / "data" / "edms.csv").write_text("edm_name\nCAL_2025\nFLA_2025\n")
    notebook = folder / "notebooks" / "Stage_03_Data_Import" / "Step_01_Create_EDMs.ipynb"
    monkeypatch.setenv(NOTEBOOK_PATH_VARIABLE, str(notebook))

    names: dict[str, object] = {}
    exec(prepare, names)
    assert "2 jobs of type EDM Creation to be created" in str(names["plan"])
    exec(submit, names)

    jobs = {received.name for received in moodys.submissions if received.job_id}
    assert jobs == {"CAL_2025", "FLA_2025"}
    assert read_batch(1)["status"] == "ACTIVE"
    end_all(moodys, sql, "FINISHED")
    assert one_pass().became == {1: "COMPLETED"}


def test_a_cycle_is_prepared_beside_another_one_as_the_document_says(metastore, workflows):
    shutil.copytree(PROJECT_DIR / "workflows" / "_Template", workflows / "_Template")
    [first] = [block for block in blocks_of(PREPARING, "python") if "create_cycle(" in block]
    exec(first)
    [second] = re.findall(r"`(create_cycle\(.*?alongside=True\))`", PREPARING.read_text("utf-8"))
    with pytest.raises(CycleError, match="alongside=True"):
        exec(second.replace(", alongside=True", ""), {"create_cycle": create_cycle})

    exec(second, {"create_cycle": create_cycle})

    assert [cycle["cycle_name"] for cycle in get_active_cycles()] == [CYCLE, "Analysis-2025-Q2"]


def test_the_document_says_where_a_sample_of_each_list_is(tmp_path, monkeypatch):
    text = PREPARING.read_text("utf-8")
    lists = set(re.findall(r"`(\w+\.csv)`", text))
    assert len(lists) == 12
    assert lists <= {path.name for path in PROJECT_DIR.joinpath("sandbox", "lists").iterdir()}
    assert f"`{LISTS.relative_to(PROJECT_DIR)}`" in text
    monkeypatch.setenv("IRP_WORKFLOWS_DIR", str(tmp_path))
    assert f"lab/workspace/workflows/{cycle_folder().name}/data`" in text


@pytest.mark.parametrize("document", DRAWN, ids=lambda document: document.name)
def test_no_label_of_a_diagram_is_cut_off(document):
    diagrams = blocks_of(document, "mermaid")

    assert diagrams
    assert [diagram for diagram in diagrams if ";" in diagram] == []  # there a statement ends

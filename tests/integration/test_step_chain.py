from pathlib import Path

import pytest

from helpers.batch import recon_batch
from helpers.constants import BatchStatus
from helpers.errors import BatchError, NotebookError
from helpers.records import ChainConfig, NextStep
from helpers.step_chain import (
    get_chain_config,
    get_next_step_info,
    should_execute_next_step,
)
from tests.support.analysis import CYCLE, analysis_batch, job

NO_IDS = [999, 0, -1, 2**31, True, None, "1"]


def notebook(workflows: Path, name: str = "Step_02_Summary.ipynb") -> Path:
    path = workflows / f"Active_{CYCLE}" / "notebooks" / "Stage_04_Analysis_Execution" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    return path


def test_the_chain_rules_of_a_stage_are_plain_rows_in_the_order_of_its_steps():
    rules = get_chain_config(5)

    assert rules == [
        {
            "stage_num": 5,
            "step_num": 1,
            "batch_type": "Grouping",
            "trigger_on": ["COMPLETED"],
            "next_step_num": 2,
        },
        {
            "stage_num": 5,
            "step_num": 2,
            "batch_type": "Grouping Rollup",
            "trigger_on": ["COMPLETED", "FAILED"],
            "next_step_num": 3,
        },
    ]
    assert set(rules[0]) == set(ChainConfig.__annotations__)


@pytest.mark.parametrize("stage_num", [0, 1, 7, -1, None, "3"])
def test_a_stage_without_rules_has_none(stage_num):
    assert get_chain_config(stage_num) == []


@pytest.mark.parametrize(
    ("label", "due"),
    [("FINISHED", True), ("FAILED", True), ("ERROR", False), ("CANCELLED", False)],
)
def test_the_next_step_is_due_where_the_rule_fires(metastore, workflows, label, due):
    path = notebook(workflows)
    batch_id = analysis_batch([job(label, "1")]).batch_id
    assert not should_execute_next_step(batch_id)  # it is still ACTIVE
    recon_batch(batch_id)

    assert should_execute_next_step(batch_id) is due
    info = get_next_step_info(batch_id)
    assert info == (
        {"cycle_name": CYCLE, "stage_num": 4, "step_num": 2, "notebook_path": path} if due else None
    )
    assert info is None or set(info) == set(NextStep.__annotations__)


def test_the_functions_look_at_the_batch_as_it_is_now_and_not_at_history(metastore, workflows, sql):
    notebook(workflows)
    batch_id = analysis_batch([job("FINISHED", "1")]).batch_id
    recon_batch(batch_id)

    assert [should_execute_next_step(batch_id) for _ in range(3)] == [True, True, True]
    sql.execute("UPDATE irp_batch SET status = 'ACTIVE'")
    assert not should_execute_next_step(batch_id)


@pytest.mark.parametrize(
    "how",
    [
        {"status": BatchStatus.ACTIVE},
        # it ended before activations were counted
        {"status": BatchStatus.COMPLETED},
        {"status": BatchStatus.INITIATED},
        {"stage_num": 9},
        {"batch_type": "Something New"},
    ],
    ids=str,
)
def test_no_step_follows(metastore, how):
    batch_id = analysis_batch(**how).batch_id

    assert not should_execute_next_step(batch_id)
    assert get_next_step_info(batch_id) is None


@pytest.mark.parametrize("batch_id", NO_IDS)
@pytest.mark.parametrize("call", [should_execute_next_step, get_next_step_info])
def test_an_id_without_a_batch_is_named(metastore, call, batch_id):
    with pytest.raises(BatchError, match="batch"):
        call(batch_id)


@pytest.fixture
def done(metastore) -> int:
    batch_id = analysis_batch([job("FINISHED", "1")]).batch_id
    recon_batch(batch_id)
    return batch_id


def test_a_batch_of_an_archived_cycle_leads_nowhere(done, sql):
    assert should_execute_next_step(done)
    sql.execute("UPDATE irp_cycle SET status = 'ARCHIVED'")

    assert not should_execute_next_step(done)
    assert get_next_step_info(done) is None


def test_the_notebook_that_the_metastore_names_comes_first(done, workflows, sql):
    notebook(workflows)
    named = notebook(workflows, "Step_02_Named [x] (chained).ipynb")
    sql.execute("UPDATE irp_step SET notebook_path = %s WHERE step_num = 2", [str(named)])

    assert get_next_step_info(done)["notebook_path"] == named


def test_a_step_that_is_due_without_a_notebook_is_an_error_that_says_so(done, workflows):
    assert should_execute_next_step(done)
    with pytest.raises(NotebookError, match="Stage 4, step 2 has no notebook"):
        get_next_step_info(done)


def test_a_step_that_the_metastore_lacks_is_found_by_its_file(done, workflows, sql):
    sql.execute("DELETE FROM irp_chain_run")
    sql.execute("DELETE FROM irp_step WHERE step_num = 2")

    path = notebook(workflows)

    assert get_next_step_info(done)["notebook_path"] == path

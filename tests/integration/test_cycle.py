import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest

from helpers.batch import read_batch, submit_batch
from helpers.cycle import archive_cycle, create_cycle, get_active_cycles, read_cycle
from helpers.errors import BatchError, BatchMonitoringError, CycleError
from helpers.step_chain import get_next_step_info
from helpers.workflow_paths import find_step_notebook
from sandbox.seeding import add_batch, add_cycle
from tests.support.notebooks import write_notebook

TEMPLATE_NOTEBOOKS = [
    "Stage_03_Data_Import/Step_05_EDM_DB_Upgrade.ipynb",
    "Stage_03_Data_Import/Step_06_GeoHaz (chained).ipynb",
    "Stage_04_Analysis_Execution/Step_01_Execute_Analysis.ipynb",
    "Stage_04_Analysis_Execution/Step_02_Analysis_Summary.ipynb",
]


@pytest.fixture
def templates(metastore, workflows) -> Path:
    for name in TEMPLATE_NOTEBOOKS:
        write_notebook(workflows / "_Template" / "notebooks" / name, "1")
    (workflows / "_Template" / "runs").mkdir()
    return workflows / "_Template"


def steps(sql: psycopg.Connection) -> list[tuple[object, ...]]:
    return sql.execute(
        """SELECT stage_num, stage_name, step_num, step_name, requires_batch, notebook_path
           FROM irp_step JOIN irp_stage ON irp_stage.id = stage_id ORDER BY stage_num, step_num"""
    ).fetchall()


def step_id(sql: psycopg.Connection, stage_num: int, step_num: int) -> int:
    [(found,)] = sql.execute(
        """SELECT irp_step.id FROM irp_step JOIN irp_stage ON irp_stage.id = stage_id
           WHERE stage_num = %s AND step_num = %s""",
        (stage_num, step_num),
    ).fetchall()
    return int(found)


def test_a_cycle_is_created_from_the_names_of_folders_and_files(templates, workflows, sql):
    created = create_cycle("Q1")

    assert (created["cycle_name"], created["status"]) == ("Q1", "ACTIVE")
    assert (created["stages"], created["steps"]) == (2, 4)
    assert [row[:5] for row in steps(sql)] == [
        (3, "Data Import", 5, "EDM DB Upgrade", True),
        (3, "Data Import", 6, "GeoHaz", True),
        (4, "Analysis Execution", 1, "Execute Analysis", True),
        (4, "Analysis Execution", 2, "Analysis Summary", False),
    ]
    copies = sorted((workflows / "Active_Q1").rglob("*.ipynb"))
    assert [
        path.relative_to(workflows / "Active_Q1" / "notebooks").as_posix() for path in copies
    ] == (TEMPLATE_NOTEBOOKS)
    assert {path.name for path in (workflows / "Active_Q1").iterdir()} == {"data", "notebooks"}
    assert get_active_cycles() == [created]


def test_the_registered_path_leads_to_the_notebook_also_after_a_renaming(templates, workflows, sql):
    create_cycle("Q1")
    batch = add_batch(step_id(sql, 4, 1), "Analysis", status="ACTIVE")
    sql.execute("UPDATE irp_batch SET status = 'COMPLETED'")
    found = get_next_step_info(batch.batch_id)["notebook_path"]
    assert found.name == "Step_02_Analysis_Summary.ipynb"

    found.rename(found.with_name("Step_02_Analysis_Summary (chained).ipynb"))

    assert get_next_step_info(batch.batch_id)["notebook_path"].name.endswith("(chained).ipynb")


def test_creating_a_cycle_again_keeps_the_notebooks_and_adds_new_steps(templates, workflows, sql):
    first = create_cycle("Q1")
    edited = workflows / "Active_Q1" / "notebooks" / TEMPLATE_NOTEBOOKS[0]
    edited.write_text("edited")
    write_notebook(edited.with_name("Step_07_Portfolio_Mapping.ipynb"), "1")

    again = create_cycle("Q1")

    assert edited.read_text() == "edited"
    assert (again["cycle_id"], again["steps"]) == (first["cycle_id"], 5)


@pytest.mark.parametrize(
    "name", ["", "../Q1", "a/b", ".hidden", "Q1 ", "Q1.", "x" * 101, "Q\n1", "Q*1", "Ä1"]
)
def test_a_name_that_cannot_name_a_folder_is_refused(templates, workflows, sql, name):
    with pytest.raises(CycleError, match="not a valid cycle name"):
        create_cycle(name)

    assert steps(sql) == []
    assert [path.name for path in workflows.iterdir()] == ["_Template"]


def test_another_active_cycle_has_to_be_archived_first_unless_it_is_meant(templates, sql):
    create_cycle("Q1")

    with pytest.raises(CycleError, match=r"Q1 is ACTIVE.*alongside=True"):
        create_cycle("Q2")
    assert [c["cycle_name"] for c in get_active_cycles()] == ["Q1"]

    create_cycle("Q2", alongside=True)
    assert [c["cycle_name"] for c in get_active_cycles()] == ["Q1", "Q2"]


def test_a_cycle_without_a_status_is_not_active(templates, sql):
    create_cycle("Q1")
    sql.execute("UPDATE irp_cycle SET status = NULL")

    assert get_active_cycles() == []
    assert read_cycle("Q1")["status"] is None


def test_a_missing_template_is_named(metastore, workflows, sql):
    with pytest.raises(CycleError, match="_Template is not a template"):
        create_cycle("Q1")
    assert list(workflows.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Stage_04_Analysis_Execution/Step_01_Again.ipynb", "are both step 4.1"),
        ("Stage_04_Analysis_Execution/Step_x_Again.ipynb", "does not name a step"),
    ],
)
def test_a_folder_that_cannot_be_read_as_steps_registers_nothing(templates, sql, name, message):
    write_notebook(templates / "notebooks" / name, "1")

    with pytest.raises(CycleError, match=message):
        create_cycle("Q1")
    assert steps(sql) == []
    assert get_active_cycles() == []


def test_people_who_create_the_same_cycle_at_once_get_the_same_one(templates, workflows, sql):
    found, start = [], threading.Barrier(4)

    def create() -> None:
        start.wait()
        found.append(create_cycle("Q1")["cycle_id"])

    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 4
    assert len(set(found)) == 1
    assert len(steps(sql)) == 4
    assert sorted(path.name for path in workflows.iterdir()) == ["Active_Q1", "_Template"]


def test_a_creation_that_was_killed_is_completed_by_the_next(templates, workflows, sql):
    for point in ["shutil.copytree", "pathlib.Path.rename", "helpers.cycle.read_cycle"]:
        program = (
            "import os, signal, sys, importlib, helpers.cycle\n"
            f"*names, last = {point!r}.split('.')\n"
            "owner = importlib.import_module(names[0])\n"
            "for name in names[1:]: owner = getattr(owner, name)\n"
            "setattr(owner, last, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))\n"
            "helpers.cycle.create_cycle('Q1')\n"
        )
        ended = subprocess.run([sys.executable, "-c", program], env=os.environ, check=False)
        assert ended.returncode == -signal.SIGKILL
        for partial in workflows.glob(".Active_Q1.*"):  # as if it had been yesterday
            os.utime(partial, (0, 0))

    create_cycle("Q1")

    assert len(steps(sql)) == 4
    assert len(list((workflows / "Active_Q1").rglob("*.ipynb"))) == 4
    assert list(workflows.glob(".*")) == []


def test_archiving_moves_the_folder_and_is_on_record(templates, workflows, sql):
    create_cycle("Q1")

    archived = archive_cycle("Q1", "All results are delivered")

    assert archived["status"] == "ARCHIVED"
    assert archived["archived_ts"] is not None
    assert (workflows / "_Archive" / "Q1" / "notebooks").is_dir()
    assert not (workflows / "Active_Q1").exists()
    assert sql.execute("SELECT kind, status, cycle_id, reason FROM irp_action").fetchall() == [
        ("ARCHIVE", "DONE", archived["cycle_id"], "All results are delivered")
    ]
    assert archive_cycle("Q1", "again")["status"] == "ARCHIVED"
    with pytest.raises(CycleError, match="Q1 is ARCHIVED"):
        create_cycle("Q1")


def test_archiving_needs_a_reason(templates, sql):
    create_cycle("Q1")
    with pytest.raises(BatchMonitoringError, match="Say why"):
        archive_cycle("Q1", "  ")
    assert read_cycle("Q1")["status"] == "ACTIVE"


def test_a_cycle_with_something_active_is_not_archived_and_says_what(templates, workflows, sql):
    create_cycle("Q1")
    batch = add_batch(step_id(sql, 4, 1), "Analysis", status="ACTIVE")
    sql.execute(
        "INSERT INTO irp_step_run (step_id, run_num, started_by) VALUES (%s, 1, 'ana@host')",
        (step_id(sql, 4, 2),),
    )

    with pytest.raises(CycleError, match=rf"batch {batch.batch_id} of step 4\.1.*step 4\.2"):
        archive_cycle("Q1", "over")
    assert read_cycle("Q1")["status"] == "ACTIVE"
    assert (workflows / "Active_Q1").is_dir()
    assert sql.execute("SELECT count(*) FROM irp_action").fetchone() == (0,)


def test_a_step_run_that_was_left_active_long_ago_does_not_keep_a_cycle(templates, sql):
    create_cycle("Q1")
    sql.execute(
        """INSERT INTO irp_step_run (step_id, run_num, started_ts)
           SELECT id, 1, now() - interval '2 days' FROM irp_step LIMIT 1"""
    )
    assert archive_cycle("Q1", "over")["status"] == "ARCHIVED"


def test_a_folder_that_was_left_is_moved_by_the_next_call(templates, workflows, sql):
    create_cycle("Q1")
    target = workflows / "_Archive" / "Q1"
    target.mkdir(parents=True)
    with pytest.raises(CycleError, match="is there already"):
        archive_cycle("Q1", "over")
    assert read_cycle("Q1")["status"] == "ARCHIVED"
    target.rmdir()

    archive_cycle("Q1", "over")

    assert (target / "notebooks").is_dir()
    assert not (workflows / "Active_Q1").exists()


def test_a_batch_is_not_submitted_into_a_cycle_that_is_archived_at_that_moment(
    templates, sql, metastore
):
    create_cycle("Q1")
    batch = add_batch(step_id(sql, 4, 1), "Analysis")
    problems: list[Exception] = []

    def submit() -> None:
        try:
            submit_batch(batch.batch_id, irp_client=None)  # it never gets as far as a request
        except BatchError as exc:
            problems.append(exc)

    with psycopg.connect(metastore) as archiver:
        archiver.execute("UPDATE irp_cycle SET status = 'ARCHIVED'")
        submitting = threading.Thread(target=submit)
        submitting.start()
        while not sql.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone():
            assert submitting.is_alive()
        archiver.commit()
    submitting.join()

    assert "ARCHIVED" in str(problems[0])
    assert read_batch(batch.batch_id)["status"] == "INITIATED"


def test_an_unknown_cycle_is_reported_to_be_unknown(metastore):
    add_cycle("Q1")
    with pytest.raises(CycleError, match="no cycle 'Q2'"):
        read_cycle("Q2")
    with pytest.raises(CycleError, match="no cycle 'Q2'"):
        archive_cycle("Q2", "over")


def test_a_template_may_lie_elsewhere(templates, workflows, tmp_path, sql):
    other = templates.rename(tmp_path / "ours")
    assert create_cycle("Q1", template=other)["steps"] == 4
    found = find_step_notebook(cycle_name="Q1", stage_num=3, step_num=6, notebook_path=None)
    assert found.is_relative_to(workflows / "Active_Q1")

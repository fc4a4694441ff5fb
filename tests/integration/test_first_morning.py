"""A new user with the documents alone: from an empty database to submitted jobs, and a bad morning.

The lines are the documents' own, with their example names, so that a document that leaves something
out fails here.
"""

import csv
import os
import shutil
from pathlib import Path

import psycopg
import pytest

from helpers.batch import create_batch, submit_batch
from helpers.database import close_pools
from helpers.database.migrations import migrate
from helpers.irp_integration import IRPClient
from helpers.monitor import run_pass
from helpers.settings import PROJECT_DIR, get_settings
from helpers.steps.execution import NOTEBOOK_PATH_VARIABLE
from sandbox.moodys_jobs import Script
from sandbox.seeding import add_cycle, add_step
from tests.integration.test_building import EDM, PLAIN, PORTFOLIO
from tests.integration.test_documents import CYCLE, PREPARING, README, blocks_of
from tests.support.notebooks import write_notebook

JOBS = [f"CAL EQ - {number:02}" for number in range(1, 41)]
FAILING = JOBS[:5]
STAGE = "notebooks/Stage_04_Analysis_Execution"
SUMMARY = "Step_02_Analysis_Summary.ipynb"


@pytest.fixture
def user(empty_database, moodys, workflows, monkeypatch):
    """A migrated empty database, the templates, and a Moody's where the EDM exists already."""
    migrate()
    shutil.copytree(PROJECT_DIR / "workflows" / "_Template", workflows / "_Template")
    made_by = add_step(add_cycle("The quarter before"), stage_num=3, step_num=1)
    with IRPClient(connections=2) as client:
        for batch_type, row in (("EDM Creation", EDM), ("Portfolio Creation", PORTFOLIO)):
            submit_batch(create_batch(batch_type, made_by, [row]).apply()["batch_id"], client)
            moodys.advance(1e6)
    with_sql("UPDATE irp_cycle SET status = 'ARCHIVED'")
    moodys.submissions.clear()
    for name in FAILING:
        moodys.script(Script(end="FAILED", reason="The EDM is locked"), name=name, times=1)
    monkeypatch.setenv("TEAMS_NOTIFICATION_ENABLED", "false")
    get_settings.cache_clear()
    yield workflows
    close_pools()


def with_sql(statement: str) -> list[tuple]:
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def block(document: Path, *, having: str) -> str:
    """Return the one block of Python in which this stands, for the batch and the names of here."""
    [found] = [code for code in blocks_of(document, "python") if having in code]
    [(batch_id,)] = with_sql("SELECT coalesce(max(id), 0) FROM irp_batch")
    return found.replace("choose_batch(8)", f"choose_batch({batch_id})")


def lines_of(*codes: str) -> int:
    return sum(bool(line.strip()) for code in codes for line in code.splitlines())


def prepare_and_submit(workflows: Path, monkeypatch) -> int:
    """Do what the first document says; return how many lines of Python that takes."""
    create, prepare, submit = blocks_of(PREPARING, "python")
    prepare = prepare.replace("edms.csv", "analyses.csv")
    exec(create)
    folder = workflows / f"Active_{CYCLE}"
    with (folder / "data" / "analyses.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, [*PLAIN])
        table.writeheader()
        table.writerows(PLAIN | {"job_name": name} for name in JOBS)
    notebook = folder / STAGE / "Step_01_Execute_Analysis.ipynb"
    monkeypatch.setenv(NOTEBOOK_PATH_VARIABLE, str(notebook))
    names: dict[str, object] = {}
    exec(prepare, names)
    exec(submit, names)
    return lines_of(create, prepare, submit)


def test_a_new_user_submits_forty_analyses_and_gets_through_a_bad_morning(
    user, moodys, monkeypatch, capsys
):
    assert prepare_and_submit(user, monkeypatch) <= 10
    assert sorted(received.name for received in moodys.submissions) == JOBS
    write_notebook(user / f"Active_{CYCLE}" / STAGE / SUMMARY, "1 / 0")
    moodys.advance(3600)
    run_pass()

    # 1 What failed?
    shown: dict[str, object] = {}
    exec("from helpers.monitor import what_waits\nwaits = what_waits()", shown)
    waits = str(shown["waits"])
    assert "The EDM is locked" in waits
    assert "ZeroDivisionError" in waits
    mends = [item.mend for item in shown["waits"].items]

    # 2 Resubmit three, 3 skip one: by name
    resubmit = block(README, having="plan_resubmit").replace(
        '"CAL EQ - Commercial"', ", ".join(map(repr, FAILING[:3]))
    )
    exec(resubmit)
    exec(block(README, having="plan_skip").replace("plan_skip()", f"plan_skip({FAILING[3]!r})"))
    moodys.advance(3600)
    assert len(moodys.submissions) == 43

    # 4 Cancel one that runs by now
    moodys.script(Script.standing("RUNNING"), name=FAILING[4], times=1)
    names: dict[str, object] = {}
    exec(resubmit.replace(", ".join(map(repr, FAILING[:3])), repr(FAILING[4])), names)
    exec(block(README, having="plan_cancel").replace("CAL EQ - Commercial", FAILING[4]))
    assert len(moodys.changes) == 1
    moodys.advance(3600)
    run_pass()

    # 5 Run the failed step again, once it is mended: as the line offers
    assert f"plan_rerun('{CYCLE}', 4, 2)" in mends
    shutil.copy(user / "_Template" / STAGE / SUMMARY, user / f"Active_{CYCLE}" / STAGE)
    exec(block(README, having="plan_rerun"))
    run_pass()
    assert with_sql("SELECT status::text FROM irp_step_run ORDER BY id DESC LIMIT 1") == [
        ("COMPLETED",)
    ]
    assert with_sql("SELECT count(*) FROM irp_action WHERE status <> 'DONE'") == [(0,)]


def test_the_readme_holds_and_releases_a_step(user):
    exec(blocks_of(PREPARING, "python")[0])
    exec(block(README, having="hold_step"))
    assert with_sql("SELECT DISTINCT hold_action_id FROM irp_step_claim") == [(None,)]
    assert with_sql("SELECT kind::text FROM irp_action ORDER BY id") == [("HOLD",), ("RELEASE",)]


def test_no_document_shows_sql_for_what_people_do_daily():
    acts = README.read_text().split("## Troubleshooting")[1] + PREPARING.read_text()
    for word in ("UPDATE ", "INSERT ", "DELETE FROM", "SELECT "):
        assert word not in acts

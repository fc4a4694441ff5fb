import os
from datetime import UTC, datetime, timedelta

import pytest

from helpers.clock import CLOCK
from helpers.notebooks.copies import prune_copies

NOW = datetime(2025, 3, 31, 12, tzinfo=UTC)
MONTH = timedelta(days=30)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(CLOCK, "now", lambda: NOW)


def copy(workflows, notebook, taken_ts, folder="Active_Q1 [draft]", name="{0} {1:%d %b %H.%M}"):
    runs = workflows / folder / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    path = runs / f"{name.format(notebook, taken_ts)}.ipynb"
    path.write_text("{}")
    os.utime(path, (taken_ts.timestamp(), taken_ts.timestamp()))
    return path


def test_copies_with_the_names_of_an_older_version_are_pruned_with_the_others(workflows):
    old_name = "{0} {1:%Y-%m-%dT%H-%M-%S-%f}"
    old_copies = [
        copy(
            workflows,
            "Stage_03_Data_Import Step_05_EDM_DB_Upgrade",
            NOW - timedelta(days=days),
            name=old_name,
        )
        for days in (50, 40, 20)
    ]
    new = copy(workflows, "S03-05 EDM DB Upgrade", NOW - timedelta(hours=1))
    loose = copy(workflows, "Loose", NOW - timedelta(days=50), folder=".", name=old_name)
    os.utime(old_copies[0])  # moved to another disk: the name still says when it was made

    assert prune_copies(older_than=MONTH, keep_at_most=2) == 2
    assert [path.exists() for path in (*old_copies, new)] == [False, False, True, True]
    assert loose.exists()


@pytest.mark.parametrize("number", [2, 10])
def test_copies_of_one_minute_are_counted_as_of_one_notebook(workflows, number):
    taken_ts = NOW - timedelta(days=40)
    copy(workflows, "S03-05 X", taken_ts, name="{0} {1:%d %b %H.%M}" + f" ({number})")
    copy(workflows, "S03-05 X", taken_ts)

    assert prune_copies(older_than=MONTH, keep_at_most=9) == 1


def test_copies_past_their_age_go_and_younger_ones_stay(workflows):
    old = copy(workflows, "Step_01", NOW - timedelta(days=31))
    young = copy(workflows, "Step_01", NOW - timedelta(days=29))

    assert prune_copies(older_than=MONTH, keep_at_most=100) == 1
    assert (old.exists(), young.exists()) == (False, True)


def test_copies_of_notebooks_outside_a_folder_go_as_well(workflows):
    old, new = (copy(workflows, "Loose", NOW - timedelta(days=d), folder=".") for d in (40, 1))

    assert prune_copies(older_than=MONTH, keep_at_most=100) == 1
    assert (old.exists(), new.exists()) == (False, True)


def test_the_newest_copy_of_each_notebook_stays_however_old(workflows):
    only = copy(workflows, "Step_01", NOW - timedelta(days=400))
    other = copy(workflows, "Step_02", NOW - timedelta(days=400))

    assert prune_copies(older_than=MONTH, keep_at_most=1) == 0
    assert only.exists()
    assert other.exists()


def test_more_copies_than_wanted_go_oldest_first(workflows):
    copies = [copy(workflows, "Step_01", NOW - timedelta(hours=h)) for h in range(5)]

    assert prune_copies(older_than=MONTH, keep_at_most=3) == 2
    assert [path.exists() for path in copies] == [True, True, True, False, False]


def test_files_that_the_executor_did_not_name_are_left_alone(workflows):
    for name in (
        "My analysis.ipynb",
        "Step_01 2020-01-01.ipynb",
        "S03-05 X 26 Nov 16.51-Copy1.ipynb",  # as JupyterLab duplicates a file
        "S03-05 X 26 Nov 16.51.html",
        "notes.txt",
    ):
        (workflows / "Active_Q1" / "runs").mkdir(parents=True, exist_ok=True)
        (workflows / "Active_Q1" / "runs" / name).write_text("mine")

    assert prune_copies(older_than=MONTH, keep_at_most=1) == 0
    assert len(list((workflows / "Active_Q1" / "runs").iterdir())) == 5


def test_an_absent_workflows_folder_is_nothing_to_prune(workflows):
    workflows.rmdir()

    assert prune_copies(older_than=MONTH, keep_at_most=1) == 0

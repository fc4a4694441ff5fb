from datetime import UTC, datetime, timedelta

from helpers.notebooks.copies import prune_copies

NOW = datetime(2025, 3, 31, 12, tzinfo=UTC)
MONTH = timedelta(days=30)


def copy(workflows, notebook, taken_ts, folder="Active_Q1 [draft]"):
    runs = workflows / folder / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    path = runs / f"{notebook} {taken_ts:%Y-%m-%dT%H-%M-%S-%f}.ipynb"
    path.write_text("{}")
    return path


def test_copies_past_their_age_go_and_younger_ones_stay(workflows):
    old = copy(workflows, "Step_01", NOW - timedelta(days=31))
    young = copy(workflows, "Step_01", NOW - timedelta(days=29))

    assert prune_copies(older_than=MONTH, keep_at_most=100, now=NOW) == 1
    assert (old.exists(), young.exists()) == (False, True)


def test_copies_of_notebooks_outside_a_folder_go_as_well(workflows):
    old, new = (copy(workflows, "Loose", NOW - timedelta(days=d), folder=".") for d in (40, 1))

    assert prune_copies(older_than=MONTH, keep_at_most=100, now=NOW) == 1
    assert (old.exists(), new.exists()) == (False, True)


def test_the_newest_copy_of_each_notebook_stays_however_old(workflows):
    only = copy(workflows, "Step_01", NOW - timedelta(days=400))
    other = copy(workflows, "Step_02", NOW - timedelta(days=400))

    assert prune_copies(older_than=MONTH, keep_at_most=1, now=NOW) == 0
    assert only.exists()
    assert other.exists()


def test_more_copies_than_wanted_go_oldest_first(workflows):
    copies = [copy(workflows, "Step_01", NOW - timedelta(hours=h)) for h in range(5)]

    assert prune_copies(older_than=MONTH, keep_at_most=3, now=NOW) == 2
    assert [path.exists() for path in copies] == [True, True, True, False, False]


def test_files_that_the_executor_did_not_name_are_left_alone(workflows):
    for name in ("My analysis.ipynb", "Step_01 2020-01-01.ipynb", "notes.txt"):
        (workflows / "Active_Q1" / "runs").mkdir(parents=True, exist_ok=True)
        (workflows / "Active_Q1" / "runs" / name).write_text("mine")

    assert prune_copies(older_than=MONTH, keep_at_most=1, now=NOW) == 0
    assert len(list((workflows / "Active_Q1" / "runs").iterdir())) == 3


def test_an_absent_workflows_folder_is_nothing_to_prune(workflows):
    workflows.rmdir()

    assert prune_copies(older_than=MONTH, keep_at_most=1, now=NOW) == 0

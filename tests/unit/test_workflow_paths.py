import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from helpers import workflow_paths
from helpers.errors import NotebookError
from helpers.settings import get_settings
from helpers.text import day_and_month
from helpers.workflow_paths import (
    StepReference,
    copy_name,
    executed_copy_path,
    find_step_notebook,
    inside_workflows,
    relative_to_workflows,
    step_reference,
)

CYCLE = "Analysis-2025-Q1"
STAGE = "Stage_04_Analysis_Execution"


@pytest.fixture
def notebooks(workflows: Path) -> Path:
    folder = workflows / f"Active_{CYCLE}" / "notebooks" / STAGE
    folder.mkdir(parents=True)
    return folder


def made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    return path


def find(notebook_path: str | None = None, *, cycle: str = CYCLE) -> Path:
    return find_step_notebook(
        cycle_name=cycle, stage_num=4, step_num=2, notebook_path=notebook_path
    )


@pytest.mark.parametrize(
    "name",
    [
        "Step_02_Summary.ipynb",
        # spaces and brackets, as chained ones have them
        "Step_02_Analysis [Summary] (chained).ipynb",
        # no leading zero, no name
        "Step_2.ipynb",
        "Step_02_Zusammenfassung für März.ipynb",
    ],
)
def test_the_one_notebook_that_matches_is_found(notebooks, name):
    made(notebooks / "Step_01_Execute.ipynb")
    made(notebooks / "Step_20_Other.ipynb")
    made(notebooks / ".ipynb_checkpoints" / "Step_02_Summary-checkpoint.ipynb")
    made(notebooks / "Step_02_notes.txt")

    notebook = made(notebooks / name)

    assert find() == notebook


def test_nothing_that_matches_is_an_error_that_says_where_it_looked(notebooks):
    with pytest.raises(NotebookError) as caught:
        find()

    assert "Stage 4, step 2 has no notebook" in str(caught.value)
    assert f"Active_{CYCLE}/notebooks/Stage_04_*/Step_02_*.ipynb" in str(caught.value)


def test_a_cycle_without_a_folder_has_no_notebook(workflows):
    with pytest.raises(NotebookError, match="has no notebook"):
        find(cycle="Never Started")


def test_two_that_match_are_an_error_that_names_both(notebooks):
    made(notebooks / "Step_02_Summary.ipynb")
    made(notebooks / "Step_02_Summary (chained).ipynb")

    with pytest.raises(NotebookError) as caught:
        find()

    assert "2 notebooks" in str(caught.value)
    assert "Step_02_Summary (chained).ipynb, Step_02_Summary.ipynb" in str(caught.value)


def test_two_folders_of_one_stage_count_together(notebooks):
    made(notebooks / "Step_02_Summary.ipynb")
    made(notebooks.parent / "Stage_4_Copy" / "Step_02_Summary.ipynb")

    with pytest.raises(NotebookError, match="2 notebooks"):
        find()


@pytest.mark.parametrize(
    "spelling",
    [
        # if it is
        "{notebooks}/Step_02_Named.ipynb",
        # relative to the workflows folder, to its parent, and to the cycle
        "Active_{cycle}/notebooks/{stage}/Step_02_Named.ipynb",
        "workflows/Active_{cycle}/notebooks/{stage}/Step_02_Named.ipynb",
        "notebooks/{stage}/Step_02_Named.ipynb",
        # of another machine
        "/home/analyst/irp/workflows/Active_{cycle}/notebooks/{stage}/Step_02_Named.ipynb",
        r"C:\irp\workflows\Active_{cycle}\notebooks\{stage}\Step_02_Named.ipynb",
        r"\\share\irp\Active_{cycle}\notebooks\{stage}\Step_02_Named.ipynb",
    ],
)
def test_the_path_that_the_metastore_names_comes_first(notebooks, spelling):
    named = made(notebooks / "Step_02_Named.ipynb")
    made(notebooks / "Step_02_Other.ipynb")

    path = spelling.format(notebooks=notebooks, cycle=CYCLE, stage=STAGE)

    assert find(path) == named


@pytest.mark.parametrize(
    "gone",
    [
        "/home/analyst/elsewhere/Step_02_Gone.ipynb",
        r"D:\elsewhere\Step_02_Gone.ipynb",
        "Active_Analysis-2024-Q4/notebooks/Step_02_Gone.ipynb",
        # no path at all
        "nul\x00inside",
        "x" * 5_000,
    ],
)
def test_a_named_path_that_leads_nowhere_falls_back_to_the_one_that_matches(notebooks, gone):
    matching = made(notebooks / "Step_02_Summary.ipynb")

    assert find(gone) == matching


def test_a_named_path_that_leads_nowhere_is_shown_where_nothing_matches(notebooks):
    with pytest.raises(NotebookError, match=r"names /gone\.ipynb"):
        find("/gone.ipynb")


@pytest.mark.parametrize(
    "spelling",
    [
        # absolute
        "{outside}",
        # out and away
        "../outside.ipynb",
        "Active_{cycle}/../../outside.ipynb",
        # the tail of a foreign path
        r"C:\x\Active_{cycle}\..\..\outside.ipynb",
    ],
)
def test_a_named_path_out_of_the_workflows_folder_is_refused(notebooks, workflows, spelling):
    outside = made(workflows.parent / "outside.ipynb")
    made(notebooks / "Step_02_Summary.ipynb")

    with pytest.raises(NotebookError, match="outside the workflows folder"):
        find(spelling.format(outside=outside, cycle=CYCLE))


@pytest.mark.parametrize(
    "cycle", ["x/../../elsewhere", "../elsewhere", "/etc", "nul\x00", "x" * 999]
)
def test_the_name_of_a_cycle_leads_nowhere_else(workflows, cycle):
    folder = workflows.parent / "elsewhere" / "notebooks" / STAGE
    made(folder / "Step_02_Summary.ipynb")
    (workflows / "Active_x").mkdir()

    with pytest.raises(NotebookError):
        find(cycle=cycle)


def test_a_link_out_of_the_folder_is_refused(notebooks, workflows):
    outside = made(workflows.parent / "outside.ipynb")
    (notebooks / "Step_02_Link.ipynb").symlink_to(outside)

    with pytest.raises(NotebookError, match="outside the workflows folder"):
        find()


def test_a_link_inside_the_folder_leads_to_the_notebook(notebooks, workflows):
    shared = made(workflows / "_Tools" / "Summary.ipynb")
    (notebooks / "Step_02_Link.ipynb").symlink_to(shared)

    assert find() == shared


def test_a_folder_named_like_a_notebook_is_none(notebooks):
    (notebooks / "Step_02_Folder.ipynb").mkdir()

    with pytest.raises(NotebookError, match="There is no notebook"):
        find()


@pytest.mark.parametrize(
    "path",
    ["nul\x00.ipynb", "x" * 5_000 + ".ipynb", "x" * 300 + ".ipynb", "loop.ipynb", "", ".", "a.txt"],
)
def test_what_is_no_notebook_is_refused_with_the_reason(workflows, path):
    (workflows / "loop.ipynb").symlink_to(workflows / "loop.ipynb")
    made(workflows / "a.txt")

    with pytest.raises(NotebookError) as caught:
        inside_workflows(Path(path))

    assert len(str(caught.value)) < 500
    assert "\x00" not in str(caught.value)


def test_a_step_is_read_from_its_path(notebooks):
    assert step_reference(notebooks / "Step_02_Summary (chained).ipynb") == StepReference(
        CYCLE, 4, 2
    )


@pytest.mark.parametrize(
    "path",
    [
        "_Tools/Batch Management/Monitor Active Jobs.ipynb",
        "_Template/notebooks/Stage_04_A/Step_02_B.ipynb",
        "Active_Q1/notebooks/Stage_04_A/deeper/Step_02_B.ipynb",
        "Active_Q1/runs/Stage_04_A/Step_02_B.ipynb",
        "Active_Q1/notebooks/Stage_A/Step_02_B.ipynb",
        "Active_Q1/notebooks/Stage_04_A/Summary.ipynb",
        "../elsewhere/notebooks/Stage_04_A/Step_02_B.ipynb",
        "nul\x00",
    ],
)
def test_a_path_that_names_no_step_has_no_reference(workflows, path):
    assert step_reference(workflows / path) is None


def test_people_are_shown_paths_below_the_workflows_folder(notebooks):
    shown = relative_to_workflows(notebooks / "Step_02_A (chained).ipynb")

    assert shown == f"workflows/Active_{CYCLE}/notebooks/{STAGE}/Step_02_A (chained).ipynb"


def test_an_executed_copy_is_a_new_file_in_the_runs_of_its_cycle(notebooks):
    source = notebooks / "Step_02_Analysis_Summary.ipynb"

    first, second = executed_copy_path(source), executed_copy_path(source)

    assert first.parent == notebooks.parent.parent / "runs"
    assert re.fullmatch(r"S04-02 Analysis Summary \d\d? \w{3} \d\d\.\d\d\.ipynb", first.name)
    assert first != second


def test_the_time_of_a_copy_is_that_of_the_people_here(notebooks, monkeypatch):
    monkeypatch.setenv("MONITOR_TIME_ZONE", "Pacific/Kiritimati")  # 14 hours ahead
    get_settings.cache_clear()
    before = datetime.now(UTC) + timedelta(hours=14)
    copy = executed_copy_path(notebooks / "Step_02.ipynb")
    after = datetime.now(UTC) + timedelta(hours=14)

    assert copy.name in {
        f"S04-02 {day_and_month(here)} {here:%H.%M}.ipynb" for here in (before, after)
    }


def test_runs_of_one_notebook_side_by_side_have_a_copy_each(notebooks):
    source = notebooks / "Step_02_A.ipynb"
    with ThreadPoolExecutor(8) as threads:
        given = list(threads.map(lambda _: executed_copy_path(source), range(40)))

    assert len(set(given)) == 40
    assert all(re.fullmatch(r"S04-02 A .*\d\.\d\d( \(\d+\))?\.ipynb", path.name) for path in given)


def test_a_name_that_another_process_has_taken_is_not_given(notebooks):
    source = notebooks / "Step_02_B.ipynb"
    first = made(executed_copy_path(source))
    workflow_paths._named.clear()

    assert executed_copy_path(source) != first


@pytest.mark.parametrize(
    ("stage", "stem", "name"),
    [
        ("Stage_03_Data_Import", "Step_05_EDM_DB_Upgrade", "S03-05 EDM DB Upgrade"),
        ("Stage_12", "Step_1", "S12-01"),
        ("Stage_03_Data_Import", "Control totals", "S03 Control totals"),
        ("", "My_notebook", "My_notebook"),
        ("notebooks", "Step_05_X", "Step_05_X"),  # of no stage
        # What Windows does not allow, and what hides a file.
        ("", 'a<b>:c"d/e\\f|g?h*i', "a-b-c-d-e-f-g-h-i"),
        ("", "..hidden\tand\nlong ", "hidden and long"),
        ("", "...", "notebook"),
    ],
)
def test_what_tells_copies_apart_comes_first_in_their_names(stage, stem, name):
    assert copy_name(stage, stem) == name


def test_an_executed_copy_of_a_notebook_outside_any_cycle_is_kept_too(workflows):
    assert executed_copy_path(workflows / "x.ipynb").parent == workflows / "runs"


def test_the_name_of_an_executed_copy_fits_a_file_system(notebooks):
    source = notebooks / f"Step_02_{'漢' * 80}.ipynb"

    copy = executed_copy_path(source)

    copy.parent.mkdir()
    copy.write_text("{}")

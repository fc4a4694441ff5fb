import threading
from pathlib import Path

import pytest
from openpyxl import Workbook

from helpers.batch import (
    choose_batch,
    create_batch,
    get_batch_jobs,
    plan_resubmit,
    read_batch,
    submit_batch,
)
from helpers.batch.rows import read_rows
from helpers.database import queries
from helpers.errors import BatchError
from helpers.irp_integration import IRPClient
from helpers.job import read_job
from helpers.stage.step_notebook import StepNotebook
from sandbox.misbehaviour import Fault
from sandbox.moodys import MoodysStandIn
from sandbox.seeding import add_cycle, add_step
from tests.integration.test_building import EDM, PLAIN, PORTFOLIO

STEP = "step 4.1 Execute Analysis"
ROWS = [PLAIN | {"job_name": f"ANL {number}"} for number in range(1, 5)]


@pytest.fixture
def step_id(metastore) -> int:
    return add_step(add_cycle("Q1"), stage_num=4, step_num=1, step_name="Execute Analysis")


@pytest.fixture
def client(step_id, moodys):
    with IRPClient(connections=4) as irp_client:
        yield irp_client


def counts(sql) -> list[int]:
    tables = ("irp_batch", "irp_job_configuration", "irp_job")
    return [sql.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]


def test_a_plan_says_how_many_jobs_it_would_make_and_writes_nothing(step_id, sql):
    plan = create_batch("Analysis", step_id, ROWS)
    assert "4 jobs of type Analysis to be created for step 4.1 Execute Analysis" in str(plan)
    assert "ANL 3" in str(plan)
    assert counts(sql) == [0, 0, 0]


def test_a_batch_is_made_once_by_the_same_plan_and_by_another_of_the_same_rows(step_id, sql):
    plan = create_batch("Analysis", step_id, ROWS)
    made = plan.apply()
    batch = f"Batch {made['batch_id']}"
    assert f"{batch} with 4 jobs for step 4.1 Execute Analysis was created" in str(plan)
    again = plan.apply()
    another = create_batch("Analysis", step_id, list(reversed(ROWS)))

    assert f"{batch} holds these 4 already." in str(another)
    assert (made["jobs"], made["created"]) == (4, True)
    assert again == another.apply() == {**made, "created": False}
    assert f"{batch} with 4 jobs for step 4.1 Execute Analysis was there already" in str(another)
    assert counts(sql) == [1, 4, 4]
    assert read_batch(made["batch_id"])["status"] == "INITIATED"


def test_people_who_apply_plans_of_the_same_rows_at_once_make_one_batch(step_id, sql):
    plans = [create_batch("Analysis", step_id, ROWS) for _ in range(4)]
    start = threading.Barrier(4)

    def apply(plan) -> None:
        start.wait()
        plan.apply()

    threads = [threading.Thread(target=apply, args=[plan]) for plan in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts(sql) == [1, 4, 4]


def test_rows_that_are_partly_there_are_not_doubled(step_id, sql):
    made = create_batch("Analysis", step_id, ROWS[:2]).apply()

    for rows, numbers in [(ROWS, [1, 2]), (ROWS[1:], [1]), ([*ROWS[2:], ROWS[0]], [3])]:
        plan = create_batch("Analysis", step_id, rows)
        shown = str(plan)
        held = f"batch {made['batch_id']} holds this job already; leave the row out."
        remarks = [f"  ✖ row {number}: {held}\n" for number in numbers]
        assert f"\n\nTo be corrected\n{''.join(remarks)}\n" in shown
        assert "plan.apply()" not in shown
        with pytest.raises(
            BatchError, match=rf"^Nothing was prepared\. [^✖]*✖ row {numbers[0]}: batch"
        ):
            plan.apply()
    assert counts(sql) == [1, 2, 2]


def test_a_batch_of_some_of_the_rows_that_was_made_since_the_plan_is_named(step_id, sql):
    plan = create_batch("Analysis", step_id, ROWS)
    made = create_batch("Analysis", step_id, ROWS[:1]).apply()

    with pytest.raises(BatchError, match=f"row 1: batch {made['batch_id']} holds this job"):
        plan.apply()

    assert "plan.apply()" not in str(plan)
    assert counts(sql) == [1, 1, 1]


def test_rows_of_two_batches_are_named_by_batch(step_id, sql):
    batches = [create_batch("Analysis", step_id, [row]).apply()["batch_id"] for row in ROWS[:2]]

    shown = str(create_batch("Analysis", step_id, ROWS[:2]))

    assert [f"row {n}: batch {b} holds" in shown for n, b in enumerate(batches, 1)] == [True, True]
    assert "2 problems" in shown


def test_everything_that_is_wrong_is_named_at_once_by_row_and_column(step_id, sql):
    rows = [
        ROWS[0],
        ROWS[0],  # the same name
        {k: v for k, v in ROWS[1].items() if k != "portfolio_name"},
        ROWS[2] | {"analysis_profil_name": "x"},
        ROWS[3] | {"edm_name": 'EDM "A"'},
    ]
    plan = create_batch("Analysis", step_id, rows)
    shown = str(plan)
    assert "row 2: row 1 has the same name already." in shown
    assert "row 3: portfolio_name is missing." in shown
    assert "row 4: 'analysis_profil_name' is not a column; did you mean" in shown
    assert "row 5: edm_name:" in shown
    with pytest.raises(BatchError, match="Nothing was prepared"):
        plan.apply()
    assert counts(sql) == [0, 0, 0]


def test_a_wrong_column_is_one_problem_however_many_rows_have_it(step_id, tmp_path):
    lines = ["edm_nam,portfolio_name,job_name,currencys"]
    lines += [f"E{n},{'P' * (n > 1)},A {n},{'USD' * (n in {2, 4})}" for n in range(60)]
    path = tmp_path / "list.csv"
    path.write_text("\n".join(lines))

    plan = create_batch("Analysis", step_id, path)

    shown = str(plan)
    for text in (
        "the header: 'edm_nam' is not a column; did you mean 'edm_name'? (all 60 rows)",
        "the header: edm_name is missing. (all 60 rows)",
        "the header: 'currencys' is not a column; did you mean 'currency'? (rows 4, 6)",
        "row 2: portfolio_name is missing.",  # a cell that is empty
        "row 3: portfolio_name is missing.",
    ):
        assert f"  ✖ {text}\n" in shown
    assert "; 5 problems\n" in shown
    assert [problem.row for problem in plan.problems if problem.row] == [2, 3]


def test_work_of_a_notebooks_own_has_columns_of_its_own(step_id):
    plan = create_batch("Portfolio Mapping", step_id, [{"portfolio": "A", "anything": 1}])
    assert plan.problems == []
    theirs = create_batch("Staging ETL", step_id, [{"portfolio": "A"}])
    assert "work of a notebook of yours" in str(theirs)
    assert theirs.apply()["created"]


def test_a_batch_needs_a_step_of_an_active_cycle_and_rows(step_id, sql):
    with pytest.raises(BatchError, match="no step 99"):
        create_batch("Analysis", 99, ROWS)
    with pytest.raises(BatchError, match="Nothing was prepared"):
        create_batch("Analysis", step_id, []).apply()
    sql.execute("UPDATE irp_cycle SET status = 'ARCHIVED'")
    with pytest.raises(BatchError, match="Q1 is ARCHIVED"):
        create_batch("Analysis", step_id, ROWS)


def test_a_batch_is_not_made_in_a_cycle_that_was_archived_since_the_plan(step_id, sql):
    plan = create_batch("Analysis", step_id, ROWS)
    sql.execute("UPDATE irp_cycle SET status = 'ARCHIVED'")
    with pytest.raises(BatchError, match="Q1 is ARCHIVED: nobody would watch"):
        plan.apply()
    assert counts(sql) == [0, 0, 0]


# --- Where rows come from.

TABLE = [
    ["EDM Name", "Portfolio-Name", "job_name"],
    ["EDM_A", "PF_1", "A"],
    [None] * 3,
    ["x", 7, ""],
]


def csv_file(path: Path, delimiter: str) -> Path:
    lines = [delimiter.join("" if c is None else str(c) for c in row) for row in TABLE]
    path.write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
    return path


def xlsx_file(path: Path) -> Path:
    book = Workbook()
    for row in TABLE:
        book.active.append(row)
    book.save(path)
    return path


@pytest.mark.parametrize("kind", [",", ";", "\t", "xlsx"])
def test_a_file_is_read_as_the_spreadsheet_counts_its_rows(tmp_path, kind):
    if kind == "xlsx":
        path = xlsx_file(tmp_path / "rows.xlsx")
    else:
        path = csv_file(tmp_path / "rows.csv", kind)
    rows = read_rows(path)
    assert [row.number for row in rows] == [2, 4]
    assert rows[0].values == {"edm_name": "EDM_A", "portfolio_name": "PF_1", "job_name": "A"}
    assert {k: str(v) for k, v in rows[1].values.items()} == {
        "edm_name": "x",
        "portfolio_name": "7",
    }


class Frame:
    """What is used of a pandas DataFrame."""

    def to_dict(self, orient: str) -> list[dict[str, object]]:
        assert orient == "records"
        return [{"job_name": "A", "n": 7.0, "empty": float("nan")}]


def test_a_data_frame_is_read_without_pandas_and_without_its_empty_cells():
    [row] = read_rows(Frame())
    assert (row.number, row.values) == (1, {"job_name": "A", "n": 7})


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("rows.txt", b"a", "neither a .csv nor an .xlsx"),
        ("rows.csv", b"", "is empty"),
        ("rows.csv", b"\xff\xfe\x00", r"not UTF-8 \(line 1\)"),  # UTF-16, Excel's "Unicode Text"
        (  # as Excel saves "CSV" in Western Europe
            "edms.csv",
            "edm_name\r\nÄsche\r\n".encode("cp1252"),
            r"^edms\.csv is not UTF-8 \(line 2\)\. In Excel, save it as CSV UTF-8, or as \.xlsx\.$",
        ),
        ("rows.csv", b"\xef\xbb\xbfa\n" + b"1\n" * 9_000 + b"\xc4\n", r"\(line 9002\)"),
        ("rows.csv", b'a\n"' + b"x" * 200_000 + b'"', "cannot be read as CSV: field larger than"),
        ("missing.csv", None, r"cannot be read: No such file or directory\.$"),
        ("rows.csv", b"a,a\n1,2", "the column 'a' twice"),
        ("rows.csv", b"a,b\n1,2,3", "more cells than there are columns"),
        ("rows.xlsx", b"no workbook", "cannot be read as a workbook"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_cause(tmp_path, name, content, problem):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BatchError, match=problem):
        read_rows(path)


def test_the_files_that_a_list_names_lie_beside_it_unless_their_path_is_whole(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("accounts_file_path,locations_file_path,mapping_file_path\na.csv,/b.csv,\n")
    [row] = read_rows(path)
    assert row.values == {
        "accounts_file_path": str(tmp_path / "a.csv"),
        "locations_file_path": "/b.csv",
    }


@pytest.mark.parametrize("source", [7, {"a": 1}, ["text"], None])
def test_what_is_no_list_of_rows_is_refused(source):
    with pytest.raises(BatchError):
        read_rows(source)


# --- From names to submitted jobs.


@pytest.fixture
def known(moodys: MoodysStandIn, client, step_id) -> MoodysStandIn:
    """A Moody's that knows the names in the rows, because batches of earlier steps made them."""
    for batch_type, row in (("EDM Creation", EDM), ("Portfolio Creation", PORTFOLIO)):
        made = create_batch(batch_type, step_id, [row]).apply()
        assert submit_batch(made["batch_id"], client)["errors"] == []
        moodys.advance(1e6)
    moodys.submissions.clear()
    return moodys


def test_names_become_requests_when_the_batch_is_submitted(step_id, known, client):
    made = create_batch("Analysis", step_id, ROWS).apply()
    [first, *_] = get_batch_jobs(made["batch_id"])
    assert first["submission_request"] is None

    outcome = submit_batch(made["batch_id"], client)

    assert (outcome["submitted"], outcome["failed"]) == (4, 0)
    assert sorted(received.name for received in known.submissions) == [
        f"ANL {n}" for n in range(1, 5)
    ]
    assert read_job(first["id"])["submission_request"]["built_from_names"] is True
    assert submit_batch(made["batch_id"], client)["submitted"] == 0
    assert len(known.submissions) == 4


def test_look_ups_that_fail_leave_jobs_due_and_the_next_submission_goes_on(step_id, known, client):
    made = create_batch("Analysis", step_id, ROWS).apply()
    known.misbehave(Fault.HTTP_STATUS, http_status=503, kinds=["lookup"])
    failed = submit_batch(made["batch_id"], client)
    assert failed["failed"] == 4
    assert known.submissions == []
    known.behave()

    assert submit_batch(made["batch_id"], client)["submitted"] == 4


def test_a_stage_notebook_prepares_and_submits_by_name(step, known):
    plan = step.prepare(ROWS)
    assert plan.problems == []
    plan.apply()
    assert step.submit_batch().submissions[-1]["submitted"] == 4
    assert len(known.submissions) == 4


@pytest.fixture
def step(step_id, workflows) -> StepNotebook:
    """The step, with an empty folder for its lists."""
    found = StepNotebook(queries("steps").step_by_id(step_id=step_id))
    found.data_folder.mkdir(parents=True)
    return found


HEADER = "edm_name,portfolio_name,job_name\n"


def test_a_step_without_a_list_or_a_batch_says_which_file_is_missing(step, client, sql):
    before = counts(sql)
    with pytest.raises(BatchError, match=r"no file .*/data/analyses\.csv\. .* job_name, \(ana"):
        step.prepare("analyses.csv")
    (step.data_folder / "analyses.csv").write_text(HEADER)
    with pytest.raises(BatchError, match=r"Nothing was prepared. .*0 jobs"):
        step.prepare("analyses.csv").apply()
    assert counts(sql) == before


@pytest.mark.parametrize("text", [None, HEADER])
def test_a_batch_that_was_prepared_otherwise_stays_where_a_list_has_no_rows(
    step, client, sql, text
):
    made = create_batch("Analysis", step.step["step_id"], ROWS).apply()
    if text is not None:
        (step.data_folder / "analyses.csv").write_text(text)

    plan = step.prepare("analyses.csv")

    found = f"no rows are given, and batch {made['batch_id']} is prepared already"
    assert str(plan) == f"Nothing to be created for {STEP}: {found}"
    assert plan.apply() == {**made, "created": False}
    assert counts(sql) == [1, 4, 4]


def test_names_that_moodys_cannot_be_asked_for_are_no_mistake_of_the_rows(step, known):
    known.misbehave(Fault.HTTP_STATUS, http_status=503, kinds=["lookup"])
    plan = step.prepare(ROWS)
    assert "row 1: it could not be checked" in str(plan)
    assert "Not known now" in str(plan)
    known.behave()

    plan.apply()
    assert step.submit_batch().done == 4


def test_a_changed_configuration_gets_a_request_of_its_own(step_id, known, client, sql):
    made = create_batch("Analysis", step_id, ROWS[:1]).apply()
    submit_batch(made["batch_id"], client)
    sql.execute("UPDATE irp_job SET status = 'FAILED' WHERE batch_id = %s", [made["batch_id"]])

    [job] = get_batch_jobs(made["batch_id"])
    plan = plan_resubmit(made["batch_id"], changes={job["id"]: {"job_name": "ANL 1 again"}})
    assert len(plan.jobs) == 1
    outcome = plan.apply(client, reason="wrong name")

    assert outcome["errors"] == []
    assert [received.name for received in known.submissions] == ["ANL 1", "ANL 1 again"]
    assert "ANL 1 again" in str(choose_batch(made["batch_id"]))


def test_a_row_with_an_unknown_name_is_an_error_and_can_be_resubmitted_with_the_right_one(
    step_id, known, client
):
    rows = [ROWS[0] | {"edm_name": "EDM_X"}, ROWS[1]]
    made = create_batch("Analysis", step_id, rows).apply()

    outcome = submit_batch(made["batch_id"], client)

    assert (outcome["submitted"], outcome["failed"]) == (1, 1)
    [job, _] = get_batch_jobs(made["batch_id"])
    assert job["status"] == "ERROR"
    assert "EDM_X" in str(job["last_error"])
    plan = plan_resubmit(made["batch_id"], changes={job["id"]: {"edm_name": "EDM_A"}})
    assert plan.apply(client, reason="a typing error")["errors"] == []
    assert len(known.submissions) == 2


def test_rows_of_another_tool_are_left_as_they_are(step_id, known, client, sql):
    made = create_batch("Analysis", step_id, ROWS[:1]).apply()
    sql.execute("""UPDATE irp_job_configuration SET job_configuration_data = '{"Analysis": "A"}'""")

    with pytest.raises(BatchError, match=r"stays as it is\..*no prepared request"):
        submit_batch(made["batch_id"], client)

    assert read_batch(made["batch_id"])["status"] == "INITIATED"
    assert get_batch_jobs(made["batch_id"])[0]["status"] == "INITIATED"

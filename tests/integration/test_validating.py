"""What Moody's would refuse of a batch is named before submission, at once, without effects."""

import pytest

from helpers.batch import BatchValidation, choose_batch, create_batch, submit_batch, validate_batch
from helpers.constants import BatchType
from helpers.errors import BatchError
from helpers.irp_integration import IRPClient
from helpers.stage.step_notebook import StepNotebook
from sandbox.misbehaviour import Fault
from sandbox.moodys import MoodysStandIn
from sandbox.seeding import PreparedJob, add_batch, add_cycle, add_step
from tests.integration.test_building import EDM, PLAIN, PORTFOLIO, TREATY

ROWS = [PLAIN | {"job_name": f"ANL {number}"} for number in range(1, 41)]


@pytest.fixture
def step_id(metastore) -> int:
    return add_step(add_cycle("Q1"), stage_num=4, step_num=1, step_name="Execute Analysis")


@pytest.fixture
def made_id(step_id) -> int:
    """The step whose batches have made what Moody's knows."""
    return add_step(add_cycle("Q0"), stage_num=4, step_num=1)


@pytest.fixture
def known(moodys: MoodysStandIn, made_id) -> MoodysStandIn:
    """A Moody's with an EDM, a portfolio, a treaty, an analysis and a group."""
    group = {"group_name": "GRP_1", "member_names": ["ANL 1", "ANL 2"]}
    with IRPClient(connections=4) as client:
        for batch_type, rows in (
            ("EDM Creation", [EDM]),
            ("Portfolio Creation", [PORTFOLIO]),
            ("Create Reinsurance Treaties", [TREATY]),
            ("Analysis", ROWS[:2]),
            ("Grouping", [group]),
        ):
            made = create_batch(batch_type, made_id, rows).apply()
            assert submit_batch(made["batch_id"], client)["errors"] == []
            moodys.advance(1e6)
    moodys.submissions.clear()
    return moodys


def validated(batch_type: str, step_id: int, rows: list[dict]) -> BatchValidation:
    return validate_batch(create_batch(batch_type, step_id, rows).apply()["batch_id"])


def texts(validation: BatchValidation) -> list[str]:
    return [problem.text for problem in validation.problems]


def world(sql) -> list[tuple]:
    query = "SELECT id, status::text, submission_request, last_error FROM irp_job ORDER BY id"
    return sql.execute(query).fetchall()


def test_a_batch_that_moodys_would_accept_has_no_problem_and_nothing_is_made(step_id, known, sql):
    made = create_batch("Analysis", step_id, ROWS[2:]).apply()
    before = world(sql), known.statistics()["jobs"]

    validation = validate_batch(made["batch_id"])

    assert validation.is_good
    assert "38 jobs checked, nothing to be corrected" in str(validation)
    assert (world(sql), known.statistics()["jobs"]) == before
    assert known.submissions == []


def test_all_problems_of_all_rows_are_named_at_once(step_id, known):
    known.forget_name("DLM v23")
    known.forget_name("No output")
    rows = [
        ROWS[2],
        ROWS[3] | {"portfolio_name": "PF_9", "treaty_names": "TR_1; TR_8; TR_9"},
        ROWS[4] | {"analysis_profile_name": "DLM v23", "output_profile_name": "No output"},
        ROWS[0],  # exists
        ROWS[5] | {"edm_name": "EDM_X", "analysis_profile_name": "DLM v23"},
    ]
    validation = validated("Analysis", step_id, rows)

    assert texts(validation) == [
        "There is no portfolio 'PF_9' in EDM 'EDM_A'.",
        "There is no treaty 'TR_8' in EDM 'EDM_A'.",
        "There is no treaty 'TR_9' in EDM 'EDM_A'.",
        "There is no analysis profile 'DLM v23'.",
        "There is no output profile 'No output'.",
        "Analysis 'ANL 1' exists already in EDM 'EDM_A'.",
        "There is no EDM 'EDM_X'.",
        "There is no analysis profile 'DLM v23'.",
    ]
    shown = str(validation)
    assert "4 of 5 jobs to be corrected" in shown
    assert "ANL 4" in shown


@pytest.mark.parametrize(
    ("batch_type", "row", "expected"),
    [
        ("EDM Creation", EDM, ["EDM 'EDM_A' exists already."]),
        ("EDM Creation", {"edm_name": "E", "server_name": "x"}, ["There is no server 'x'."]),
        ("Portfolio Creation", PORTFOLIO, ["Portfolio 'PF_1' exists already in EDM 'EDM_A'."]),
        ("Create Reinsurance Treaties", TREATY, ["Treaty 'TR_1' exists already in EDM 'EDM_A'."]),
        ("EDM DB Upgrade", {"edm_name": "E", "edm_version": "22"}, ["There is no EDM 'E'."]),
        (
            "Grouping",
            {"group_name": "GRP_1", "member_names": "ANL 1, ANL 8, ANL 9"},
            [
                "Group 'GRP_1' exists already.",
                "There is no analysis or group 'ANL 8'.",
                "There is no analysis or group 'ANL 9'.",
            ],
        ),
        (
            "Export to RDM",
            {"server_name": "databridge-1", "rdm_name": "R", "analysis_names": "ANL 8; GRP_1"},
            ["There is no analysis or group 'ANL 8'."],
        ),
        (
            "MRI Import",
            PORTFOLIO | {"accounts_file_path": "/no/a.csv", "locations_file_path": "/no/l.csv"},
            [
                "accounts_file_path: there is no file '/no/a.csv'.",
                "locations_file_path: there is no file '/no/l.csv'.",
            ],
        ),
        # the row's own, which no look-up finds
        ("Portfolio Creation", PORTFOLIO | {"portfolio_name": "P" * 41}, ["40"]),
        (
            "Create Reinsurance Treaties",
            TREATY | {"treaty_type": "Odd", "treaty_name": "T"},
            ["Odd"],
        ),
    ],
)
def test_each_type_is_checked_for_what_it_names_and_what_it_makes(
    step_id, known, batch_type, row, expected
):
    found = texts(validated(batch_type, step_id, [row]))

    assert len(found) == len(expected), found
    for text, words in zip(found, expected, strict=True):
        assert words in text
    assert known.submissions == []


def test_what_another_job_of_the_batch_makes_as_well_is_named(step_id, known, sql):
    made = create_batch("Analysis", step_id, ROWS[2:5]).apply()
    sql.execute(
        "UPDATE irp_job_configuration SET job_configuration_data = "
        """job_configuration_data || '{"job_name": "anl 3"}' WHERE batch_id = %s""",
        [made["batch_id"]],
    )
    found = texts(validate_batch(made["batch_id"]))
    assert len(found) == 2
    assert all("has the same name already" in text for text in found)


def test_forty_rows_are_checked_with_each_name_looked_up_once(step_id, known):
    made = create_batch("Analysis", step_id, [*ROWS[2:], ROWS[0] | {"job_name": "X"}]).apply()
    before = known.statistics()["requests_total"]

    assert validate_batch(made["batch_id"]).is_good

    # EDM, portfolio, two profiles, scheme, currency, its tables; each analysis's own name
    assert known.statistics()["requests_total"] - before <= 39 + 9


def test_preparing_a_step_says_the_same_before_anything_is_written(step_id, known, sql):
    step = StepNotebook({"step_id": step_id, "stage_num": 4, "step_num": 1, "step_name": "A",
                         "cycle_name": "Q1"})  # type: ignore[typeddict-item]  # fmt: skip
    plan = step.prepare([ROWS[3] | {"portfolio_name": "PF_9", "output_profile_name": "x"}])
    assert [p.text for p in plan.problems] == ["There is no portfolio 'PF_9' in EDM 'EDM_A'."]


def test_a_stage_notebook_and_a_chosen_batch_validate_what_is_prepared(step_id, known):
    other = add_step(add_cycle("Q2"), stage_num=4, step_num=1)
    step = StepNotebook({"step_id": other, "stage_num": 4, "step_num": 1, "step_name": "A",
                         "cycle_name": "Q2"})  # type: ignore[typeddict-item]  # fmt: skip
    with pytest.raises(BatchError, match="no prepared batch"):
        step.validate()
    made = create_batch("Analysis", other, ROWS[2:4]).apply()
    assert step.validate().checked == choose_batch(made["batch_id"]).validate().checked == 2
    another = create_batch("Analysis", other, ROWS[5:6]).apply()
    with pytest.raises(BatchError, match=rf"validate_batch\({another['batch_id']}\)"):
        step.validate()


def test_a_look_up_that_fails_is_named_as_such_and_not_as_an_unknown_name(step_id, known):
    made = create_batch("Analysis", step_id, ROWS[2:4]).apply()
    known.misbehave(Fault.HTTP_STATUS, http_status=403, kinds=["lookup"])
    validation = validate_batch(made["batch_id"])
    assert len(validation.problems) == 2
    assert all(text.startswith("it could not be checked: ") for text in texts(validation))


def test_what_is_not_built_from_names_is_not_looked_up(metastore, step_id, moodys, sql):
    prepared = {"method": "POST", "path": "/platform/model/v1/jobs", "json": {}}
    body = {"settings": {"name": "A"}}
    batch = add_batch(
        step_id,
        BatchType.ANALYSIS,
        [PreparedJob(request=prepared), PreparedJob(request=body), PreparedJob(configuration={})],
    )
    before = moodys.statistics()["requests_total"]

    validation = validate_batch(batch.batch_id)

    found = texts(validation)
    assert "built by another tool" in found[0]
    assert "is missing" in found[1]
    assert "2 jobs have a prepared request" in str(validation)
    assert moodys.submissions == []
    assert moodys.statistics()["requests_total"] == before
    own = add_batch(step_id, BatchType.PORTFOLIO_MAPPING, [PreparedJob(configuration={"a": 1})])
    assert validate_batch(own.batch_id).is_good


def test_what_is_asked_for_has_to_be_there(step_id, sql):
    with pytest.raises(BatchError, match="no batch 99"):
        validate_batch(99)
    made = create_batch("Analysis", step_id, ROWS[:1]).apply()
    sql.execute("UPDATE irp_cycle SET status = 'ARCHIVED'")
    with pytest.raises(BatchError, match="ARCHIVED"):
        validate_batch(made["batch_id"])

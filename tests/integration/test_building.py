"""Requests are built by name, and make later what the published client would have made."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.constants import BatchType, CycleStatus
from helpers.errors import BuildError, MoodysError
from helpers.irp_integration import IRPClient
from helpers.irp_integration.building import _CALLS, RequestBuilder, row_columns
from helpers.irp_integration.catching import UnexpectedWriteError, Writes
from helpers.irp_integration.prepared import PreparedRequest
from helpers.job import read_job, submit_job
from sandbox.misbehaviour import Fault
from sandbox.moodys import MoodysStandIn
from sandbox.seeding import PreparedJob
from tests.support.analysis import analysis_batch

FOREVER = 1e6
FILE_COLUMNS = ("accounts_file_path", "locations_file_path")
LAYER = {
    "type": "geocode",
    "name": "geocode",
    "engineType": "RL",
    "version": "25.0",
    "layerOptions": {
        "geoLicenseType": "LandRisk",
        "aggregateTriggerEnabled": True,
        "skipPrevGeocoded": False,
    },
}
EDM = {"edm_name": "EDM_A"}
PORTFOLIO = EDM | {"portfolio_name": "PF_1"}
ANALYSIS = PORTFOLIO | {
    "job_name": "ANL_1",
    "analysis_profile_name": "DLM CBHU v25",
    "output_profile_name": "Patched Portfolio Level Only",
    "event_rate_scheme_name": "RMS 2025 Stochastic Event Rates",
    "treaty_names": "TR_1",
    "tag_names": "TAG_1; TAG_2",
}
PLAIN = {k: v for k, v in ANALYSIS.items() if k not in {"treaty_names", "tag_names"}}
TREATY = EDM | {
    "treaty_name": "TR_1",
    "treaty_number": 1.0,
    "treaty_type": "Working Excess",
    "inception_date": "2026-01-01",
    "expiration_date": "2026-12-31",
    "currency_name": "US Dollar",
    "attachment_basis": "Losses Occurring",
    "attachment_level": "Location",
    "num_reinstatements": 99.0,
    "priority": "1",
    **dict.fromkeys(("per_risk_limit", "occurrence_limit", "attachment_point", "premium"), "1"),
    **dict.fromkeys(("pct_covered", "pct_placed", "pct_share", "pct_retention"), 100),
    **dict.fromkeys(("pct_reinstatement_charge", "aggregate_limit", "aggregate_deductible"), 0.0),
}


@pytest.fixture
def builder(moodys: MoodysStandIn) -> Iterator[RequestBuilder]:
    with RequestBuilder() as made:
        yield made


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """The columns of an MRI import."""
    for name in FILE_COLUMNS:
        (tmp_path / f"{name}.csv").write_text("ACCNTNUM\n1\n")
    return {name: str(tmp_path / f"{name}.csv") for name in FILE_COLUMNS}


def carried_out(request: PreparedRequest, batch_type: BatchType, moodys: MoodysStandIn) -> str:
    """Send a built request as the job of a batch; return what became of it."""
    job = PreparedJob(request=request.record())
    cycle = f"Cycle-{uuid.uuid4().hex}"
    archived = CycleStatus.ARCHIVED  # at most one is ACTIVE
    batch = analysis_batch([job], batch_type=batch_type, cycle=cycle, cycle_status=archived)
    [job_id] = batch.job_ids
    with IRPClient(connections=1) as client:
        status = submit_job(job_id, batch_type, client)
    moodys.advance(FOREVER)
    assert read_job(job_id)["last_error"] is None
    return status


def test_a_whole_cycle_is_built_by_name_and_sent_later(metastore, builder, moodys, files):
    second = ANALYSIS | {"job_name": "ANL_2"}
    members = {"member_names": ["ANL_1", "ANL_2"]}
    cycle = [
        (BatchType.EDM_CREATION, EDM | {"server_name": "databridge-1"}, "SUBMITTED"),
        (BatchType.PORTFOLIO_CREATION, PORTFOLIO, "FINISHED"),
        (BatchType.MRI_IMPORT, PORTFOLIO | files, "SUBMITTED"),
        (BatchType.REINSURANCE_TREATIES, TREATY, "FINISHED"),
        (BatchType.EDM_DB_UPGRADE, EDM | {"edm_version": 22.0}, "SUBMITTED"),
        (BatchType.GEOHAZ, PORTFOLIO | {"layers": [LAYER]}, "SUBMITTED"),
        (BatchType.ANALYSIS, ANALYSIS, "SUBMITTED"),
        (BatchType.ANALYSIS, second, "SUBMITTED"),
        (BatchType.GROUPING, {"group_name": "GRP_1"} | members, "SUBMITTED"),
        (BatchType.GROUPING_ROLLUP, {"group_name": "ROLL_1"} | members, "SUBMITTED"),
        (
            BatchType.EXPORT_TO_RDM,
            {"server_name": "databridge-1", "rdm_name": "RDM_A", "analysis_names": "ANL_1, GRP_1"},
            "SUBMITTED",
        ),
    ]
    for batch_type, row, status in cycle:
        with RequestBuilder() as step:
            before = moodys.statistics()["jobs"]
            request = step.build(batch_type, row)
            assert moodys.statistics()["jobs"] == before  # nothing is made by building
        assert carried_out(request, batch_type, moodys) == status

    assert [job.job_type for job in moodys.jobs.all()] == [
        "CREATE_EDM",
        "MRI_IMPORT",
        "EDM_DATA_UPGRADE",
        "GEOHAZ",
        "DLM",
        "DLM",
        "GROUPING",
        "GROUPING",
        "DOWNLOAD_RDM",
    ]
    lob = next(item for item in moodys.submissions if item.path.endswith("/lob"))
    treaty = next(item for item in moodys.submissions if item.path.endswith("/treaties"))
    assert lob.path.startswith(treaty.path)
    assert lob.request_id is not None
    assert {type(treaty.body[key]) for key in ("priority", "numberOfReinstatements")} == {int}


def test_every_type_but_the_notebook_s_own_work_can_be_built(builder):
    assert set(BatchType) - set(_CALLS) == {
        BatchType.DATA_EXTRACTION,
        BatchType.PORTFOLIO_MAPPING,
    }
    for batch_type in _CALLS:
        required = [column.name for column in row_columns(batch_type) if column.required]
        assert required, batch_type


@pytest.fixture
def edm(metastore, moodys) -> None:
    """An EDM with a portfolio."""
    with RequestBuilder() as step:
        carried_out(step.build("EDM Creation", EDM), BatchType.EDM_CREATION, moodys)
    with RequestBuilder() as step:
        request = step.build("Portfolio Creation", PORTFOLIO)
        carried_out(request, BatchType.PORTFOLIO_CREATION, moodys)


def test_what_is_looked_up_by_name_is_looked_up_once(edm, builder, moodys):
    row = PLAIN | {"tag_names": "TAG_1"}
    before = moodys.statistics()["requests_total"]

    for number in range(40):
        builder.build("Analysis", row | {"job_name": f"ANL_{number}"})

    # the EDM, portfolio, profiles, scheme, currency, tag and its making; each analysis's own name
    assert moodys.statistics()["requests_total"] - before <= 40 + 10
    assert [item.path for item in moodys.submissions].count("/platform/referencedata/v1/tags") == 1


@pytest.mark.parametrize(
    ("batch_type", "row", "words"),
    [
        ("Analysis", ANALYSIS | {"edm_name": "EDM_B"}, "EDM_B"),
        ("Analysis", ANALYSIS | {"portfolio_name": "PF_9"}, "PF_9"),
        ("Analysis", PLAIN | {"analysis_profile_name": "DLM v23"}, "'DLM v23' not found"),
        ("Analysis", ANALYSIS | {"treaty_names": ["TR_9"]}, "treaties"),
        ("Portfolio Creation", PORTFOLIO, "unique name"),
        ("Grouping", {"group_name": "G", "member_names": "ANL_8, ANL_9"}, "or group 'ANL_8'"),
        (
            "Export to RDM",
            {"server_name": "databridge-1", "rdm_name": "R", "analysis_names": "ANL_9"},
            "ANL_9",
        ),
        ("EDM Creation", {"edm_name": "E", "server_name": "elsewhere"}, "elsewhere"),
        ("MRI Import", PORTFOLIO | dict.fromkeys(FILE_COLUMNS, "/x"), "/x"),
        # columns
        ("Analysis", PORTFOLIO | {"jobname": "A"}, "did you mean 'job_name'?"),
        ("Analysis", ANALYSIS | {"edm_name": 'E" OR "1'}, 'edm_name: \'E" OR "1\' holds "'),
        # types
        ("analysis", ANALYSIS, "did you mean 'Analysis'?"),
        ("Data Extraction", {}, "work of the notebook's own"),
    ],
)  # fmt: skip
def test_a_row_that_moodys_would_refuse_is_the_row_s_problem(
    edm, builder, moodys, batch_type, row, words
):
    moodys.forget_name("DLM v23")
    before = moodys.statistics()["submissions"]

    for act in (builder.check, builder.build):
        with pytest.raises(BuildError) as caught:
            act(batch_type, row)
        assert words in str(caught.value)

    assert moodys.statistics()["submissions"] == before


def test_a_group_that_moodys_would_block_is_the_row_s_problem(edm, moodys, builder):
    for name in ("ANL_1", "ANL_2"):
        with RequestBuilder() as step:
            request = step.build("Analysis", PLAIN | {"job_name": name})
        carried_out(request, BatchType.ANALYSIS, moodys)
    moodys.block_grouping("ANL_2")

    with pytest.raises(BuildError, match="no region data"):
        builder.build("Grouping", {"group_name": "G", "member_names": "ANL_1, ANL_2"})


@pytest.mark.parametrize(
    ("fault", "http_status"),
    [
        ({"fault": Fault.HTTP_STATUS, "http_status": 500}, 500),
        ({"fault": Fault.HTTP_STATUS, "http_status": 401}, 401),
        ({"fault": Fault.HTML_403}, 403),
        ({"fault": Fault.RESET}, None),
    ],
)
def test_a_look_up_that_failed_is_not_taken_for_an_unknown_name(
    edm, builder, moodys, fault, http_status
):
    moodys.misbehave(kinds={"lookup"}, **fault)

    with pytest.raises(MoodysError) as caught:
        builder.build("Analysis", PLAIN)
    assert caught.value.http_status == http_status

    moodys.behave()
    assert builder.build("Analysis", PLAIN).path == "/platform/model/v1/jobs"


def test_a_check_makes_nothing(edm, builder, moodys, files):
    before = moodys.statistics()["submissions"]

    builder.check("EDM Creation", {"edm_name": "EDM_B"})  # would make an exposure set
    builder.check("Analysis", PLAIN | {"tag_names": "TAG_9"})  # would make a tag
    builder.check("MRI Import", PORTFOLIO | files)
    builder.check("Portfolio Creation", PORTFOLIO | {"portfolio_name": "PF_2"})

    assert moodys.statistics()["submissions"] == before


def test_what_must_exist_before_is_made_once_by_a_key_of_its_own(metastore, builder, moodys):
    key = uuid.uuid4()
    builder.build("EDM Creation", EDM, key=key)
    builder.build("EDM Creation", EDM, key=key)
    builder.build("EDM Creation", EDM)

    [made] = moodys.submissions
    assert made.path == "/platform/riskdata/v1/exposuresets"
    assert uuid.UUID(made.request_id).version == 5


def test_a_write_that_nobody_allowed_is_not_sent(edm, builder, moodys):
    before = moodys.statistics()["submissions"]
    builder._adapter.expect(Writes(last="/elsewhere"), key=uuid.uuid4())

    with pytest.raises(UnexpectedWriteError, match="/portfolios is not expected"):
        builder._published.portfolio.create_portfolio("EDM_A", "PF_2")

    assert moodys.statistics()["submissions"] == before


def test_a_bearer_token_that_expires_while_building_is_renewed(moodys, monkeypatch):
    monkeypatch.delenv("RISK_MODELER_API_KEY")
    for name, value in moodys.environment(bearer=True).items():
        monkeypatch.setenv(name, value)
    with RequestBuilder() as builder:
        moodys.access.expire_tokens()
        assert builder.build("EDM Creation", EDM).json["exposureName"] == "EDM_A"


def test_a_treaty_that_was_cut_off_in_the_middle_is_completed_and_not_made_twice(
    edm, builder, moodys
):
    request = builder.build("Create Reinsurance Treaties", TREATY)
    [job_id] = analysis_batch(
        [PreparedJob(request=request.record())], batch_type=BatchType.REINSURANCE_TREATIES
    ).job_ids

    class CutOff:
        def __init__(self, client: IRPClient) -> None:
            self._client = client

        def submit(self, method, path, **how):
            if path.endswith("/lob"):
                raise MoodysError("Moody's did not answer in time.")
            return self._client.submit(method, path, **how)

    with IRPClient(connections=1) as client:
        with pytest.raises(Exception, match="not known whether"):
            submit_job(job_id, BatchType.REINSURANCE_TREATIES, CutOff(client))
        assert submit_job(job_id, BatchType.REINSURANCE_TREATIES, client) == "FINISHED"

    paths = [item.path for item in moodys.submissions]
    assert sum(path.endswith("/treaties") for path in paths) == 1
    assert sum(path.endswith("/lob") for path in paths) == 1

"""The stand-in is faithful: the published client works against it, and it errs as Moody's does."""

import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import requests
from irp_integration import IRPClient as PublishedClient
from irp_integration.exceptions import IRPAPIError, IRPAuthenticationError

from helpers.constants import BatchType
from helpers.irp_integration import IRPClient
from helpers.irp_integration.bodies import failure_reason
from helpers.irp_integration.client import job_reader
from helpers.irp_integration.endpoints import ids_filter
from sandbox.misbehaviour import Fault, Kind
from sandbox.moodys import MoodysStandIn
from sandbox.moodys_bodies import RESOURCE_GROUP_ID
from sandbox.moodys_jobs import Family, Script
from sandbox.moodys_reads import JOB_PATHS
from sandbox.server import control, start_process
from tests.support.passes import FAMILIES

START = datetime(2026, 3, 2, 14, 5, 38, 251_900, tzinfo=UTC)
PATIENCE = 10.0
FOREVER = 3600.0
RUNNING = {"steps": [], "end": "RUNNING"}
MODEL_PATH = "/platform/model/v1/jobs"
MODEL_BODY = {
    "resourceUri": "/platform/riskdata/v1/exposures/7/portfolios/3",
    "resourceType": "portfolio",
    "type": "DLM",
    "settings": {"name": "ANL_1", "modelProfileId": 4001},
}


@pytest.fixture
def moodys() -> Iterator[MoodysStandIn]:
    """A stand-in whose time stands still unless it is advanced."""
    with MoodysStandIn(clock=lambda: START) as stand_in:
        yield stand_in


@pytest.fixture
def published(moodys, monkeypatch) -> Iterator[Callable[..., PublishedClient]]:
    """Construct the published client from the environment."""
    made: list[PublishedClient] = []

    def construct(*, bearer: bool = False) -> PublishedClient:
        for name, value in moodys.environment(bearer=bearer).items():
            monkeypatch.setenv(name, value)
        made.append(PublishedClient())
        return made[-1]

    yield construct
    for client in made:
        client.client.session.close()


def ask(moodys, path: str, *, method: str = "GET", headers=None, **request):
    """Send one request on a connection of its own."""
    known = {"Authorization": moodys.access.api_key, "x-rms-resource-group-id": RESOURCE_GROUP_ID}
    with requests.Session() as session:
        session.trust_env = False
        return session.request(
            method,
            f"{moodys.url}{path}",
            headers={**known, **(headers or {})},
            timeout=request.pop("timeout", PATIENCE),
            **request,
        )


def read(moodys, job_id, **request):
    return ask(moodys, f"{MODEL_PATH}/{job_id}", **request)


def submit(moodys, body=None, *, key: str | None = None, **request):
    headers = {"x-rms-requestid": key} if key else {}
    return ask(moodys, MODEL_PATH, method="POST", json=body or MODEL_BODY, headers=headers)


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


# The clients


@pytest.mark.parametrize("bearer", [False, True])
@pytest.mark.parametrize(
    ("family", "call"),
    [
        ("riskdata", lambda client, job: client.risk_data_job.get_risk_data_job(job)),
        ("import", lambda client, job: client.import_job.get_import_job(job)),
        ("geohaz", lambda client, job: client.portfolio.get_geohaz_job(job)),
        ("model", lambda client, job: client.analysis.get_analysis_job(job)),
        ("grouping", lambda client, job: client.grouping.get_job(job_id=job)),
        ("export", lambda client, job: client.rdm.get_rdm_export_job(job)),
        ("workflows", lambda client, job: client.client.get_workflow(job)),
    ],
)
def test_the_published_client_reads_a_job_of_every_family(moodys, published, family, call, bearer):
    job_id = moodys.add_job(family, status="RUNNING", name="A job")
    body = call(published(bearer=bearer), int(job_id))
    assert str(body.get("jobId", body.get("id"))) == job_id
    assert (body["status"], body["name"]) == ("RUNNING", "A job")
    assert ("tasks" in body) is (family != "workflows")


@pytest.mark.parametrize(
    ("family", "search"),
    [
        ("riskdata", lambda client: client.risk_data_job.search_risk_data_jobs),
        ("model", lambda client: client.analysis.search_analysis_jobs),
    ],
)
def test_the_published_client_searches_and_gets_rows_newest_first(
    moodys, published, family, search
):
    ids = moodys.add_jobs(family, 5, status="RUNNING")
    rows = search(published())(filter=ids_filter([*ids[:3], "99999999"]))
    assert [row["jobId"] for row in rows] == [ids[2], ids[1], ids[0]]
    assert all("tasks" not in row for row in rows)


def test_the_published_client_searches_legacy_workflows(moodys, published):
    ids = moodys.add_jobs("workflows", 3, status="FINISHED")
    wanted = [int(job_id) for job_id in ids[:2]]
    answer = published().client.poll_workflow_batch_to_completion(wanted).json()
    assert answer["totalMatchCount"] == 2
    assert [row["id"] for row in answer["workflows"]] == wanted[::-1]


def test_the_published_client_runs_a_legacy_workflow_to_its_end(moodys, published):
    moodys.script(Script.standing("FINISHED"))
    client = published().client
    answer = client.execute_workflow("POST", "/riskmodeler/v2/portfolios/3/process", json={})
    assert answer.json()["status"] == "FINISHED"


@pytest.mark.parametrize("batch_type", sorted(BatchType.polled()))
def test_our_client_reads_the_jobs_of_every_batch_type(moodys, monkeypatch, batch_type):
    for name, value in moodys.environment().items():
        monkeypatch.setenv(name, value)
    family = FAMILIES[batch_type]
    job_id = moodys.add_job(family, status="FAILED", reason="No exposure.")
    with IRPClient(connections=1) as client:
        body = job_reader(client, batch_type.family)(job_id)
    assert (body["jobId"], body["status"]) == (job_id, "FAILED")
    assert failure_reason(body) == "No exposure."


def test_the_published_client_submits_a_whole_cycle(moodys, published, tmp_path):
    client = published()

    def finished(job_id: int, family: str) -> None:
        assert moodys.submissions[-1].job_id == str(job_id)
        assert moodys.submissions[-1].family == family
        moodys.advance(FOREVER)

    finished(client.edm.submit_create_edm_job("EDM_A")[0], "riskdata")
    client.portfolio.create_portfolio("EDM_A", "PF_1")
    finished(_mri_import(client, tmp_path), "import")
    client.treaty.create_treaty(**_treaty())
    finished(client.edm.submit_upgrade_edm_data_version_job("EDM_A", "22")[0], "riskdata")
    finished(client.portfolio.submit_geohaz_job("PF_1", "EDM_A", [_LAYER])[0], "geohaz")
    finished(_analysis(client), "model")
    export = client.rdm.submit_rdm_export_job("databridge-1", "RDM_A", ["ANL_1"])
    finished(export["job_id"], "export")
    assert client.rdm.get_rdm_database_full_name("RDM_A") == "RDM_A"
    assert [job.job_type for job in moodys.jobs.all()] == [
        "CREATE_EDM",
        "MRI_IMPORT",
        "EDM_DATA_UPGRADE",
        "GEOHAZ",
        "DLM",
        "DOWNLOAD_RDM",
    ]


_LAYER = {
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


def _mri_import(client: PublishedClient, folder: Path) -> int:
    for name in ("accounts.csv", "locations.csv"):
        (folder / name).write_text("ACCNTNUM\n1\n")
    job_id, _ = client.mri_import.submit_mri_import_job(
        "EDM_A", "PF_1", str(folder / "accounts.csv"), str(folder / "locations.csv")
    )
    return job_id


def _analysis(client: PublishedClient) -> int:
    job_id, _ = client.analysis.submit_portfolio_analysis_job(
        edm_name="EDM_A",
        portfolio_name="PF_1",
        job_name="ANL_1",
        analysis_profile_name="DLM CBHU v25",
        output_profile_name="Patched Portfolio Level Only",
        event_rate_scheme_name="RMS 2025 Stochastic Event Rates",
        treaty_names=["TR_1"],
        tag_names=["TAG_1"],
    )
    return job_id


def _treaty() -> dict[str, object]:
    return {
        "edm_name": "EDM_A",
        "treaty_name": "TR_1",
        "treaty_number": "1",
        "treaty_type": "Working Excess",
        "per_risk_limit": 1.0,
        "occurrence_limit": 1.0,
        "attachment_point": 1.0,
        "inception_date": "2026-01-01",
        "expiration_date": "2026-12-31",
        "currency_name": "US Dollar",
        "attachment_basis": "Losses Occurring",
        "attachment_level": "Location",
        "pct_covered": 100.0,
        "pct_placed": 95.0,
        "pct_share": 100.0,
        "pct_retention": 100.0,
        "premium": 1.0,
        "num_reinstatements": 99,
        "pct_reinstatement_charge": 0.0,
        "aggregate_limit": 1.0,
        "aggregate_deductible": 0.0,
        "priority": 1,
    }


def test_a_grouping_is_submitted(moodys, published):
    body = {
        "resourceType": "analyses",
        "resourceUris": ["/platform/riskdata/v1/analyses/1"],
        "settings": {"analysisName": "GRP_1"},
    }
    answer = published().client.request("POST", JOB_PATHS[Family.GROUPING], json=body)
    job_id = answer.headers["Location"].rsplit("/", 1)[-1]
    assert published().grouping.get_job(job_id=int(job_id))["name"] == "GRP_1"


# Credentials


def test_without_valid_credentials_the_gateway_answers_401(moodys):
    job_id = moodys.add_job("model", status="RUNNING")
    for wrong in ("", "wrong", "Bearer wrong", f"Bearer {moodys.access.api_key}"):
        answer = read(moodys, job_id, headers={"Authorization": wrong})
        assert (answer.status_code, answer.json()) == (401, {"message": "Unauthorized"})


def test_a_login_with_a_wrong_password_is_refused(moodys, published, monkeypatch):
    moodys.access.password = "another"
    environment = {**moodys.environment(bearer=True), "RISK_MODELER_PASSWORD": "wrong-one"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(IRPAuthenticationError) as caught:
        PublishedClient()
    caught.value.__traceback__ = None  # it holds the session
    assert caught.value.status_code == 401


def test_a_token_runs_out_after_an_hour_and_a_client_logs_in_again(moodys, published):
    job_id = moodys.add_job("model", status="RUNNING")
    client = published(bearer=True)
    moodys.advance(3599)
    client.analysis.get_analysis_job(int(job_id))
    assert moodys.statistics()["requests"]["auth"] == {"login": 1}
    moodys.advance(1)
    client.analysis.get_analysis_job(int(job_id))
    assert moodys.statistics()["requests"]["auth"] == {"login": 2}


def test_tokens_can_be_made_to_run_out(moodys, published):
    job_id = moodys.add_job("model", status="RUNNING")
    client = published(bearer=True)
    moodys.access.expire_tokens()
    assert client.analysis.get_analysis_job(int(job_id))["status"] == "RUNNING"
    assert moodys.statistics()["requests"]["auth"] == {"login": 2}


@pytest.mark.parametrize("group", ["", "no-uuid"])
def test_the_resource_group_goes_with_every_call(moodys, group):
    job_id = moodys.add_job("model", status="RUNNING")
    assert read(moodys, job_id, headers={"x-rms-resource-group-id": group}).status_code == 400


# Reading


def test_a_job_that_is_not_there_or_of_another_family_is_not_found(moodys):
    geohaz = moodys.add_job("geohaz", status="RUNNING")
    for job_id in (geohaz, "12345678", "no-number"):
        answer = read(moodys, job_id)
        assert answer.status_code == 404
        assert answer.json().keys() == {"code", "message", "logId"}


def test_a_search_answers_a_hundred_rows_unless_asked_otherwise(moodys):
    ids = moodys.add_jobs("model", 150, status="RUNNING")[::-1]

    def rows(**params):
        return [row["jobId"] for row in ask(moodys, MODEL_PATH, params=params).json()]

    assert rows() == ids[:100]
    assert rows(limit=2) == ids[:2]
    assert rows(limit=2, offset=1) == ids[1:3]  # records, not pages
    assert rows(filter=ids_filter(ids[:120])) == ids[:100]


@pytest.mark.parametrize("params", [{"filter": "jobId IN (1)"}, {"limit": "x"}, {"limit": 0}])
def test_a_search_that_makes_no_sense_is_refused(moodys, params):
    moodys.add_job("model", status="RUNNING")
    assert ask(moodys, MODEL_PATH, params=params).status_code == 400


@pytest.mark.parametrize("family", [Family.IMPORT, Family.GEOHAZ, Family.GROUPING])
def test_families_without_a_search_do_not_have_one(moodys, family):
    job_id = moodys.add_job(family, status="RUNNING")
    answer = ask(moodys, JOB_PATHS[family], params={"filter": ids_filter([job_id])})
    assert answer.status_code == 404


def test_a_query_that_is_too_long_gets_431(moodys):
    ids = moodys.add_jobs("model", 300, status="RUNNING")
    answer = ask(moodys, MODEL_PATH, params={"filter": ids_filter(ids[:100]), "limit": 100})
    assert len(answer.json()) == 100
    assert ask(moodys, MODEL_PATH, params={"filter": ids_filter(ids)}).status_code == 431


# Submitting


def test_a_submission_answers_with_an_absolute_or_a_relative_location(moodys):
    location = submit(moodys).headers["Location"]
    assert location.startswith(f"{moodys.url}{MODEL_PATH}/")
    moodys.relative_locations = True
    assert submit(moodys).headers["Location"].startswith(f"{MODEL_PATH}/")


def test_a_submitted_job_follows_the_script_for_its_name(moodys):
    script = Script(steps=(("QUEUED", 5), ("RUNNING", 5)), end="FAILED", reason="No hazard.")
    moodys.script(script, job_type="DLM", name="ANL_*", times=1)
    first, second = (submit(moodys).headers["Location"].rsplit("/", 1)[-1] for _ in range(2))
    moodys.advance(4)
    assert read(moodys, first).json()["status"] == "QUEUED"
    moodys.advance(6)
    assert failure_reason(read(moodys, first).json()) == "No hazard."
    assert read(moodys, second).json()["status"] == "FINISHED"


@pytest.mark.parametrize(
    "body", [{}, {**MODEL_BODY, "settings": {}}, {**MODEL_BODY, "settings": "x"}, ["x"], None]
)
def test_a_submission_that_lacks_something_is_refused_and_makes_no_job(moodys, body):
    answer = ask(moodys, MODEL_PATH, method="POST", json=body)
    assert answer.status_code == 400
    assert answer.json().keys() == {"code", "message", "logId"}
    assert moodys.statistics()["jobs"] == 0


def test_a_repeat_with_the_same_key_changes_nothing_and_is_answered_alike(moodys):
    key = str(uuid.uuid4())
    first, again = submit(moodys, key=key), submit(moodys, key=key)
    assert first.status_code == again.status_code == 201
    assert first.headers["Location"] == again.headers["Location"]
    assert moodys.statistics()["jobs"] == len(moodys.submissions) == 1
    assert submit(moodys, key=str(uuid.uuid4())).headers["Location"] != first.headers["Location"]


def test_a_refused_submission_needs_a_new_key(moodys):
    key = str(uuid.uuid4())
    assert submit(moodys, {"type": "DLM"}, key=key).status_code == 400
    assert submit(moodys, key=key).status_code == 400
    assert moodys.submissions == []
    assert submit(moodys, key=str(uuid.uuid4())).status_code == 201


def test_a_key_that_is_no_uuid_is_refused(moodys):
    assert submit(moodys, key="one").status_code == 400
    assert moodys.submissions == []


def test_a_repeat_while_the_first_is_in_progress_gets_409(moodys):
    key, answers = str(uuid.uuid4()), []
    hang = moodys.misbehave(Fault.HANG, kinds={Kind.SUBMIT}, times=1)
    first = threading.Thread(target=lambda: answers.append(submit(moodys, key=key)))
    first.start()
    wait_until(lambda: hang.hits == 1)
    assert submit(moodys, key=key).status_code == 409
    moodys.behave()
    first.join(PATIENCE)
    again = submit(moodys, key=key)
    assert again.headers["Location"] == answers[0].headers["Location"]
    assert len(moodys.submissions) == 1


def test_a_key_is_free_again_where_nothing_was_carried_out(moodys):
    key = str(uuid.uuid4())
    moodys.misbehave(Fault.HTTP_STATUS, http_status=503, times=1)
    assert submit(moodys, key=key).status_code == 503
    assert moodys.submissions == []
    assert submit(moodys, key=key).status_code == 201
    assert len(moodys.submissions) == 1


@pytest.mark.parametrize("fault", [Fault.HTTP_STATUS, Fault.RESET])
def test_a_submission_can_take_effect_although_its_answer_is_lost(moodys, fault):
    key = str(uuid.uuid4())
    moodys.misbehave(fault, kinds={"submit"}, carried_out=True, times=1)
    if fault is Fault.RESET:
        with pytest.raises(requests.ConnectionError):
            submit(moodys, key=key)
    else:
        assert submit(moodys, key=key).status_code == 503
    assert len(moodys.submissions) == 1
    assert submit(moodys, key=key).headers["Location"] == moodys.submissions[0].location
    assert len(moodys.submissions) == 1


# Misbehaving


@pytest.fixture
def job_id(moodys) -> str:
    return moodys.add_job("model", status="RUNNING", name="A job")


@pytest.mark.parametrize("http_status", [400, 404, 429, 500, 502, 503, 504])
def test_errors_have_moodys_shape(moodys, job_id, http_status):
    moodys.misbehave(Fault.HTTP_STATUS, http_status=http_status)
    answer = read(moodys, job_id)
    assert answer.status_code == http_status
    assert answer.json().keys() == {"code", "message", "logId"}
    assert "Retry-After" not in answer.headers


def test_throttling_may_say_when_to_come_again(moodys, job_id):
    moodys.misbehave(Fault.HTTP_STATUS, http_status=429, retry_after="7")
    assert read(moodys, job_id).headers["Retry-After"] == "7"


def test_a_204_has_no_body(moodys, job_id):
    moodys.misbehave(Fault.HTTP_STATUS, http_status=204)
    answer = read(moodys, job_id)
    assert (answer.status_code, answer.content) == (204, b"")


def test_a_401_has_the_gateways_shape(moodys, job_id):
    moodys.misbehave(Fault.HTTP_STATUS, http_status=401)
    assert read(moodys, job_id).json() == {"message": "Unauthorized"}


def test_the_network_in_front_denies_access_with_a_page(moodys, job_id):
    moodys.misbehave(Fault.HTML_403)
    answer = read(moodys, job_id)
    assert answer.status_code == 403
    assert answer.headers["Content-Type"].startswith("text/html")
    assert answer.text.startswith("<!DOCTYPE html>")


def test_latency_delays_an_answer_and_does_not_change_it(moodys, job_id):
    moodys.misbehave(Fault.LATENCY, seconds=0.3)
    began = time.monotonic()
    assert read(moodys, job_id).json()["status"] == "RUNNING"
    assert time.monotonic() - began >= 0.3


def test_a_hanging_request_is_answered_when_the_misbehaviour_is_lifted(moodys, job_id):
    hang = moodys.misbehave(Fault.HANG)
    with pytest.raises(requests.ReadTimeout):
        read(moodys, job_id, timeout=0.2)
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(read(moodys, job_id)))
    waiting.start()
    wait_until(lambda: hang.hits == 2)
    moodys.behave(hang)
    waiting.join(PATIENCE)
    assert answers[0].json()["status"] == "RUNNING"


def test_a_submission_that_nobody_waits_for_any_more_is_not_carried_out(moodys):
    hang = moodys.misbehave(Fault.HANG, times=1)
    with pytest.raises(requests.ReadTimeout):
        ask(moodys, MODEL_PATH, method="POST", json=MODEL_BODY, timeout=0.2)
    wait_until(lambda: hang.hits == 1)
    wait_until(lambda: moodys.in_flight == 0)
    assert moodys.submissions == []


def test_a_reset_breaks_the_connection(moodys, job_id):
    moodys.misbehave(Fault.RESET, times=1)
    with pytest.raises(requests.ConnectionError, match="reset by peer"):
        read(moodys, job_id)
    assert read(moodys, job_id).status_code == 200


def test_a_truncated_answer_ends_before_its_announced_length(moodys, job_id):
    moodys.misbehave(Fault.TRUNCATED)
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        read(moodys, job_id)


def test_a_dripping_answer_comes_in_pieces_until_it_is_whole(moodys, job_id):
    plain = read(moodys, job_id).json()
    moodys.misbehave(Fault.SLOW_DRIP, seconds=0.002)
    began = time.monotonic()
    assert read(moodys, job_id).json() == plain
    assert time.monotonic() - began >= 0.3  # some 200 pieces


def test_lifting_ends_a_drip(moodys, job_id):
    drip = moodys.misbehave(Fault.SLOW_DRIP, seconds=0.2)  # would take 40 s
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(read(moodys, job_id)))
    waiting.start()
    wait_until(lambda: drip.hits == 1)
    moodys.behave(drip)
    waiting.join(PATIENCE)
    assert answers[0].json()["jobId"] == job_id


@pytest.mark.parametrize("kind", ["by-id", "search"])
def test_malformed_json_is_no_json(moodys, job_id, kind):
    moodys.misbehave(Fault.MALFORMED_JSON, kinds={kind})
    answer = read(moodys, job_id) if kind == "by-id" else ask(moodys, MODEL_PATH)
    assert answer.status_code == 200
    with pytest.raises(requests.JSONDecodeError):
        answer.json()


def test_odd_json_is_json_all_the_same(moodys, job_id):
    plain = read(moodys, job_id).json()
    for fault, expected in {
        Fault.NOT_AN_OBJECT: "Service is under maintenance",
        Fault.HUGE: plain,
        Fault.UNKNOWN_STATUS: {**plain, "status": "ARCHIVED"},
        Fault.LOWER_CASE_STATUS: {**plain, "status": "running"},
        Fault.NO_STATUS: {k: v for k, v in plain.items() if k != "status"},
        Fault.WRONG_JOB_ID: {**plain, "jobId": str(int(job_id) + 1)},
        Fault.NUL: {**plain, "name": "half a\0name"},
        Fault.LONE_SURROGATE: {**plain, "name": "half a character \ud83d"},
    }.items():
        rule = moodys.misbehave(fault)
        assert read(moodys, job_id).json() == expected, fault
        moodys.behave(rule)


def test_a_huge_answer_is_as_large_as_it_is_meant_to_be(moodys, job_id):
    moodys.misbehave(Fault.HUGE, size_bytes=5_000_000)
    assert len(read(moodys, job_id).content) == 5_000_000


def test_a_search_can_leave_jobs_out_or_ignore_its_filter(moodys):
    ids = moodys.add_jobs("model", 4, status="RUNNING")

    def found() -> list[str]:
        rows = ask(moodys, MODEL_PATH, params={"filter": ids_filter(ids[:2])}).json()
        return [row["jobId"] for row in rows]

    moodys.misbehave(Fault.IDS_MISSING, job_ids={ids[0]}, times=1)
    assert found() == [ids[1]]
    moodys.misbehave(Fault.FILTER_IGNORED, kinds={"search"}, times=1)
    assert found() == ids[::-1]
    assert found() == [ids[1], ids[0]]


def test_a_misbehaviour_hits_its_family_kind_and_jobs_only(moodys, job_id):
    other, geohaz = moodys.add_job("model", status="RUNNING"), moodys.add_job("geohaz")
    moodys.misbehave(Fault.HTTP_STATUS, families={"model"}, kinds={"by-id"}, job_ids={job_id})
    assert read(moodys, job_id).status_code == 503
    assert read(moodys, other).status_code == 200
    assert ask(moodys, MODEL_PATH, params={"filter": ids_filter([job_id])}).status_code == 200
    assert ask(moodys, f"/platform/geohaz/v1/jobs/{geohaz}").status_code == 200


def test_a_host_that_is_down_refuses_connections_and_comes_back(moodys, job_id):
    control(moodys.url, "POST", "refuse", {"seconds": 1.0})
    with pytest.raises(requests.ConnectionError, match="refused"):
        read(moodys, job_id)
    moodys.refuse_connections(0.5)  # told again: now for half a second more
    wait_until(lambda: accepts(moodys))
    assert read(moodys, job_id).status_code == 200


def accepts(moodys: MoodysStandIn) -> bool:
    location = urlsplit(moodys.url)
    try:
        socket.create_connection((location.hostname, location.port), timeout=PATIENCE).close()
    except ConnectionRefusedError:
        return False
    return True


def test_a_host_that_is_down_can_be_stopped(moodys):
    moodys.refuse_connections(60)
    moodys.stop()
    assert not accepts(moodys)


# Counting, and control from outside


def test_requests_and_connections_are_counted(moodys, job_id):
    read(moodys, job_id)
    read(moodys, "12345678")
    ask(moodys, MODEL_PATH)
    submit(moodys)
    counted = moodys.statistics()
    assert counted["requests"] == {"model": {"by-id": 2, "search": 1, "submit": 1}}
    assert counted["requests_total"] == counted["connections"] == 4
    assert counted["requests_by_job"] == {job_id: 1, "12345678": 1}
    assert (counted["jobs"], counted["submissions"]) == (2, 1)
    assert counted["jobs_by_status"] == {"RUNNING": 1, "QUEUED": 1}


def test_a_connection_that_is_kept_counts_once(moodys, published, job_id):
    client = published()
    for _ in range(3):
        client.analysis.get_analysis_job(int(job_id))
    assert moodys.statistics()["connections"] == 1


def test_everything_can_be_reported_from_outside(moodys):
    def tell(method, path, body=None):
        return control(moodys.url, method, path, body)

    ids = tell("POST", "jobs", {"family": "model", "status": "RUNNING", "count": 3})["jobIds"]
    (own,) = tell("POST", "jobs", {"family": "geohaz", "script": RUNNING, "job_id": 7})["jobIds"]
    tell("PATCH", f"jobs/{ids[0]}", {"status": "FAILED", "reason": "No hazard."})
    assert failure_reason(read(moodys, ids[0]).json()) == "No hazard."
    tell("PATCH", f"jobs/{ids[1]}", {"script": {"steps": [["CANCELLING", 5]], "end": "CANCELLED"}})
    tell("POST", "advance", {"seconds": 5})
    listed = {job["jobId"]: job["status"] for job in tell("GET", "jobs")}
    assert listed == {ids[0]: "FAILED", ids[1]: "CANCELLED", ids[2]: "RUNNING", own: "RUNNING"}
    assert [job["jobId"] for job in tell("GET", "jobs?family=geohaz")] == ["7"]

    tell("POST", "settings", {"relative_locations": True, "time_scale": 0.5, "token_seconds": 9})
    tell("POST", "scripts", {"script": {"end": "FAILED"}, "name": "ANL_*"})
    assert submit(moodys).headers["Location"].startswith("/")
    assert tell("GET", "submissions")[0]["name"] == "ANL_1"
    tell("POST", "advance", {"seconds": 0.7})  # half of the default script
    assert tell("GET", "jobs")[-1]["status"] == "FAILED"
    tell("DELETE", "scripts")
    tell("POST", "expire-tokens")

    message = tell(
        "POST", "misbehaviours", {"fault": "http-status", "http_status": 429, "times": 9}
    )
    assert (message["http_status"], message["hits"]) == (429, 0)
    assert read(moodys, ids[0]).status_code == 429
    assert tell("GET", "misbehaviours")[0]["hits"] == 1
    tell("DELETE", "misbehaviours")
    assert read(moodys, ids[0]).status_code == 200

    assert tell("GET", "statistics")["requests"]["model"]["by-id"] == 3
    tell("POST", "reset")
    after = tell("GET", "statistics")
    assert (after["jobs"], after["submissions"], after["requests"]) == (0, 0, {})
    assert read(moodys, ids[0]).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "misbehaviours", {"fault": "no-such-fault"}),
        ("POST", "misbehaviours", {"fault": "reset", "nonsense": 1}),
        ("POST", "misbehaviours", {"fault": "reset", "families": "model"}),
        ("POST", "jobs", {"family": "no-such-family"}),
        ("POST", "jobs", {}),
        ("PATCH", "jobs/1", {"status": "FAILED"}),
        ("POST", "scripts", {"script": {"steps": "x"}}),
        ("POST", "settings", {"nonsense": 1}),
        ("POST", "advance", {}),
        ("POST", "refuse", {"seconds": "soon"}),
    ],
)
def test_what_cannot_be_reported_is_refused_and_changes_nothing(moodys, method, path, body):
    with pytest.raises(ValueError, match="Error"):
        control(moodys.url, method, path, body)
    assert moodys.misbehaviours.all() == []
    assert moodys.jobs.all() == []


# Being served


def test_answers_on_a_kept_connection_do_not_wait_for_an_acknowledgement(moodys, published, job_id):
    client = published()
    client.analysis.get_analysis_job(int(job_id))
    connections = moodys.app.state.listener.server.server_state.connections
    kept = [one.transport.get_extra_info("socket") for one in connections]
    assert kept
    assert all(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for one in kept)


def serving() -> int:
    """How many stand-ins of this process have a thread that serves."""
    return sum(thread.name == "sandbox" for thread in threading.enumerate())


def test_stopping_does_not_wait_for_requests_that_hang(job_id, moodys):
    moodys.misbehave(Fault.HANG)
    failures = []

    def fail() -> None:
        try:
            failures.append(read(moodys, job_id))
        except requests.RequestException as exc:
            failures.append(exc)

    waiting = threading.Thread(target=fail)
    waiting.start()
    wait_until(lambda: moodys.in_flight == 1)
    others = serving() - 1  # other tests of this process may have one that goes on
    moodys.stop()  # a request that hangs does so for ever
    assert serving() == others
    waiting.join(PATIENCE)
    assert len(failures) == 1


def test_a_stand_in_that_does_not_run_has_no_url():
    stand_in = MoodysStandIn()
    with pytest.raises(RuntimeError, match="not running"):
        _ = stand_in.url
    with pytest.raises(RuntimeError, match="not running"):
        stand_in.refuse_connections(1)


def test_a_process_serves_and_ends_when_asked(job_id):
    with start_process("sandbox.moodys", "--latency", "0.01") as server:
        (own,) = server.control("POST", "jobs", {"family": "model", "status": "RUNNING"})["jobIds"]
        assert server.control("GET", "jobs")[0]["jobId"] == own
        assert server.control("GET", "misbehaviours")[0]["fault"] == "latency"
        assert urlsplit(server.url).hostname == "127.0.0.1"
    assert server.process.returncode is not None
    assert not psutil.pid_exists(server.pid)


def test_a_process_that_cannot_start_is_an_error():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(RuntimeError, match="did not start"):
            start_process("sandbox.moodys", "--port", str(taken.getsockname()[1]))


def test_a_process_ends_when_its_parent_is_killed():
    program = (
        "import time\nfrom sandbox.server import start_process\n"
        "server = start_process('sandbox.moodys')\n"
        "print(server.pid, flush=True)\ntime.sleep(600)\n"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        server = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        gone, _ = psutil.wait_procs([server], timeout=PATIENCE)
    assert gone == [server]


def test_the_published_client_reports_a_404_as_one(moodys, published):
    with pytest.raises(IRPAPIError) as caught:
        published().analysis.get_analysis_job(12345678)
    assert caught.value.status_code == 404

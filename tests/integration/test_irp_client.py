import logging
import socket
import threading
import time

import pytest

from helpers.constants import Family
from helpers.errors import MoodysCredentialsError, MoodysError, SettingsError
from helpers.irp_integration import IRPClient, client, login, transport
from helpers.irp_integration.bodies import MAX_READ_BYTES
from helpers.settings import get_settings
from sandbox.misbehaviour import Fault
from tests.support.waiting import wait_until


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(transport, "_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(transport, "READ_SECONDS", 0.5)


@pytest.fixture
def irp_client(moodys):
    with IRPClient(connections=4) as made:
        yield made


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("kind", [int, str])
def test_each_family_is_read_where_moodys_keeps_it(irp_client, moodys, family, kind):
    part = family.jobs_path.split("/")[2]
    workflow_id = moodys.add_job(part, status="RUNNING")

    body = client.job_reader(irp_client, family)(kind(workflow_id))

    assert (str(body["jobId"]), body["status"]) == (str(workflow_id), "RUNNING")
    assert moodys.statistics()["requests"] == {part: {"by-id": 1}}


@pytest.mark.parametrize(
    "workflow_id", ["N/A", "", "1/../2", "1?x=2", "-1", "٣", "0", -1, 0, None, 1.5, True]
)
def test_an_id_that_is_no_number_is_refused_before_it_is_asked(irp_client, moodys, workflow_id):
    with pytest.raises(MoodysError, match="is not a valid job id"):
        irp_client.analysis.get_analysis_job(workflow_id)

    assert moodys.statistics()["requests_total"] == 0


@pytest.mark.parametrize(
    ("fault", "tries"),
    [
        # a second try may help
        ({"fault": Fault.HTTP_STATUS, "http_status": 503}, 2),
        ({"fault": Fault.HTTP_STATUS, "http_status": 429, "retry_after": "0"}, 2),
        ({"fault": Fault.RESET}, 2),
        # it would not: the host wants us to wait, or has answered
        ({"fault": Fault.HTTP_STATUS, "http_status": 429, "retry_after": "60"}, 1),
        ({"fault": Fault.HTTP_STATUS, "http_status": 404}, 1),
        ({"fault": Fault.HTTP_STATUS, "http_status": 401}, 1),
        ({"fault": Fault.HTML_403}, 1),
        ({"fault": Fault.HANG}, 1),
        ({"fault": Fault.MALFORMED_JSON}, 1),
    ],
)
def test_a_question_is_asked_at_most_twice(irp_client, moodys, fault, tries):
    workflow_id = moodys.add_job("model", status="RUNNING")
    misbehaviour = moodys.misbehave(**fault)

    with pytest.raises(MoodysError):
        irp_client.analysis.get_analysis_job(workflow_id)

    assert misbehaviour.hits == tries


def test_one_bad_answer_is_bridged(irp_client, moodys):
    workflow_id = moodys.add_job("model", status="RUNNING")
    moodys.misbehave(Fault.HTTP_STATUS, http_status=502, times=1)

    assert irp_client.analysis.get_analysis_job(workflow_id)["status"] == "RUNNING"


def test_an_answer_that_drips_in_is_given_up_in_time(irp_client, moodys):
    workflow_id = moodys.add_job("model", status="RUNNING")
    moodys.misbehave(Fault.SLOW_DRIP, seconds=0.1)

    with pytest.raises(MoodysError, match="in time"):
        irp_client.analysis.get_analysis_job(workflow_id)


def test_no_more_is_read_than_a_job_can_be(irp_client, moodys, monkeypatch):
    monkeypatch.setattr(transport, "READ_SECONDS", 60.0)
    workflow_id = moodys.add_job("model", status="RUNNING")
    moodys.misbehave(Fault.HUGE, size_bytes=2 * MAX_READ_BYTES)

    raw = irp_client.transport.get(f"/platform/model/v1/jobs/{workflow_id}")

    assert MAX_READ_BYTES < len(raw.content) < MAX_READ_BYTES + 1024**2


def test_nothing_is_asked_past_the_deadline(irp_client, moodys):
    with pytest.raises(MoodysError, match="no time left"):
        irp_client.transport.get("/platform/model/v1/jobs/1", deadline=time.monotonic() - 1)

    assert moodys.statistics()["requests_total"] == 0


def test_no_second_try_goes_past_the_deadline(irp_client, moodys, monkeypatch):
    monkeypatch.setattr(transport, "_PAUSE_SECONDS", 4.0)
    misbehaviour = moodys.misbehave(Fault.HTTP_STATUS, http_status=503)

    raw = irp_client.transport.get("/platform/model/v1/jobs/1", deadline=time.monotonic() + 1)

    assert (raw.http_status, misbehaviour.hits) == (503, 1)


def test_credentials_are_not_carried_to_where_a_redirect_points(irp_client, moodys):
    moodys.misbehave(Fault.HTTP_STATUS, http_status=302)

    with pytest.raises(MoodysError, match="302"):
        irp_client.analysis.get_analysis_job(1)


def test_a_host_that_refuses_connections_is_named(irp_client, moodys):
    irp_client.transport.get("/platform/model/v1/jobs/1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    irp_client.published.client.base_url = f"http://127.0.0.1:{port}"

    with pytest.raises(MoodysError, match="connection was refused") as caught:
        irp_client.analysis.get_analysis_job(1)

    assert caught.value.http_status is None


def test_a_host_that_nobody_knows_is_named(irp_client):
    irp_client.published.client.base_url = "http://moodys.invalid"

    with pytest.raises(MoodysError, match="RISK_MODELER_BASE_URL is unknown"):
        irp_client.analysis.get_analysis_job(1)


def test_a_base_url_that_is_none_is_named(irp_client):
    irp_client.published.client.base_url = "moodys"

    with pytest.raises(MoodysError, match="Moody's cannot be asked"):
        irp_client.analysis.get_analysis_job(1)


def test_connections_are_used_again(irp_client, moodys):
    workflow_id = moodys.add_job("model", status="RUNNING")
    for _ in range(20):
        irp_client.analysis.get_analysis_job(workflow_id)

    assert moodys.statistics()["connections"] == 1


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        (["RISK_MODELER_BASE_URL"], ["RISK_MODELER_BASE_URL"]),
        (["RISK_MODELER_RESOURCE_GROUP_ID"], ["RISK_MODELER_RESOURCE_GROUP_ID"]),
        (["RISK_MODELER_API_KEY"], ["RISK_MODELER_API_KEY", "RISK_MODELER_PASSWORD"]),
        (
            ["RISK_MODELER_BASE_URL", "RISK_MODELER_API_KEY"],
            ["RISK_MODELER_BASE_URL", "RISK_MODELER_API_KEY"],
        ),
    ],
)
def test_what_the_settings_lack_is_named_all_at_once(moodys, monkeypatch, missing, named):
    for name in missing:
        monkeypatch.delenv(name)
    get_settings.cache_clear()

    with pytest.raises(SettingsError) as caught:
        IRPClient()

    for name in named:
        assert name in str(caught.value)
    assert moodys.statistics()["requests_total"] == 0


@pytest.fixture
def bearer(moodys, monkeypatch):
    monkeypatch.setattr(transport, "READ_SECONDS", 10.0)
    monkeypatch.delenv("RISK_MODELER_API_KEY")
    for name, value in moodys.environment(bearer=True).items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    return moodys


def test_a_token_that_ran_out_is_renewed_once_for_all_threads(bearer):
    workflow_id = bearer.add_job("model", status="RUNNING")
    with IRPClient(connections=8) as made:
        bearer.access.expire_tokens()
        statuses: list[str] = []
        barrier = threading.Barrier(8)

        def read() -> None:
            barrier.wait()
            statuses.append(made.analysis.get_analysis_job(workflow_id)["status"])

        threads = [threading.Thread(target=read) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)

    assert statuses == ["RUNNING"] * 8
    logins = sum(kinds.get("login", 0) for kinds in bearer.statistics()["requests"].values())
    assert logins == 2  # the first, and the one after the tokens ran out


def test_a_login_that_is_rejected_is_described_without_the_password(bearer, monkeypatch, caplog):
    monkeypatch.setenv("RISK_MODELER_PASSWORD", "hunter2-password")
    get_settings.cache_clear()

    with caplog.at_level(logging.DEBUG), pytest.raises(MoodysCredentialsError) as caught:
        IRPClient()

    assert "RISK_MODELER_PASSWORD" in str(caught.value)
    assert "hunter2" not in str(caught.value) + caplog.text
    assert caught.value.__cause__ is None


def test_a_login_that_hangs_is_given_up(bearer, monkeypatch):
    monkeypatch.setattr(login, "_LOGIN_SECONDS", 0.3)
    hanging = bearer.misbehave(Fault.HANG, kinds={"login"})

    with pytest.raises(MoodysCredentialsError, match="did not answer the login within"):
        IRPClient()

    bearer.behave(hanging)
    # the thread that was left to itself ends with its answer
    wait_until(lambda: not [t for t in threading.enumerate() if t.name == "login"])


def test_a_login_that_fails_on_the_way_speaks_of_the_host_and_not_of_the_credentials(bearer):
    bearer.add_job("model", status="RUNNING", job_id=23148952)
    with IRPClient(connections=1) as made:
        bearer.access.expire_tokens()
        bearer.misbehave(Fault.HTTP_STATUS, http_status=503, kinds={"login"})

        with pytest.raises(MoodysError) as caught:
            made.analysis.get_analysis_job(23148952)

    assert not isinstance(caught.value, MoodysCredentialsError)
    assert caught.value.http_status is None

"""What goes out, and how patient we are with what comes back, without a socket."""

import json

import pytest
import responses

from helpers.errors import MoodysError, SettingsError
from helpers.irp_integration import IRPClient, transport
from helpers.settings import get_settings

BASE = "https://api-euw1.rms.example"
JOBS = f"{BASE}/platform/model/v1/jobs"
JOB = {"jobId": "23148952", "status": "RUNNING"}
KEY = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    """Seconds that were waited, without waiting."""
    seconds: list[float] = []
    monkeypatch.setattr(transport.time, "sleep", seconds.append)
    return seconds


@pytest.fixture
def client(monkeypatch):
    monkeypatch.setenv("RISK_MODELER_BASE_URL", f"{BASE}/")
    monkeypatch.setenv("RISK_MODELER_RESOURCE_GROUP_ID", "group-1")
    monkeypatch.setenv("RISK_MODELER_API_KEY", "the-raw-key")
    get_settings.cache_clear()
    with IRPClient(connections=2) as made:
        yield made


@responses.activate
def test_every_question_carries_the_raw_key_and_the_resource_group(client):
    responses.get(f"{JOBS}/23148952", json=JOB)

    assert client.analysis.get_analysis_job(23148952) == JOB

    headers = responses.calls[0].request.headers
    assert headers["Authorization"] == "the-raw-key"
    assert headers["x-rms-resource-group-id"] == "group-1"
    assert "x-rms-requestid" not in headers


@responses.activate
def test_a_submission_carries_its_key_on_every_try(client, waits):
    responses.post(JOBS, status=503)
    responses.post(JOBS, status=201, headers={"Location": "/platform/model/v1/jobs/5"})

    raw = client.submit("POST", "/platform/model/v1/jobs", body={"a": 1}, request_id=KEY)

    assert (raw.http_status, raw.headers["Location"]) == (201, "/platform/model/v1/jobs/5")
    assert [call.request.headers["x-rms-requestid"] for call in responses.calls] == [KEY, KEY]
    assert [json.loads(call.request.body) for call in responses.calls] == [{"a": 1}] * 2


@pytest.mark.parametrize(
    ("headers", "waited"),
    [
        # not said, or not in a form that is known: a short pause
        ({}, [0.5]),
        ({"Retry-After": "-5"}, [0.5]),
        ({"Retry-After": "soon"}, [0.5]),
        # as long as the host asks for
        ({"Retry-After": "0"}, [0.0]),
        ({"Retry-After": "3"}, [3.0]),
        # a date, by the host's own clock
        (
            {
                "Retry-After": "Wed, 21 Oct 2026 07:28:02 GMT",
                "Date": "Wed, 21 Oct 2026 07:28:00 GMT",
            },
            [2.0],
        ),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, [0.0]),
        # longer than a call can wait
        ({"Retry-After": "6"}, []),
        ({"Retry-After": "9" * 400}, []),
        ({"Retry-After": "Wed, 21 Oct 2099 07:28:00 GMT"}, []),
    ],
)
@responses.activate
def test_a_throttled_question_waits_as_long_as_the_host_asks_for(client, waits, headers, waited):
    responses.get(f"{JOBS}/1", status=429, headers=headers)

    with pytest.raises(MoodysError, match="fewer requests"):
        client.analysis.get_analysis_job(1)

    assert waits == waited
    assert len(responses.calls) == len(waited) + 1


@pytest.mark.parametrize(
    ("http_status", "asked"),
    [(500, 2), (502, 2), (504, 2), (204, 1), (400, 1), (404, 1), (409, 1), (431, 1)],
)
@responses.activate
def test_only_a_host_in_trouble_is_asked_again(client, waits, http_status, asked):
    responses.get(f"{JOBS}/1", status=http_status)

    with pytest.raises(MoodysError):
        client.analysis.get_analysis_job(1)

    assert len(responses.calls) == asked


@responses.activate
def test_a_redirect_is_not_followed(client):
    responses.get(f"{JOBS}/1", status=302, headers={"Location": "https://elsewhere.example/x"})

    with pytest.raises(MoodysError, match="302"):
        client.analysis.get_analysis_job(1)

    assert len(responses.calls) == 1


def test_the_settings_are_asked_for_before_anything_is_sent():
    with pytest.raises(SettingsError, match="RISK_MODELER_BASE_URL"):
        IRPClient()

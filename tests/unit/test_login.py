"""How we log in at Moody's, and where the credentials go, without a socket."""

import pytest
import responses

from helpers.errors import MoodysCredentialsError
from helpers.irp_integration import IRPClient, transport
from helpers.redaction import redact
from helpers.settings import get_settings

BASE = "https://api-euw1.rms.example"
LOGIN = f"{BASE}/sml/auth/v1/login/implicit"
ELSEWHERE = "https://elsewhere.example/sml/auth/v1/login/implicit"
UPGRADE = f"{BASE}/platform/riskdata/v1/exposures/7/upgrade"  # takes POST only
KEY = "11111111-2222-3333-4444-555555555555"


@pytest.fixture(autouse=True)
def bearer(monkeypatch):
    for name, value in {
        "BASE_URL": BASE,
        "RESOURCE_GROUP_ID": "group-1",
        "TENANT_NAME": "tenant-1",
        "USERNAME": "analyst-1",
        "PASSWORD": "hunter2-password",
    }.items():
        monkeypatch.setenv(f"RISK_MODELER_{name}", value)
    monkeypatch.setattr(transport, "_PAUSE_SECONDS", 0.0)
    get_settings.cache_clear()


def tokens(number: int) -> dict[str, object]:
    return {
        "accessToken": f"live-access-token-{number}",
        "tokenType": "Bearer",
        "refreshToken": f"live-refresh-token-{number}",
        "expiresIn": 3600,
    }


def sent() -> list[tuple[str, str]]:
    return [(call.request.method, call.request.url) for call in responses.calls]


def submit(client: IRPClient) -> transport.Raw:
    return client.submit("POST", UPGRADE.removeprefix(BASE), body={}, request_id=KEY)


@responses.activate
def test_an_expired_token_is_renewed_by_logging_in_for_a_path_that_takes_post_only():
    responses.post(LOGIN, json=tokens(1))
    responses.post(LOGIN, json=tokens(2))
    responses.post(UPGRADE, status=401, json={"message": "Unauthorized"})
    responses.post(UPGRADE, status=201, headers={"Location": "/platform/riskdata/v1/jobs/7"})

    with IRPClient(connections=1) as client:
        raw = submit(client)

    assert raw.http_status == 201
    assert sent() == [("POST", LOGIN), ("POST", UPGRADE), ("POST", LOGIN), ("POST", UPGRADE)]
    first, second = (call.request for call in responses.calls if call.request.url == UPGRADE)
    assert second.headers["Authorization"] == "Bearer live-access-token-2"
    assert first.headers["x-rms-requestid"] == second.headers["x-rms-requestid"] == KEY


@responses.activate
def test_the_published_client_s_own_calls_log_in_our_way():
    responses.post(LOGIN, json=tokens(1))
    responses.get(f"{BASE}/x", status=401)
    responses.add(responses.POST, LOGIN, status=307, headers={"Location": ELSEWHERE})
    responses.post(ELSEWHERE, json=tokens(2))

    with IRPClient(connections=1) as client, pytest.raises(Exception, match="redirect to"):
        client.published.client.request("GET", "/x")

    assert ELSEWHERE not in {url for _, url in sent()}


@pytest.mark.parametrize("http_status", [301, 302, 303, 307, 308])
@responses.activate
def test_no_redirect_of_a_login_is_followed(http_status):
    responses.post(LOGIN, status=http_status, headers={"Location": f"{ELSEWHERE}?next=1"})
    responses.post(ELSEWHERE, json=tokens(1))
    responses.get(ELSEWHERE, json=tokens(1))

    with pytest.raises(MoodysCredentialsError) as caught:
        IRPClient()

    assert sent() == [("POST", LOGIN)]
    assert f"answered {http_status}, a redirect to {ELSEWHERE}, where no" in str(caught.value)
    assert "RISK_MODELER_BASE_URL" in str(caught.value)


@responses.activate
def test_no_redirect_of_a_renewal_is_followed():
    responses.post(LOGIN, json=tokens(1))
    responses.post(LOGIN, status=307, headers={"Location": ELSEWHERE})
    responses.post(UPGRADE, status=401)
    responses.post(ELSEWHERE, json=tokens(2))

    with IRPClient(connections=1) as client, pytest.raises(MoodysCredentialsError, match="307"):
        submit(client)

    assert ELSEWHERE not in {url for _, url in sent()}


@responses.activate
def test_the_tokens_of_every_login_are_kept_out_of_every_text():
    responses.post(LOGIN, json=tokens(1))
    responses.post(LOGIN, json=tokens(2))
    responses.post(UPGRADE, status=401)
    responses.post(UPGRADE, status=201)

    with IRPClient(connections=1) as client:
        submit(client)

    for number in (1, 2):
        for token in (f"live-access-token-{number}", f"live-refresh-token-{number}"):
            assert redact(f"you sent {token}.") == "you sent ***."


@pytest.mark.parametrize(
    "answer",
    [
        {"body": "[]"},
        {"body": "null"},
        {"body": "<html>"},
        {"json": {}},
        {"json": {"accessToken": ""}},
        {"json": {"accessToken": 7}},
        # would be another header, or none that can be sent
        {"json": {"accessToken": "a\r\nX-Other: b"}},
        {"json": {"accessToken": "abc", "tokenType": ["Bearer"]}},
        # a token under a redirect
        {"json": {"accessToken": "abc"}, "status": 302, "headers": {"Location": ELSEWHERE}},
    ],
)
@responses.activate
def test_a_login_answer_that_holds_no_token_is_an_error(answer):
    responses.post(LOGIN, **answer)

    with pytest.raises(MoodysCredentialsError, match="The login at Moody's failed"):
        IRPClient()


@responses.activate
def test_a_login_is_not_answered_from_a_netrc(monkeypatch, tmp_path):
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine api-euw1.rms.example login someone password elses")
    monkeypatch.setenv("NETRC", str(netrc))
    responses.post(LOGIN, json=tokens(1))

    IRPClient(connections=1).transport.close()

    assert "Authorization" not in responses.calls[0].request.headers

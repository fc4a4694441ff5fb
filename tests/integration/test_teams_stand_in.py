"""The stand-in for a Teams webhook takes what Teams would show, and nothing else."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit, urlunsplit

import pymsteams
import pytest
import requests

from sandbox.misbehaviour import Fault
from sandbox.server import control, start_process
from sandbox.teams import MOST_BYTES, TeamsStandIn

PATIENCE = 10.0


@pytest.fixture
def teams() -> Iterator[TeamsStandIn]:
    with TeamsStandIn() as stand_in:
        yield stand_in


def message(**card) -> dict:
    text = {"type": "TextBlock", "text": "A batch failed."}
    content = {"type": "AdaptiveCard", "version": "1.4", "body": [text], **card}
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": content,
    }
    return {"type": "message", "attachments": [attachment]}


def post(url: str, body=None, **request) -> requests.Response:
    given = request or {"json": message() if body is None else body}
    with requests.Session() as session:
        session.trust_env = False
        return session.post(url, **{"timeout": PATIENCE, **given})


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def test_a_card_is_accepted_with_202_and_an_empty_body_and_kept(teams):
    answer = post(teams.webhook_url)
    assert (answer.status_code, answer.content) == (202, b"")
    assert teams.messages == [message()]


def test_pymsteams_sends_a_card_to_it(teams):
    connector = pymsteams.connectorcard(teams.webhook_url)
    connector.payload = message()
    assert connector.send()
    assert teams.messages == [message()]


@pytest.mark.parametrize("version", ["1.0", "1.2", "1.4"])
def test_cards_up_to_version_1_4_are_shown(teams, version):
    assert post(teams.webhook_url, message(version=version)).status_code == 202


@pytest.mark.parametrize(
    "body",
    [
        {"@type": "MessageCard", "title": "retired", "text": "retired"},
        {**message(), "type": "card"},
        {"type": "message"},
        {"type": "message", "attachments": []},
        {"type": "message", "attachments": ["x"]},
        {"type": "message", "attachments": [{"contentType": "text/html", "content": {}}]},
        message(type="Card"),
        message(body=[]),
        message(body="x"),
        message(version="1.5"),
        message(version="1.10"),
        message(version=1.4),
        message(version="1.x"),
        message(version=None),
        ["x"],
    ],
)
def test_what_teams_would_not_show_is_refused_and_not_kept(teams, body):
    answer = post(teams.webhook_url, body)
    assert answer.status_code == 400
    assert answer.json()["error"].keys() == {"code", "message"}
    assert teams.messages == []


def test_what_is_no_json_is_refused(teams):
    assert post(teams.webhook_url, data=b"{").status_code == 400


def test_a_message_may_have_28_kilobytes_and_not_one_more(teams):
    padding = MOST_BYTES - len(post_body(""))
    assert post(teams.webhook_url, data=post_body("x" * padding)).status_code == 202
    assert post(teams.webhook_url, data=post_body("x" * (padding + 1))).status_code == 413
    assert len(teams.messages) == 1


def post_body(text: str) -> bytes:
    body = message(body=[{"type": "TextBlock", "text": text}])
    request = requests.Request("POST", "http://x", json=body).prepare()
    assert isinstance(request.body, bytes)
    return request.body


def test_without_the_signature_nothing_is_taken(teams):
    parts = urlsplit(teams.webhook_url)
    for query in ("", "sig=wrong", parts.query[:-1]):
        assert post(urlunsplit(parts._replace(query=query))).status_code == 401
    assert teams.messages == []


@pytest.mark.parametrize("http_status", [500, 429])
def test_it_can_fail_and_then_takes_nothing(teams, http_status):
    teams.misbehave(Fault.HTTP_STATUS, http_status=http_status, retry_after="3", times=1)
    answer = post(teams.webhook_url)
    assert (answer.status_code, answer.headers["Retry-After"]) == (http_status, "3")
    assert teams.messages == []
    assert post(teams.webhook_url).status_code == 202


def test_it_can_reset_before_or_after_it_has_taken_a_card(teams):
    teams.misbehave(Fault.RESET, times=1)
    teams.misbehave(Fault.RESET, times=1, carried_out=True)
    for kept in (0, 1):
        with pytest.raises(requests.ConnectionError):
            post(teams.webhook_url)
        assert len(teams.messages) == kept


def test_it_can_hang_until_that_is_lifted(teams):
    hang = teams.misbehave(Fault.HANG)
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(post(teams.webhook_url)))
    waiting.start()
    wait_until(lambda: hang.hits == 1)
    assert teams.messages == []
    teams.behave()
    waiting.join(PATIENCE)
    assert answers[0].status_code == 202


def test_it_can_refuse_connections(teams):
    teams.refuse_connections(1.0)
    with pytest.raises(requests.ConnectionError, match="refused"):
        post(teams.webhook_url)
    wait_until(lambda: accepts(teams))


def accepts(teams: TeamsStandIn) -> bool:
    try:
        return post(teams.webhook_url).status_code == 202
    except requests.ConnectionError:
        return False


def test_it_can_be_reported_and_asked_from_outside_and_ends_when_asked():
    with start_process("sandbox.teams") as server:
        url = server.control("GET", "webhook")["url"]
        assert url.startswith(server.url)
        assert post(url).status_code == 202
        assert server.control("GET", "messages") == [message()]
        assert server.control("GET", "statistics")["messages"] == 1
        server.control("POST", "misbehaviours", {"fault": "http-status", "http_status": 500})
        assert post(url).status_code == 500
        control(server.url, "POST", "reset")
        assert server.control("GET", "messages") == []
        assert post(url).status_code == 202
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(PATIENCE)

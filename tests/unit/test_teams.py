import contextlib
import json
import logging
import threading
import traceback
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import requests
import responses

from helpers.errors import MessageRejectedError, NotificationError
from helpers.notifications import teams
from helpers.settings import SecretStr

HOST = "https://prod-01.westeurope.logic.azure.example"
PATH = "/workflows/0123456789abcdef0123456789abcdef/triggers/manual/paths/invoke"
SIGNATURE = "q3Xp_Secret-Signature_0aB1cD2eF3"
URL = f"{HOST}:443{PATH}?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sig={SIGNATURE}"
MESSAGE = {"type": "message", "attachments": []}
SECRETS = (SIGNATURE, "0123456789abcdef0123456789abcdef", URL)


def send(url=URL):
    teams.send(MESSAGE, webhook_url=SecretStr(url))


def problem_of(url=URL):
    """The error of a send, after looking for the address wherever it could stand."""
    with pytest.raises(NotificationError) as caught:
        send(url)
    shown = "".join(traceback.format_exception(caught.value))
    assert not [secret for secret in SECRETS if secret in shown]
    assert caught.value.__context__ is None
    return str(caught.value)


@pytest.mark.parametrize("status", [200, 202, 204])
@responses.activate
def test_any_2xx_means_that_the_message_was_taken(status):
    post = responses.post(URL, status=status)

    send()

    [call] = post.calls
    assert json.loads(call.request.body) == MESSAGE
    assert call.request.headers["Content-Type"] == "application/json"


@responses.activate
def test_a_send_has_a_timeout():
    post = responses.post(URL, status=202)

    send()

    assert post.calls[0].request.req_kwargs["timeout"] == 10


@responses.activate
def test_a_rejection_is_shown_with_its_status_and_words():
    responses.post(URL, status=400, body="The workflow is disabled.")

    assert problem_of() == "Teams answered HTTP 400: The workflow is disabled."


@responses.activate
def test_a_rejection_without_words_is_shown_by_its_status():
    responses.post(URL, status=503)

    assert problem_of() == "Teams answered HTTP 503: without a word"


@pytest.mark.parametrize(
    "body",
    [
        f"cannot call {URL}",
        f"no such path {PATH}",
        f"signature {SIGNATURE} is not valid",
        f"workflow {SECRETS[1]} is disabled",
        "\x1b[31m" + "x" * 5_000 + f" {SIGNATURE}",
    ],
)
@responses.activate
def test_an_answer_that_repeats_the_address_is_shown_without_it(body):
    responses.post(URL, status=404, body=body)

    problem = problem_of()

    assert "\x1b" not in problem
    assert len(problem) < 500


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (requests.ConnectTimeout(URL), "did not answer within 10 s"),
        (requests.ReadTimeout(URL), "did not answer within 10 s"),
        (requests.ConnectionError(f"Max retries exceeded with url: {PATH}"), "cannot be reached"),
        (requests.exceptions.ChunkedEncodingError(URL), "cannot be reached"),
        (requests.exceptions.InvalidURL(URL), "TEAMS_WEBHOOK_URL is not an http or https address"),
    ],
)
@responses.activate
def test_an_error_on_the_way_is_shown_without_the_address(error, shown):
    responses.post(URL, body=error)

    assert shown in problem_of()


@pytest.mark.parametrize("url", ["no address at all", "ftp://host/path", "https://", "https://[x"])
def test_an_address_that_is_none_is_shown_as_such(url):
    assert "TEAMS_WEBHOOK_URL" in problem_of(url)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@responses.activate
def test_a_card_is_not_posted_on_to_where_the_webhook_redirects(status):
    responses.post(URL, status=status, headers={"Location": "https://login.example/"})
    elsewhere = [
        responses.get("https://login.example/", status=200),
        responses.post("https://login.example/", status=200),
    ]

    assert "redirects elsewhere" in problem_of()
    assert [mock.call_count for mock in elsewhere] == [0, 0]


FAILED = "Webhook message delivery failed with error: "
ENDPOINT = f"{FAILED}Microsoft Teams endpoint returned HTTP error"


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        # accepted: a workflow says nothing, a connector "1"
        (200, "1", None),
        (202, "", None),
        (200, '{"id": "1732600000"}', None),
        # Teams is down, or accepts nothing now
        (408, "", NotificationError),
        (429, "", NotificationError),
        (500, "", NotificationError),
        (503, "", NotificationError),
        (200, f"{ENDPOINT} 429 with ContextId tcid=0", NotificationError),
        (200, f"{ENDPOINT} 503 with ContextId tcid=0", NotificationError),
        (200, "<!DOCTYPE html><title>Sign in to the proxy</title>", NotificationError),
        # Teams rejects this message
        (400, "Bad payload", MessageRejectedError),
        (404, "", MessageRejectedError),
        (413, "", MessageRejectedError),
        (200, f"{ENDPOINT} 413 with ContextId tcid=0", MessageRejectedError),
        (200, f"{FAILED}the payload is not valid.", MessageRejectedError),
        (200, '{"error": {"code": "InvalidTemplate"}}', MessageRejectedError),
    ],
)
def test_what_an_answer_says_about_a_message(status, body, outcome):
    error = teams.error_in(status, body)

    assert type(error) is (outcome or type(None))
    assert error is None or body[:40].strip() in str(error)


def test_a_reply_without_an_end_is_read_for_a_bounded_time(monkeypatch):
    """Its status says enough."""
    monkeypatch.setattr(teams, "_TIMEOUT_SECONDS", 0.2)
    with HTTPServer(("127.0.0.1", 0), _EndlessReply) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        send(f"http://127.0.0.1:{server.server_port}{PATH}?sig={SIGNATURE}")
        server.shutdown()
        thread.join()


class _Webhook(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


class _EndlessReply(_Webhook):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(202)
        self.end_headers()
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(b" ")


@pytest.fixture
def webhook():
    with HTTPServer(("127.0.0.1", 0), _Webhook) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}{PATH}?sig={SIGNATURE}"
        server.shutdown()
        thread.join()


def test_not_even_the_debug_log_holds_the_address(webhook, caplog):
    caplog.set_level(logging.DEBUG)

    send(webhook)

    assert "POST" in caplog.text  # it is logged, and would have been logged with the address
    assert not [secret for secret in SECRETS if secret in caplog.text]


def test_the_log_is_as_it_was_after_a_send(webhook, caplog):
    caplog.set_level(logging.DEBUG)
    send(webhook)
    caplog.clear()

    requests.post(webhook, timeout=10)

    assert SIGNATURE in caplog.text


def test_nobody_listening_is_shown_in_the_words_of_the_system(unused_port):
    problem = problem_of(f"http://127.0.0.1:{unused_port}{PATH}?sig={SIGNATURE}")

    assert problem == "Teams cannot be reached: Connection refused."


@pytest.fixture
def unused_port():
    with HTTPServer(("127.0.0.1", 0), _Webhook) as server:
        return server.server_port

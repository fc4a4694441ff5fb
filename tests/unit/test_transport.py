"""What goes out on the wire, and how patient we are with what comes back."""

import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from helpers.clock import CLOCK
from helpers.errors import MoodysError, SettingsError
from helpers.irp_integration import IRPClient
from helpers.settings import get_settings

JOBS = "/platform/model/v1/jobs"
JOB = {"jobId": "23148952", "status": "RUNNING"}
KEY = "11111111-2222-3333-4444-555555555555"


class Scripted(ThreadingHTTPServer):
    """Answers as it is told to, the last answer for ever; keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def answer(self, status: int, body: object = None, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body)
        content = content.encode() if isinstance(content, str) else content
        self.answers.append((status, named, content))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        server = self.server
        asked = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server.requests.append((self.path, dict(self.headers), asked))
        status, headers, content = server.answers[
            min(len(server.requests), len(server.answers)) - 1
        ]
        self.send_response_only(status)
        length = {} if status == 204 else {"Content-Length": str(len(content))}
        for name, value in (length | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = handle_any  # noqa: N815 - as http.server names them


@pytest.fixture
def host() -> Iterator[Scripted]:
    with Scripted() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    """Seconds that were waited, without waiting."""
    seconds: list[float] = []
    monkeypatch.setattr(CLOCK, "sleep", seconds.append)
    return seconds


@pytest.fixture
def client(host, monkeypatch):
    monkeypatch.setenv("RISK_MODELER_BASE_URL", f"{host.url}/")
    monkeypatch.setenv("RISK_MODELER_RESOURCE_GROUP_ID", "group-1")
    monkeypatch.setenv("RISK_MODELER_API_KEY", "the-raw-key")
    get_settings.cache_clear()
    with IRPClient(connections=2) as made:
        yield made


def test_every_question_carries_the_raw_key_and_the_resource_group(client, host):
    host.answer(200, JOB)

    assert client.analysis.get_analysis_job(23148952) == JOB

    [(path, headers, body)] = host.requests
    assert (path, body) == (f"{JOBS}/23148952", b"")
    assert headers["Host"] == host.url.removeprefix("http://")
    assert headers["Authorization"] == "the-raw-key"
    assert headers["x-rms-resource-group-id"] == "group-1"
    assert "x-rms-requestid" not in headers


def test_a_filter_is_encoded_and_sent_to_a_base_url_with_a_path(client, host):
    client.published.client.base_url = f"{host.url}/gateway/"
    host.answer(200, [])

    client.transport.get(JOBS, params={"filter": 'jobId IN ("1", "2")', "limit": "100"})

    [(path, _, _)] = host.requests
    assert path == f"/gateway{JOBS}?filter=jobId+IN+%28%221%22%2C+%222%22%29&limit=100"


def test_a_proxy_gets_the_whole_address_and_its_own_credentials(host, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", host.url.replace("//", "//user:pass@"))
    for name, value in {
        "RISK_MODELER_BASE_URL": "http://moodys.example",
        "RISK_MODELER_RESOURCE_GROUP_ID": "group-1",
        "RISK_MODELER_API_KEY": "the-raw-key",
    }.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    host.answer(200, JOB)

    with IRPClient(connections=1) as made:
        made.analysis.get_analysis_job(23148952)

    [(path, headers, _)] = host.requests
    assert path == f"http://moodys.example{JOBS}/23148952"
    assert headers["Host"] == "moodys.example"
    assert headers["Proxy-Authorization"] == "Basic dXNlcjpwYXNz"


def test_a_host_that_is_excepted_is_asked_without_the_proxy(client, host, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    host.answer(200, JOB)

    assert client.analysis.get_analysis_job(23148952) == JOB


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content_Encoding": "gzip"}, gzip.compress(json.dumps(JOB).encode(), mtime=0)),
        ({"Content_Encoding": "identity"}, json.dumps(JOB).encode()),
        # as long as it goes on, and in pieces
        ({"Connection": "close"}, json.dumps(JOB).encode()),
        ({"Transfer_Encoding": "chunked"}, b'5\r\n{"job\r\n30\r\n%s\r\n0\r\n\r\n'),
    ],
)
def test_an_answer_is_read_however_it_is_packed(client, host, headers, body):
    rest = json.dumps(JOB).encode()[5:]
    body = body.replace(b"30", b"%x" % len(rest)).replace(b"%s", rest)
    host.answer(200, body, **headers)

    assert client.analysis.get_analysis_job(23148952) == JOB
    assert client.analysis.get_analysis_job(23148952) == JOB


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ({"Content_Encoding": "gzip"}, "cannot be decompressed"),
        ({"Content_Length": "500", "Connection": "close"}, "closed the connection"),
        ({"Transfer_Encoding": "chunked", "Connection": "close"}, "closed the connection"),
    ],
)
def test_an_answer_that_is_cut_short_or_garbled_is_none(client, host, waits, headers, problem):
    host.answer(200, JOB, **headers)

    with pytest.raises(MoodysError, match=problem):
        client.analysis.get_analysis_job(23148952)


def test_a_submission_carries_its_key_on_every_try(client, host, waits):
    host.answer(503)
    host.answer(201, Location=f"{JOBS}/5")

    raw = client.submit("POST", JOBS, body={"a": 1}, request_id=KEY)

    assert (raw.http_status, raw.headers["Location"]) == (201, f"{JOBS}/5")
    assert [headers["x-rms-requestid"] for _, headers, _ in host.requests] == [KEY, KEY]
    assert [json.loads(body) for _, _, body in host.requests] == [{"a": 1}] * 2


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
def test_a_throttled_question_waits_as_long_as_the_host_asks_for(
    client, host, waits, headers, waited
):
    host.answer(429, **{name.replace("-", "_"): value for name, value in headers.items()})

    with pytest.raises(MoodysError, match="fewer requests"):
        client.analysis.get_analysis_job(1)

    assert waits == waited
    assert len(host.requests) == len(waited) + 1


@pytest.mark.parametrize(
    ("http_status", "asked"),
    [(500, 2), (502, 2), (504, 2), (204, 1), (400, 1), (404, 1), (409, 1), (431, 1)],
)
def test_only_a_host_in_trouble_is_asked_again(client, host, waits, http_status, asked):
    host.answer(http_status)

    with pytest.raises(MoodysError):
        client.analysis.get_analysis_job(1)

    assert len(host.requests) == asked


def test_a_redirect_is_not_followed(client, host):
    host.answer(302, Location=f"{host.url}/elsewhere")

    with pytest.raises(MoodysError, match="302"):
        client.analysis.get_analysis_job(1)

    assert len(host.requests) == 1


def test_the_settings_are_asked_for_before_anything_is_sent():
    with pytest.raises(SettingsError, match="RISK_MODELER_BASE_URL"):
        IRPClient()

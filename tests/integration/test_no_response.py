"""Why no response arrived is told by what really happens on a wire, once, with what to look at."""

import contextlib
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from urllib3 import exceptions as urllib3_exceptions

from helpers.constants import BatchType, JobStatus
from helpers.errors import MoodysError, SettingsError
from helpers.irp_integration import IRPClient, transport
from helpers.irp_integration.causes import no_response
from sandbox.moodys_access import Access
from sandbox.seeding import PreparedJob, add_cycle
from sandbox.server import start_process
from tests.support.certificates import make_certificate
from tests.support.passes import active_batch, configure, one_pass
from tests.support.ports import free_port

CERTIFICATE = "The certificate of Moody's is not trusted ("
PROXY = "the proxy does not answer"
HOST_NAME = "the host name of RISK_MODELER_BASE_URL is unknown"
REFUSED = "Moody's cannot be reached: the connection was refused."


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(transport, "_PAUSE_SECONDS", 0.0)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def at(monkeypatch):
    """Say where Moody's is."""

    def configured(url: str, **environment: str) -> None:
        configure(
            monkeypatch,
            risk_modeler_base_url=url,
            risk_modeler_resource_group_id="5b3a1f62-0c0e-4d3e-9a55-6f1f0d6f2c11",
            risk_modeler_api_key="the-raw-key",
            **environment,
        )

    return configured


def problem() -> str:
    with IRPClient(connections=1) as client, pytest.raises(MoodysError) as caught:
        client.analysis.get_analysis_job(1)
    return str(caught.value)


@pytest.fixture
def untrusted(tmp_path):
    """A TLS server whose certificate nobody knows; its URL and its certificate."""
    certificate = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=shake_hands, args=(server, context), daemon=True).start()
        yield f"https://localhost:{server.getsockname()[1]}", certificate


def shake_hands(server: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        try:
            context.wrap_socket(connection, server_side=True).close()
        except OSError:
            connection.close()


def test_a_certificate_that_is_not_trusted_is_named_with_the_setting(untrusted, at):
    url, _ = untrusted
    at(url)

    message = problem()

    assert message.startswith(CERTIFICATE)
    assert "REQUESTS_CA_BUNDLE" in message


def test_a_certificate_of_ones_own_is_trusted_if_it_is_named(untrusted, at):
    url, certificate = untrusted
    at(url, requests_ca_bundle=str(certificate))

    assert problem() == "Moody's closed the connection before its answer was complete."


def test_the_certificates_that_are_trusted_are_read_once_for_all_connections(tmp_path, monkeypatch):
    certificate, read = make_certificate(tmp_path), []
    load = ssl.SSLContext.load_verify_locations
    monkeypatch.setattr(
        ssl.SSLContext, "load_verify_locations", lambda *given: (read.append(given), load(*given))
    )
    command = "sandbox.moodys", "--latency", "0.1", "--certificate", str(certificate)
    with start_process(*command) as moodys:
        access = {k.lower(): v for k, v in Access().environment(moodys.url).items()}
        configure(monkeypatch, **access, requests_ca_bundle=str(certificate))
        wanted = {"family": "geohaz", "status": JobStatus.RUNNING, "count": 8}
        ids = moodys.control("POST", "jobs", wanted)["jobIds"]
        before = moodys.control("GET", "statistics")["connections"]
        read.clear()
        with IRPClient(connections=8) as client, ThreadPoolExecutor(8) as pool:
            client.geohaz.get_geohaz_job(ids[0])
            found = list(pool.map(client.geohaz.get_geohaz_job, ids))
        times = len(read)
        opened = moodys.control("GET", "statistics")["connections"] - before

    assert [body["jobId"] for body in found] == ids
    assert opened > 2  # one asked the statistics
    assert times == 1


def test_a_dead_proxy_is_named_and_not_the_host(at, moodys):
    at("https://api-euw1.rms.example", https_proxy=f"http://127.0.0.1:{free_port()}")

    message = problem()

    assert PROXY in message
    assert "HTTPS_PROXY" in message
    assert "RISK_MODELER_BASE_URL" not in message


@pytest.fixture
def tunnel():
    """A proxy that lets everybody through to where they want; its URL and what it was asked."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=carry, args=(server, asked), daemon=True).start()
        yield f"http://user:pass@127.0.0.1:{server.getsockname()[1]}", asked


def carry(server: socket.socket, asked: list[bytes]) -> None:
    while True:
        try:
            here, _ = server.accept()
        except OSError:
            return
        asked.append(here.recv(65536))
        host, _, port = asked[-1].split(b" ")[1].decode().partition(":")
        there = socket.create_connection((host, int(port)))
        here.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        for source, target in [(here, there), (there, here)]:
            threading.Thread(target=pipe, args=(source, target), daemon=True).start()


def pipe(source: socket.socket, target: socket.socket) -> None:
    try:
        while piece := source.recv(65536):
            target.sendall(piece)
    except OSError:
        pass
    finally:
        with contextlib.suppress(OSError):  # closing it tells nobody while the other thread reads
            target.shutdown(socket.SHUT_WR)
        source.close()


def test_tls_goes_through_a_proxy_which_sees_none_of_our_headers(untrusted, tunnel, at):
    (url, certificate), (proxy, asked) = untrusted, tunnel
    at(url, https_proxy=proxy, requests_ca_bundle=str(certificate))

    assert problem() == "Moody's closed the connection before its answer was complete."
    assert asked[0].startswith(f"CONNECT {url.removeprefix('https://')} ".encode())
    assert b"Proxy-Authorization: Basic dXNlcjpwYXNz" in asked[0]
    assert b"the-raw-key" not in asked[0]


def test_a_host_name_that_nobody_knows_is_named(at):
    at("https://no-such-host.invalid")

    assert HOST_NAME in problem()


def test_a_refused_connection_is_named(at):
    at(f"http://127.0.0.1:{free_port()}")

    assert problem() == REFUSED


@pytest.mark.parametrize(
    ("setting", "value", "named"),
    [
        ("risk_modeler_api_key", "the-key\n", "RISK_MODELER_API_KEY"),
        ("risk_modeler_api_key", "the-k\u20acy", "RISK_MODELER_API_KEY"),
        ("risk_modeler_resource_group_id", "a\r\nX-Other: b", "RISK_MODELER_RESOURCE_GROUP_ID"),
        ("risk_modeler_base_url", "api-euw1.rms.example", "RISK_MODELER_BASE_URL"),
        ("risk_modeler_base_url", "ftp://api-euw1.rms.example", "RISK_MODELER_BASE_URL"),
        ("risk_modeler_base_url", "https://", "RISK_MODELER_BASE_URL"),
        ("requests_ca_bundle", "/no/such/file.pem", "REQUESTS_CA_BUNDLE"),
    ],
)
def test_a_setting_that_cannot_be_sent_is_named_before_anything_is_sent(
    at, monkeypatch, setting, value, named
):
    at("https://api-euw1.rms.example")
    configure(monkeypatch, **{setting: value})

    with pytest.raises(SettingsError, match=named) as caught:
        IRPClient(connections=1)

    assert value not in str(caught.value) or setting == "risk_modeler_base_url"


def test_a_line_break_in_the_key_is_one_error_and_not_one_per_job(
    moodys, metastore, workflows, monkeypatch
):
    jobs = [PreparedJob(JobStatus.SUBMITTED, str(number)) for number in range(1, 31)]
    active_batch(add_cycle("Analysis-2025-Q1"), BatchType.GEOHAZ, jobs)
    configure(monkeypatch, risk_modeler_api_key="a-key\n")

    done = one_pass()

    [error] = done.summary.errors
    assert "RISK_MODELER_API_KEY holds a character" in error.text
    assert moodys.statistics()["requests_total"] == 0


@pytest.mark.parametrize(
    ("exc", "words"),
    [
        (requests.exceptions.ReadTimeout("x"), "did not answer in time"),
        (requests.exceptions.ConnectTimeout("x"), "no connection in time"),
        (TimeoutError("x"), "did not answer in time"),
        (requests.exceptions.ChunkedEncodingError("timed out"), "closed the connection"),
        (requests.exceptions.ContentDecodingError("x"), "cannot be decompressed"),
        (urllib3_exceptions.ProtocolError("refused", ConnectionResetError()), "closed the"),
        (requests.exceptions.InvalidProxyURL("x"), "HTTPS_PROXY"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"), "TLS failed"),
    ],
)
def test_words_in_an_exception_decide_nothing(exc, words):
    assert words in str(no_response(exc))


@pytest.mark.parametrize("wraps", [1, 3])
def test_a_cause_is_found_however_deep_it_is_wrapped(wraps):
    exc: BaseException = ssl.SSLCertVerificationError(1, "certificate verify failed")
    for _ in range(wraps):
        outer = requests.exceptions.ConnectionError(exc)
        exc = outer

    assert str(no_response(exc)).startswith("The certificate of Moody's is not trusted")

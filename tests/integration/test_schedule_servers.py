"""Which Jupyter server is meant, and the ones that will not do: real servers, one per test."""

import json
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from jupyter_server.auth import passwd

from helpers.schedule.__main__ import main
from helpers.schedule.pruning import prune_own_schedule
from helpers.schedule.scheduled_copy import STAGING_DIR
from helpers.settings import PROJECT_DIR, get_settings
from tests.support.jupyter import JupyterServer, jupyter_folders, jupyter_server
from tests.support.ports import free_port

NOTEBOOK = Path("_Tools", "Batch Management", "Monitor Active Jobs.ipynb")
NEVER = "0 0 29 2 *"
RETENTION = {"older_than": timedelta(days=1), "keep_at_most": 1}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A server's root with the notebook in it, and this process's Jupyter folders in ``home``."""
    target = tmp_path / "root" / "workflows" / NOTEBOOK
    target.parent.mkdir(parents=True)
    shutil.copy(PROJECT_DIR / "workflows" / NOTEBOOK, target)
    for name, value in jupyter_folders(tmp_path / "home").items():
        monkeypatch.setenv(name, value)
    (tmp_path / "home" / "runtime").mkdir(parents=True)
    monkeypatch.delenv("JUPYTER_TOKEN", raising=False)
    monkeypatch.setenv("IRP_WORKFLOWS_DIR", str(tmp_path / "root" / "workflows"))
    get_settings.cache_clear()
    return tmp_path / "root"


@pytest.fixture
def home(root: Path) -> Path:
    return root.parent / "home"


def definitions(server: JupyterServer) -> list[dict]:
    return server.ask("GET", "scheduler/job_definitions").json()["job_definitions"]


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(list(arguments)) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    return shown.err


def describe(home: Path, *, pid: int, port: int, name: str = "jpserver-1.json") -> None:
    """Write a runtime file as a server does."""
    facts = {"pid": pid, "port": port, "hostname": "127.0.0.1", "base_url": "/", "token": "t" * 20}
    (home / "runtime" / name).write_text(json.dumps(facts))


@pytest.mark.parametrize("command", ["create", "status", "update", "delete", "prune"])
def test_without_a_server_every_command_says_what_to_do(root, capsys, command):
    assert "start JupyterLab" in fails(capsys, command)


def test_a_server_that_is_gone_is_not_found_by_what_it_left(root, home, capsys):
    describe(home, pid=4_000_000, port=9)
    (home / "runtime" / "jpserver-2.json").write_text('{"half": "writ')
    assert "No Jupyter server of yours runs here" in fails(capsys, "status")


def test_a_server_that_does_not_listen_is_named(root, home, capsys):
    describe(home, pid=os.getpid(), port=free_port())
    assert "No Jupyter server answers at http://127.0.0.1" in fails(capsys, "status")


def test_another_users_runtime_file_is_not_believed(root, home, capsys):
    if os.getuid() != 0:
        pytest.skip("only root can give a file to somebody else")
    describe(home, pid=os.getpid(), port=free_port())
    os.chown(home / "runtime" / "jpserver-1.json", 12345, -1)
    assert "No Jupyter server of yours runs here" in fails(capsys, "status")


@pytest.mark.parametrize(
    "url",
    [
        "localhost",  # no scheme
        "http://localhost:99999/",  # no port
        "http://localhost:1/?token=planted-secret",  # as Jupyter prints it
        "http://me:planted-secret@localhost:1/",
    ],
)
def test_an_address_where_no_server_runs_is_refused_without_repeating_it(root, home, capsys, url):
    describe(home, pid=os.getpid(), port=free_port())
    message = fails(capsys, "status", "--url", url)
    assert "has that address" in message
    assert "planted-secret" not in message


@contextmanager
def web_server(status: int, body: bytes, headers: dict[str, str]) -> Iterator[int]:
    """Something at a port that answers everything alike."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (200, b"<html>Welcome</html>", {}),
        (200, b"[1, 2]", {}),
        (200, b'{"started": "soon"}', {}),
        (404, b"", {}),
        (302, b"", {"Location": "http://127.0.0.1:9/login"}),  # never followed with the token
    ],
)
def test_what_is_not_a_jupyter_server_is_recognised(root, home, capsys, status, body, headers):
    with web_server(status, body, headers) as port:
        describe(home, pid=os.getpid(), port=port)
        assert "is not a Jupyter server" in fails(capsys, "status")


def test_a_wrong_token_is_refused_and_not_repeated(root, home, capsys):
    with web_server(403, b"", {}) as port:
        describe(home, pid=os.getpid(), port=port)
        message = fails(capsys, "status")
    assert "refuses the token" in message
    assert "tttttttt" not in message


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            {"message": f"no such table:\n  job_definitions. {'t' * 20} {'x' * 900}"},
            "no such table: job_definitions. *** xxx",
        ),
        ({"message": None}, "it gave no reason"),
        ([], "it gave no reason"),
        ("", "it gave no reason"),
    ],
)
def test_a_failure_of_the_scheduler_says_why_and_what_to_do(root, home, capsys, body, reason):
    with web_server(503, json.dumps(body).encode() if body != "" else b"<html>", {}) as port:
        describe(home, pid=os.getpid(), port=port)
        message = fails(capsys, "status")
    assert f"failed (503): {reason}" in message
    assert "restart the server, and try again" in message
    assert "tttttttt" not in message
    assert len(message) < 600


def test_a_server_with_a_password_is_reported_of_a_token_that_it_accepts(
    root, home, capsys, monkeypatch
):
    password = f"--PasswordIdentityProvider.hashed_password={passwd('planted', 'sha256')}"
    with jupyter_server(root, home, token="", options=(password,), password_only=True):
        message = fails(capsys, "create")
        assert "restart it with any token in JUPYTER_TOKEN" in message
        monkeypatch.setenv("JUPYTER_TOKEN", "something else")
        assert "restart it" in fails(capsys, "create")
    monkeypatch.delenv("JUPYTER_TOKEN")
    with jupyter_server(root, home, token="any token", options=(password,)) as server:
        assert main(["create", "--schedule", NEVER]) == 0
        assert len(definitions(server)) == 1


def test_a_server_without_the_scheduler_is_recognised(root, home, capsys):
    with jupyter_server(root, home, without=("jupyter_scheduler",)):
        assert "has no scheduler: run `pip install jupyter-scheduler`" in fails(capsys, "create")


@pytest.mark.faults
def test_two_servers_on_one_data_directory_are_refused(root, home, capsys):
    with jupyter_server(root, home) as one, jupyter_server(root, home) as other:
        for arguments in (["create"], ["create", "--url", one.url]):
            message = fails(capsys, *arguments)
            assert "share one data directory" in message
            assert one.url in message
            assert other.url in message
        assert definitions(one) == []


def test_of_two_servers_with_their_own_data_one_must_be_named(root, home, capsys, tmp_path):
    """One lies below a base URL, and one asks for no token."""
    own_data = {"JUPYTER_DATA_DIR": str(tmp_path / "data-of-the-other")}
    (tmp_path / "data-of-the-other").mkdir()
    with (
        jupyter_server(root, home, base_url="user/ana/") as one,
        jupyter_server(root, home, environment=own_data, token="") as other,
    ):
        message = fails(capsys, "create")
        assert "--url" in message
        assert one.url in message
        assert other.url in message
        assert main(["create", "--schedule", NEVER, "--url", other.url]) == 0
        assert definitions(one) == []
        assert len(definitions(other)) == 1
        assert main(["create", "--schedule", NEVER, "--url", f"{one.url}lab"]) == 0
        assert main(["status", "--url", f"{one.url}lab"]) == 0
        assert len(definitions(one)) == 1


def test_pruning_without_a_server_has_nothing_to_do(root, home, scheduled, caplog):
    caplog.set_level("INFO")
    prune_own_schedule(**RETENTION)
    shutil.rmtree(home)
    prune_own_schedule(**RETENTION)
    assert caplog.text == ""


@pytest.fixture
def scheduled(home, monkeypatch) -> None:
    """As if the scheduler had started this process."""
    folder = home / "data" / STAGING_DIR / "a-run"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)


def test_pruning_at_a_server_that_hangs_ends_in_time(root, home, scheduled, caplog):
    caplog.set_level("INFO")
    with socket.create_server(("127.0.0.1", 0)) as listener:  # it takes calls and never answers
        port, parent = listener.getsockname()[1], os.getppid()
        describe(home, pid=parent, port=port, name=f"jpserver-{parent}.json")
        prune_own_schedule(**RETENTION, budget_seconds=0.5)
    assert "No Jupyter server answers at http://127.0.0.1" in caplog.text
    assert "(ReadTimeout)" in caplog.text

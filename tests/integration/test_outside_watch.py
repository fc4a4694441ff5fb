import os
import pty
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from jupyter_client.manager import KernelManager

from helpers.monitor import run_pass
from helpers.monitor.__main__ import main
from helpers.settings import get_settings
from tests.support.passes import rows


class _Watch(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.calls.append(self.path)
        self.send_response(self.server.answer)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def watch(metastore, monkeypatch):
    """An outside watch, in MONITOR_HEARTBEAT_URL."""
    server = HTTPServer(("127.0.0.1", 0), _Watch)
    server.calls, server.answer = [], 200
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/ping/secret-token"
    monkeypatch.setenv("MONITOR_HEARTBEAT_URL", address)
    get_settings.cache_clear()
    yield server
    server.shutdown()
    server.server_close()


def test_an_outside_watch_is_called_after_each_complete_pass(watch):
    assert run_pass().warnings == []
    assert watch.calls == ["/ping/secret-token"]


def test_a_watch_that_does_not_accept_the_call_is_a_warning_without_its_address(watch):
    watch.answer = 503
    report = run_pass()
    assert "MONITOR_HEARTBEAT_URL answered 503" in str(report)
    assert "secret-token" not in str(report)
    assert not report.failed


def test_a_watch_that_is_gone_does_not_fail_the_pass(metastore, monkeypatch):
    monkeypatch.setenv("MONITOR_HEARTBEAT_URL", "http://127.0.0.1:1/ping/secret-token")
    get_settings.cache_clear()
    report = run_pass()
    assert "could not be called" in str(report)
    assert "secret-token" not in str(report)
    assert not report.failed


def test_the_status_tells_whether_monitoring_is_on_and_runs_no_pass(metastore, sql, capsys):
    assert main(["--status"]) == 1
    assert capsys.readouterr().out.startswith("Monitoring is off.")
    assert sql.execute("SELECT count(*) FROM irp_monitor_run").fetchone() == (0,)

    run_pass()
    assert main(["--status"]) == 0
    assert capsys.readouterr().out.startswith("Monitoring is on.")

    sql.execute(
        "UPDATE irp_monitor_run SET started_ts = now() - interval '1 hour',"
        " finished_ts = now() - interval '1 hour'"
    )
    assert main(["--status"]) == 1


def test_a_pass_that_a_person_starts_in_a_terminal_does_not_turn_monitoring_on(
    metastore, sql, capsys
):
    leader, terminal = pty.openpty()
    command = [sys.executable, "-m", "helpers.monitor"]
    subprocess.run(command, stdin=terminal, stdout=subprocess.DEVNULL, check=True)
    os.close(terminal)
    os.close(leader)

    assert rows(sql, "SELECT started_by FROM irp_monitor_run") == [("terminal",)]
    assert main(["--status"]) == 0  # it is not silent
    message = capsys.readouterr().out
    assert "Monitoring is on" not in message
    assert "only a schedule can tell: `python -m helpers.schedule status`" in message


def test_a_process_that_has_looked_for_a_kernel_is_not_a_notebook(metastore, sql):
    ipykernel_is_imported = KernelManager().format_kernel_cmd()
    run_pass()
    assert ipykernel_is_imported
    assert rows(sql, "SELECT started_by FROM irp_monitor_run") == [("command",)]


def test_the_status_of_an_empty_database_says_what_to_do(empty_database, capsys):
    assert main(["--status"]) == 1
    assert "helpers.database migrate" in capsys.readouterr().err


def test_a_process_that_has_closed_its_input_runs_passes(metastore, sql):
    program = "import sys; sys.stdin.close(); from helpers.monitor import run_pass; run_pass()"
    subprocess.run([sys.executable, "-c", program], stdin=subprocess.DEVNULL, check=True)

    assert rows(sql, "SELECT started_by FROM irp_monitor_run") == [("command",)]

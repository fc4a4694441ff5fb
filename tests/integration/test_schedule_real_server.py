"""Two runs in a row that the scheduler of a real Jupyter server starts by itself."""

import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from helpers.constants import StartedBy
from helpers.schedule.__main__ import main
from helpers.settings import PROJECT_DIR, get_settings
from tests.support.jupyter import (
    JupyterServer,
    jupyter_folders,
    jupyter_server,
    let_minutes_be_quick,
)

_NOTEBOOK = Path("_Tools", "Batch Management", "Monitor Active Jobs.ipynb")
_DEADLINE_SECONDS = 200.0


@pytest.fixture
def server(
    tmp_path: Path, metastore: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[JupyterServer]:
    """A server on a copy of the workflows folder, its runs on this test's metastore."""
    workflows = tmp_path / "root" / "workflows"
    (workflows / _NOTEBOOK).parent.mkdir(parents=True)
    shutil.copy(PROJECT_DIR / "workflows" / _NOTEBOOK, workflows / _NOTEBOOK)
    home = tmp_path / "home"
    for name, value in jupyter_folders(home).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("IRP_WORKFLOWS_DIR", str(workflows))
    get_settings.cache_clear()
    environment = {"DATABASE_URL": metastore, "IRP_WORKFLOWS_DIR": str(workflows)}
    let_minutes_be_quick(home)
    with jupyter_server(workflows.parent, home, environment=environment) as running:
        yield running


def test_a_schedule_of_every_minute_runs_the_notebook_again_and_again(
    server: JupyterServer, sql: psycopg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["create"]) == 0, capsys.readouterr().err

    _wait_until(lambda: len(_scheduled_passes(sql)) >= 2, server)
    _wait_until(lambda: _statuses(server).count("COMPLETED") >= 2, server)
    capsys.readouterr()
    assert main(["status"]) == 0
    shown = capsys.readouterr().out
    assert "Monitoring is on" in shown
    assert "the scheduled copy is that of this package" in shown
    assert re.search(r"Last completed pass: \d\d:\d\d", shown)
    assert server.token not in shown

    assert main(["delete"]) == 0
    assert _statuses(server) == []
    assert list(server.staging.iterdir()) == []


def _scheduled_passes(sql: psycopg.Connection) -> list:
    """Return when the completed passes of scheduled runs began."""
    rows = sql.execute(
        "SELECT started_ts FROM irp_monitor_run "
        "WHERE started_by = %s AND finished_ts IS NOT NULL ORDER BY started_ts",
        [StartedBy.SCHEDULED_NOTEBOOK],
    )
    return [row[0] for row in rows]


def _statuses(server: JupyterServer) -> list[str]:
    return [job["status"] for job in _jobs(server)]


def _jobs(server: JupyterServer) -> list[dict]:
    """Return the scheduler's runs, the newest first."""
    return server.ask("GET", "scheduler/jobs").json()["jobs"]


def _wait_until(is_so: Callable[[], bool], server: JupyterServer) -> None:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not is_so():
        assert "FAILED" not in _statuses(server), server.ask("GET", "scheduler/jobs").text
        assert time.monotonic() < deadline, server.log
        time.sleep(0.5)

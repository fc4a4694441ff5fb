"""The monitor beside a team's own package ``helpers``, which comes first on PYTHONPATH."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from helpers.check import check_system
from helpers.constants import BatchType, StartedBy
from helpers.display import Severity
from helpers.notebook_executor import execute_next_step
from helpers.notebooks.run import NotebookRun
from helpers.settings import PROJECT_DIR, get_settings
from sandbox.seeding import add_cycle, add_step
from tests.support.jupyter import (
    JupyterServer,
    jupyter_folders,
    jupyter_server,
    let_minutes_be_quick,
)
from tests.support.notebooks import step_notebook, texts_of
from tests.support.passes import finished_batch, rows
from tests.support.waiting import wait_until

CYCLE = "Analysis-2025-Q1"
MONITOR = PROJECT_DIR / "workflows" / "_Tools" / "Batch Management" / "Monitor Active Jobs.ipynb"
KERNEL = "batch-monitor"
WITHOUT_THE_MONITOR = """
import sys
sys.modules["batch_monitor"] = None
from ipykernel.kernelapp import launch_new_instance
launch_new_instance()
"""
THEIR_STEP = 'from helpers.portfolios import load\nprint("theirs:", load())'


@pytest.fixture
def team(tmp_path) -> Path:
    """The folder of a package ``helpers`` that knows nothing of monitoring."""
    package = tmp_path / "team" / "helpers"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "portfolios.py").write_text("def load():\n    return 41 + 1\n")
    return package.parent


@pytest.fixture
def due(metastore, workflows, moodys, teams, team) -> Path:
    """A batch that is done, and the notebook of the step that follows, which needs the team's."""
    finished_batch(add_cycle(CYCLE), BatchType.MRI_IMPORT)
    return step_notebook(workflows, THEIR_STEP, cycle=CYCLE, stage_num=3, step_num=4)


def batch_monitor_command(
    *arguments: str, folder: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name("batch-monitor")), *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def scheduled_passes(sql) -> list[tuple]:
    """Return the passes of Notebook Jobs that ended."""
    return rows(
        sql,
        "SELECT id FROM irp_monitor_run WHERE started_by = %s AND finished_ts IS NOT NULL",
        StartedBy.SCHEDULED_NOTEBOOK,
    )


def steps_of(sql) -> list[tuple]:
    return rows(sql, "SELECT status::text, error_message FROM irp_step_run ORDER BY id")


def install_kernel(data: Path, name: str, *arguments: str) -> None:
    spec = {"argv": [sys.executable, *arguments, "-f", "{connection_file}"], "language": "python"}
    folder = data / "kernels" / name
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps({**spec, "display_name": name}))


@pytest.fixture
def hybrid(due, team, metastore, workflows, tmp_path, monkeypatch) -> Iterator[JupyterServer]:
    """A Jupyter server of the team: its PYTHONPATH, its Python, and beside it a kernel of ours."""
    monkeypatch.setenv("PYTHONPATH", str(team))
    copied = ["make", "--silent", "workflows", f"TO={workflows}", f"KERNEL={KERNEL}"]
    subprocess.run(copied, cwd=PROJECT_DIR, check=True)
    home = tmp_path / "home"
    for name, value in jupyter_folders(home).items():
        monkeypatch.setenv(name, value)
    let_minutes_be_quick(home)
    shutil.copytree(PROJECT_DIR / "jupyter", home / "config" / "jupyter_server_config.d")
    install_kernel(home / "data", "python3", "-c", WITHOUT_THE_MONITOR)
    install_kernel(home / "data", KERNEL, "-m", "ipykernel_launcher")
    environment = {"DATABASE_URL": metastore, "IRP_WORKFLOWS_DIR": str(workflows)}
    with jupyter_server(workflows, home, environment=environment) as server:
        yield server


@pytest.mark.faults  # it waits for the scheduler
def test_a_notebook_job_is_ours_and_the_chained_notebook_is_theirs(
    hybrid, workflows, sql, tmp_path
):
    created = batch_monitor_command("schedule", "create", folder=tmp_path)
    assert created.returncode == 0, created.stderr

    wait_until(lambda: scheduled_passes(sql), seconds=200)
    assert steps_of(sql) == [("COMPLETED", None)]
    [executed] = (workflows / f"Active_{CYCLE}" / "runs").glob("*.ipynb")
    assert "theirs: 42" in texts_of(executed)

    page = hybrid.ask("GET", "batch-monitoring/")
    assert page.status_code == 200, hybrid.log
    assert CYCLE in page.text


@pytest.mark.parametrize("variable", ["PYTHONPATH", "IRP_STEP_PYTHONPATH"])
def test_a_pass_by_cron_is_ours_and_the_chained_notebook_is_theirs(
    due, team, sql, tmp_path, variable
):
    done = batch_monitor_command("run", folder=tmp_path, **{variable: str(team)})

    assert done.returncode == 0, done.stderr
    assert steps_of(sql) == [("COMPLETED", None)]


def test_the_notebook_of_the_monitor_is_ours_and_the_chained_one_is_theirs(
    due, team, sql, tmp_path, monkeypatch
):
    monkeypatch.setenv("PYTHONPATH", str(team))
    executed = tmp_path / "executed.ipynb"

    outcome = NotebookRun(MONITOR, executed, timeout_seconds=120).execute()

    assert outcome.error is None, texts_of(executed)
    assert steps_of(sql) == [("COMPLETED", None)]


def test_every_notebook_of_the_monitor_begins_with_its_own_helpers():
    for path in sorted(MONITOR.parent.glob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        first = next(cell.source for cell in cells if cell.cell_type == "code")
        assert first.startswith("from batch_monitor import use_own_helpers\n\nuse_own_helpers()\n")


def test_a_notebook_that_finds_the_wrong_helpers_says_which_it_found(
    due, team, sql, workflows, monkeypatch
):
    error = execute_next_step(due)["error"]
    assert "No module named 'helpers.portfolios'" in error
    assert f"the helpers of the monitor, {PROJECT_DIR / 'helpers'}" in error
    assert "IRP_STEP_PYTHONPATH" in error

    monkeypatch.setenv("IRP_STEP_PYTHONPATH", str(team))
    get_settings.cache_clear()
    [(cycle_id,)] = rows(sql, "SELECT id FROM irp_cycle")
    add_step(cycle_id, stage_num=3, step_num=5)
    ours = step_notebook(
        workflows, "from helpers.stage import open_step", cycle=CYCLE, stage_num=3, step_num=5
    )
    error = execute_next_step(ours)["error"]
    assert "No module named 'helpers.stage'" in error
    assert f"looked in {team / 'helpers'}, which comes first on PYTHONPATH" in error


def test_the_check_names_the_helpers_that_kernels_import(due, team, monkeypatch):
    monkeypatch.setenv("IRP_STEP_PYTHONPATH", str(team))
    get_settings.cache_clear()
    [kernel] = [found for found in check_system().findings if found.about == "kernel"]
    assert kernel.severity is Severity.OK
    assert kernel.text.endswith(f"your team's helpers, of {team / 'helpers'}")


def test_another_helpers_that_is_loaded_already_is_refused_with_both_folders(team, tmp_path):
    code = "import helpers, batch_monitor; batch_monitor.use_own_helpers()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(team)},
        capture_output=True,
        text=True,
        check=False,
    )
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"ImportError: The package helpers of {team / 'helpers'} is loaded")
    assert str(PROJECT_DIR / "helpers") in last


@pytest.mark.parametrize("name", ["run", "board", "check", "schedule", "database"])
def test_each_command_explains_itself(name, tmp_path):
    done = batch_monitor_command(name, "--help", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert name in batch_monitor_command("--help", folder=tmp_path).stdout

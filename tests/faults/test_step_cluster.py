"""Passes run notebooks on the Dask cluster of MONITOR_STEP_EXECUTOR: real processes, over TCP."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.check import check_system
from helpers.constants import BatchType
from helpers.errors import NotebookError
from helpers.notebook_executor import execute_next_step
from helpers.notebooks import cluster as clusters
from helpers.notebooks import executor
from helpers.notebooks.cluster import NotebookHost, StepCluster
from helpers.notebooks.run import NotebookRun
from helpers.settings import PROJECT_DIR, get_settings
from helpers.workflow_paths import MONITOR_NOTEBOOK
from sandbox.seeding import add_cycle
from tests.support.chains import age_claims
from tests.support.dask_processes import DaskProcesses
from tests.support.notebooks import step_notebook
from tests.support.passes import Pass, configure, finished_batch, one_pass, rows, wait_until
from tests.support.waiting import is_gone

CYCLE = "Analysis-2025-Q1"
# The kernel's parent is its watchdog, whose parent is the process that runs the notebook.
NOTE = (
    "import os, psutil\nfrom pathlib import Path\n"
    "Path('ran-in').write_text(str(psutil.Process().parent().ppid()))\n"
    "Path('kernels').open('a').write(f'{os.getpid()}\\n')"
)
WAIT = "import time\nwhile not Path('gate').exists():\n    time.sleep(0.02)"
LOST = "The cluster was lost, or cancelled the run, before the notebook had ended."


@pytest.fixture
def dask(tmp_path, metastore, workflows, teams, monkeypatch) -> Iterator[DaskProcesses]:
    """A cluster that does not run yet, though the setting names its scheduler."""
    with DaskProcesses(tmp_path) as processes:
        configure(monkeypatch, MONITOR_STEP_EXECUTOR=processes.address)
        monkeypatch.setattr(clusters, "_ANSWER_SECONDS", 3.0)
        yield processes


@pytest.fixture
def notebook(dask, workflows) -> Path:
    """The notebook of a step that a finished batch makes due; it waits for a gate."""
    finished_batch(add_cycle(CYCLE), BatchType.ANALYSIS)
    return step_notebook(workflows, NOTE, WAIT, cycle=CYCLE, stage_num=4, step_num=2)


def wait_for_workers(number: int = 1) -> None:
    def are_there() -> bool:
        with closing(StepCluster(str(get_settings().monitor_step_executor))) as cluster:
            try:
                cluster.look()
            except NotebookError:
                return False
            return len(cluster.workers) == number

    wait_until(are_there)


def start_cluster(dask: DaskProcesses) -> tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]:
    """Start the scheduler and a worker, and return both when the one knows the other."""
    started = dask.start_scheduler(), dask.start_worker()
    wait_for_workers()
    return started


@contextmanager
def a_pass_at_its_notebook(notebook: Path) -> Iterator[Future[Pass]]:
    """Run a pass beside the test; its notebook's kernel is there when the block begins."""
    with ThreadPoolExecutor(1) as caller:
        running = caller.submit(one_pass)
        wait_until(lambda: kernels(notebook))
        yield running


def kernels(notebook: Path) -> list[int]:
    noted = notebook.parent / "kernels"
    return [int(line) for line in noted.read_text().split()] if noted.exists() else []


def chain_run(sql) -> tuple[str, int]:
    [found] = rows(sql, "SELECT status::text, attempt FROM irp_chain_run")
    return found


def open_gate(notebook: Path) -> None:
    (notebook.parent / "gate").touch()


def errors(done: Pass) -> str:
    return "\n".join(f"{error.about}: {error.text}" for error in done.summary.errors)


def test_a_pass_runs_its_notebooks_in_the_workers_of_the_cluster(dask, notebook, sql):
    _, worker = start_cluster(dask)
    open_gate(notebook)

    done = one_pass()

    assert errors(done) == ""
    assert (done.summary.chains_executed, done.summary.warnings) == (1, [])
    assert int((notebook.parent / "ran-in").read_text()) == worker.pid
    assert chain_run(sql) == ("COMPLETED", 1)
    [step] = done.chained.steps
    assert step.executed_path


@pytest.mark.faults
def test_the_monitors_notebook_runs_them_there_too(dask, notebook, sql, tmp_path):
    """In a kernel, whose main thread has a running event loop."""
    _, worker = start_cluster(dask)
    open_gate(notebook)
    monitor = PROJECT_DIR / "workflows" / MONITOR_NOTEBOOK

    outcome = NotebookRun(monitor, tmp_path / "executed.ipynb", timeout_seconds=120).execute()

    assert outcome.error is None
    assert int((notebook.parent / "ran-in").read_text()) == worker.pid
    assert chain_run(sql) == ("COMPLETED", 1)
    assert outcome.stderr == ""


@pytest.mark.faults
def test_what_is_due_waits_for_an_unreachable_cluster_and_loses_no_try(dask, notebook, sql):
    for _ in range(4):  # more than the tries of a chain run
        done = one_pass()
        assert "Next steps: The Dask scheduler at tcp://127.0.0.1" in errors(done)
        assert "does not answer" in errors(done)
        assert "Start it again, or correct MONITOR_STEP_EXECUTOR" in str(done.summary)
        assert done.chained.headline == "No step was started."
        assert chain_run(sql) == ("PENDING", 0)
        assert rows(sql, "SELECT 1 FROM irp_step_claim") == []

    start_cluster(dask)
    open_gate(notebook)
    assert errors(one_pass()) == ""
    assert chain_run(sql) == ("COMPLETED", 1)


def _no_worker(dask: DaskProcesses, tmp_path: Path) -> str:
    return "has no worker. Start one with `dask worker tcp://127.0.0.1:"


def _no_database(dask: DaskProcesses, tmp_path: Path) -> str:
    other = os.environ["DATABASE_URL"].replace("test_", "none_")
    dask.start_worker(DATABASE_URL=other)
    return "reaches another database than this machine, or none"


def _no_package(dask: DaskProcesses, tmp_path: Path) -> str:
    package = tmp_path / "other" / "helpers"  # stands before ours
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    dask.start_worker(PYTHONPATH=str(package.parent))
    return "cannot import this package, or does not answer (ModuleNotFoundError"


@pytest.mark.parametrize(
    "unfit", [_no_worker, _no_package, pytest.param(_no_database, marks=pytest.mark.faults)]
)
def test_a_cluster_without_a_worker_that_can_run_notebooks_costs_no_try(
    dask, notebook, sql, tmp_path, unfit
):
    dask.start_scheduler()
    expected = unfit(dask, tmp_path)

    wait_until(lambda: expected in errors(one_pass()))

    assert chain_run(sql) == ("PENDING", 0)
    [found] = [f.text for f in check_system().findings if f.about == "step executor"]
    assert expected in found


@pytest.mark.faults
def test_workers_that_cannot_run_notebooks_get_none_and_are_named(dask, notebook, sql, tmp_path):
    _, fit = start_cluster(dask)
    _no_package(dask, tmp_path)
    open_gate(notebook)

    with closing(StepCluster(str(get_settings().monitor_step_executor))) as cluster:

        def is_named() -> bool:
            cluster.look()
            return bool(cluster.warnings)

        wait_until(is_named)
    done = one_pass()

    assert int((notebook.parent / "ran-in").read_text()) == fit.pid
    assert chain_run(sql) == ("COMPLETED", 1)
    [warning] = done.summary.warnings
    assert "get no notebook: tcp://127.0.0.1" in warning
    assert warning in str(done.chained)


@pytest.mark.faults
def test_a_scheduler_that_dies_leaves_no_kernel_and_what_was_due_is_due_again(dask, notebook, sql):
    scheduler, _ = start_cluster(dask)

    with a_pass_at_its_notebook(notebook) as running:
        scheduler.kill()
        done = running.result(180)

    assert is_gone(*kernels(notebook))
    assert LOST in errors(done)
    assert chain_run(sql) == ("PENDING", 1)
    assert rows(sql, "SELECT owner FROM irp_step_claim") == [(None,)]
    assert "does not answer" in errors(one_pass())
    assert chain_run(sql) == ("PENDING", 1)

    scheduler.wait()
    start_cluster(dask)
    open_gate(notebook)
    assert errors(one_pass()) == ""
    assert chain_run(sql) == ("COMPLETED", 2)
    assert len(kernels(notebook)) == 2


@pytest.mark.faults
def test_a_notebook_that_ended_is_not_run_again_if_its_cluster_dies_before_it_says_so(
    dask, notebook, sql
):
    scheduler, _ = start_cluster(dask)

    with a_pass_at_its_notebook(notebook) as running:
        os.kill(scheduler.pid, signal.SIGSTOP)  # so that no outcome gets through
        open_gate(notebook)
        ended = "SELECT 1 FROM irp_step_claim WHERE worker_ended_ts IS NOT NULL"
        wait_until(lambda: rows(sql, ended))
        wait_until(lambda: chain_run(sql) == ("COMPLETED", 1))  # by the row of the claim
        scheduler.kill()
        done = running.result(180)

    assert errors(done) == ""
    assert chain_run(sql) == ("COMPLETED", 1)
    [step] = done.chained.steps
    assert step.executed_path
    assert one_pass().chained.headline == "No step was due."
    assert len(kernels(notebook)) == 1


@pytest.mark.faults
def test_a_worker_that_dies_ends_its_kernel_and_the_step_fails_though_no_other_comes(
    dask, notebook, sql, monkeypatch
):
    monkeypatch.setattr(executor, "GONE_SECONDS", 6.0)  # its kernel goes with it at once
    _, worker = start_cluster(dask)

    with a_pass_at_its_notebook(notebook) as running:
        worker.kill()
        done = running.result(180)

    assert "The worker that ran this notebook is gone" in errors(done)
    assert chain_run(sql) == ("FAILED", 1)
    assert is_gone(*kernels(notebook))


@pytest.mark.faults
def test_a_monitor_that_is_killed_leaves_a_kernel_that_ends_with_its_lease(dask, notebook, sql):
    start_cluster(dask)
    monitor = subprocess.Popen([sys.executable, "-m", "helpers.monitor"], stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: kernels(notebook))
    finally:
        monitor.kill()
        monitor.wait()

    wait_until(lambda: is_gone(*kernels(notebook)))

    verdict = "SELECT worker_verdict ->> 'error' FROM irp_step_claim"
    [(error,)] = wait_until(lambda: [row for row in rows(sql, verdict) if row[0]])
    assert "had not been renewed for 45 seconds" in error
    assert chain_run(sql) == ("RUNNING", 1)
    age_claims(sql, 91)
    open_gate(notebook)
    one_pass()
    assert chain_run(sql) == ("COMPLETED", 2)
    assert len(kernels(notebook)) == 2


def test_a_run_by_hand_goes_to_the_cluster_unless_an_executor_is_given(dask, notebook):
    open_gate(notebook)
    refused = execute_next_step(notebook)
    assert not refused["success"]
    assert "does not answer" in str(refused["error"])

    with ThreadPoolExecutor(1) as here:
        assert execute_next_step(notebook, executor=here)["error"] is None
    assert int((notebook.parent / "ran-in").read_text()) == os.getpid()

    _, worker = start_cluster(dask)
    assert execute_next_step(notebook)["error"] is None
    assert int((notebook.parent / "ran-in").read_text()) == worker.pid


PASS = (
    "import sys\nfrom helpers.monitor import run_pass\nrun_pass()\n"
    "print(sorted({'dask', 'distributed', 'helpers.notebooks.cluster'} & set(sys.modules)))"
)


def imported_by_a_pass(**environment: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", PASS],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout.strip()


def test_nothing_of_a_cluster_is_imported_if_none_is_set_and_no_dask_if_nothing_is_due(
    notebook, sql
):
    without = dict.fromkeys(["MONITOR_STEP_EXECUTOR"], "")
    open_gate(notebook)
    assert imported_by_a_pass(**without) == "[]"
    assert chain_run(sql) == ("COMPLETED", 1)
    assert imported_by_a_pass() == "['helpers.notebooks.cluster']"


def test_without_dask_each_pass_and_the_check_say_what_to_install(dask, sql, monkeypatch):
    monkeypatch.setattr(clusters, "find_spec", lambda name: None)
    expected = "MONITOR_STEP_EXECUTOR is set, and Dask is not installed here."

    assert expected in errors(one_pass())  # although nothing is due
    [found] = [f.text for f in check_system().findings if f.about == "step executor"]
    assert found.startswith(expected)


def test_a_check_counts_the_workers_and_names_other_versions(dask, tmp_path):
    start_cluster(dask)
    older = tmp_path / "older" / "batch_monitoring-0.1.0.dist-info"
    older.mkdir(parents=True)
    (older / "METADATA").write_text("Metadata-Version: 2.1\nName: batch-monitoring\nVersion: 0.1.0")
    dask.start_worker(PYTHONPATH=str(older.parent))
    wait_for_workers(2)

    found = [f.text for f in check_system().findings if f.about == "step executor"]

    assert found[0].endswith("has 2 workers for notebooks")
    assert found[1].startswith("1 worker has other versions than this machine (Python 3.")
    assert found[1].endswith("has batch-monitoring 0.1.0. Install the same ones.")


def test_the_versions_of_workers_are_those_of_this_machine_or_named_once():
    here = NotebookHost(
        ("Python 3.12", "batch-monitoring 0.2.0"), sees_workflows=True, database="a"
    )
    other = replace(here, versions=("Python 3.11", "batch-monitoring 0.2.0"))

    assert list(clusters._differences({"w1": here}, here)) == []
    [sentence] = clusters._differences({"w1": other, "w2": here, "w3": other}, here)
    assert "2 workers have other versions" in sentence
    assert "w1 has Python 3.11, w3 has Python 3.11" in sentence


def test_a_worker_without_the_workflows_folder_or_with_another_database_is_unfit(workflows):
    here = NotebookHost(("Python 3.12",), sees_workflows=True, database="a")

    assert clusters._unfit(here, here) == ""
    assert clusters._unfit(replace(here, sees_workflows=False), here).startswith("has no folder /")
    assert "another database" in clusters._unfit(replace(here, database="b"), here)
    assert "does not answer (OSError)" in clusters._unfit(OSError(), here)

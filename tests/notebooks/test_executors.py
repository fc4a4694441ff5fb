"""Step notebooks that run elsewhere: in another process, or in a cluster of workers."""

from __future__ import annotations

import os
import pickle
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import psutil
import pytest

from helpers.notebook_executor import execute_next_step
from helpers.notebooks.executor import ExecutorRun, Lease, LeasedRun
from helpers.notebooks.run import Ending
from sandbox.seeding import add_cycle, add_step
from tests.support.notebooks import step_notebook, write_notebook

CYCLE = "Analysis-2025-Q1"
# The kernel's parent is its watchdog, whose parent is the process that runs the notebook.
NOTE_PARENT = (
    "import psutil\nfrom pathlib import Path\n"
    "Path('ran-in').write_text(str(psutil.Process().parent().ppid()))"
)
NOTE_AND_WAIT = (
    "import os, time\nfrom pathlib import Path\n"
    "Path('kernel').write_text(str(os.getpid()))\ntime.sleep(600)"
)
PATIENCE_SECONDS = 60.0


def wait_until(condition) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def written(path: Path) -> int | None:
    """The number in a file; None where it is not there yet."""
    text = path.read_text() if path.exists() else ""
    return int(text) if text else None


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def process() -> Iterator[Executor]:
    """One worker process, which shares nothing with this one."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        yield executor


@pytest.fixture
def step(metastore, workflows):
    """Make the notebook of a step that the metastore knows; return its path."""
    cycle = add_cycle(CYCLE)

    def of(step_num: int, *cells: str) -> Path:
        add_step(cycle, stage_num=4, step_num=step_num)
        return step_notebook(workflows, *cells, cycle=CYCLE, stage_num=4, step_num=step_num)

    return of


def test_a_step_runs_in_the_executors_process_and_is_logged_here(process, step, sql):
    notebook = step(1, NOTE_PARENT, "print('from afar')")
    worker = process.submit(os.getpid).result()

    result = execute_next_step(notebook, executor=process)

    assert (result["success"], result["error"]) == (True, None)
    assert result["stdout"] == "from afar\n"
    assert written(notebook.parent / "ran-in") == worker
    assert result["executed_path"].exists()
    assert sql.execute("SELECT status::text FROM irp_step_run").fetchall() == [("COMPLETED",)]
    assert sorted(path.suffix for path in result["executed_path"].parent.iterdir()) == [".ipynb"]


def test_a_notebook_that_fails_elsewhere_is_a_result(process, step, sql):
    result = execute_next_step(step(1, "raise ValueError('no such portfolio')"), executor=process)

    assert not result["success"]
    assert "no such portfolio" in result["error"]
    assert sql.execute("SELECT status::text FROM irp_step_run").fetchall() == [("FAILED",)]


def test_a_worker_that_dies_ends_the_step_and_its_kernel(process, step, sql):
    notebook = step(1, NOTE_AND_WAIT)
    worker = process.submit(os.getpid).result()

    with ThreadPoolExecutor(1) as caller:
        running = caller.submit(execute_next_step, notebook, executor=process)
        wait_until(lambda: written(notebook.parent / "kernel"))
        psutil.Process(worker).kill()
        result = running.result(PATIENCE_SECONDS)

    assert "could not be run" in result["error"]
    assert sql.execute("SELECT status::text FROM irp_step_run").fetchall() == [("FAILED",)]
    wait_until(lambda: is_gone(written(notebook.parent / "kernel")))


def prepared(executor: Executor, source: Path) -> ExecutorRun:
    copy = source.parent / "runs" / "copy.ipynb"
    return ExecutorRun(executor, source, copy, timeout_seconds=PATIENCE_SECONDS, environment={})


def test_a_run_is_stopped_in_another_process(process, tmp_path):
    run = prepared(process, write_notebook(tmp_path / "n.ipynb", NOTE_AND_WAIT))

    with ThreadPoolExecutor(1) as caller:
        running = caller.submit(run.execute)
        wait_until(lambda: written(tmp_path / "kernel"))
        run.stop("The hand-over was lost.")
        outcome = running.result(PATIENCE_SECONDS)

    assert outcome.error.startswith("The hand-over was lost.")
    assert is_gone(written(tmp_path / "kernel"))


def test_a_run_that_waits_for_a_worker_is_never_started_once_stopped(tmp_path):
    begin = threading.Event()
    with ThreadPoolExecutor(1) as busy, ThreadPoolExecutor(1) as caller:
        busy.submit(begin.wait, PATIENCE_SECONDS)
        run = prepared(busy, write_notebook(tmp_path / "n.ipynb", NOTE_PARENT))
        running = caller.submit(run.execute)
        wait_until(busy._work_queue.qsize)
        run.stop("Interrupted.")
        outcome = running.result(PATIENCE_SECONDS)
        begin.set()

    assert outcome.error == "Interrupted."
    assert not (tmp_path / "ran-in").exists()


def test_a_run_that_is_stopped_before_it_begins_is_not_handed_over(process, tmp_path):
    run = prepared(process, write_notebook(tmp_path / "n.ipynb", NOTE_PARENT))

    run.stop("Interrupted.")

    assert run.execute().error == "Interrupted."
    assert not (tmp_path / "ran-in").exists()


@pytest.fixture
def leased(tmp_path) -> LeasedRun:
    """An endless run as a worker gets it, pickled on its way; its lease is written only once."""
    source = write_notebook(tmp_path / "n.ipynb", NOTE_AND_WAIT)
    lease = tmp_path / "copy.ipynb.lease"
    lease.write_text('{"reason": null}')
    run = LeasedRun(
        source, tmp_path / "copy.ipynb", PATIENCE_SECONDS, {}, lease, silence_seconds=15.0
    )
    return pickle.loads(pickle.dumps(run))


def test_a_run_ends_when_its_caller_renews_the_lease_no_longer(leased):
    outcome = leased.execute()

    assert outcome.ending is Ending.STOPPED
    assert "has stopped renewing its lease" in outcome.error
    assert is_gone(written(leased.source.parent / "kernel"))


def test_a_run_ends_when_its_caller_has_taken_the_lease_away(leased):
    with ThreadPoolExecutor(1) as worker:
        running = worker.submit(leased.execute)
        wait_until(lambda: written(leased.source.parent / "kernel"))
        leased.lease.unlink()

        assert "is gone" in running.result(PATIENCE_SECONDS).error


def test_work_that_an_engine_repeats_is_not_started_twice(leased):
    leased.lease.with_suffix(".started").touch()  # by a worker that has died

    outcome = leased.execute()

    assert outcome.ending is Ending.FAILED
    assert "not started a second time" in outcome.error
    assert not (leased.source.parent / "kernel").exists()


def test_work_whose_caller_is_gone_is_not_started(leased):
    leased.lease.unlink()

    assert "is gone" in leased.execute().error
    assert list(leased.source.parent.iterdir()) == [leased.source]


def test_a_lease_is_renewed_while_the_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("helpers.notebooks.executor.RENEW_SECONDS", 0.01)
    lease = Lease(tmp_path / "copy.ipynb.lease")

    with lease.renewed():
        first = lease.path.read_text()
        wait_until(lambda: lease.path.read_text() not in {"", first})

    assert not lease.path.exists()


@pytest.fixture
def cluster(metastore, workflows) -> Iterator[Executor]:
    """A local Dask cluster of two worker processes, as an executor."""
    distributed = pytest.importorskip("distributed", reason="Dask comes with the extra 'dask'")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as local,
        distributed.Client(local) as client,
    ):
        yield client.get_executor(pure=False)


def test_a_dask_cluster_runs_two_steps_on_two_workers(cluster, step, sql):
    together = (
        "import time\nfrom pathlib import Path\nPath('here-{0}').touch()\n"
        "until = time.monotonic() + 60\n"
        "while not Path('here-{1}').exists():\n"
        "    assert time.monotonic() < until\n    time.sleep(0.02)\n"
        "import psutil\nPath('ran-in-{0}').write_text(str(psutil.Process().parent().ppid()))"
    )
    notebooks = [step(1, together.format(1, 2)), step(2, together.format(2, 1))]

    with ThreadPoolExecutor(2) as callers:
        results = list(callers.map(lambda n: execute_next_step(n, executor=cluster), notebooks))

    assert [result["error"] for result in results] == [None, None]
    folder = notebooks[0].parent
    workers = {written(folder / "ran-in-1"), written(folder / "ran-in-2")}
    assert len(workers) == 2
    assert os.getpid() not in workers
    statuses = sql.execute("SELECT status::text FROM irp_step_run").fetchall()
    assert statuses == [("COMPLETED",), ("COMPLETED",)]


def test_a_step_that_a_cluster_runs_can_be_stopped(cluster, workflows):
    run = prepared(cluster, write_notebook(workflows / "n.ipynb", NOTE_AND_WAIT))

    with ThreadPoolExecutor(1) as caller:
        running = caller.submit(run.execute)
        wait_until(lambda: written(workflows / "kernel"))
        run.stop("The hand-over was lost.")
        outcome = running.result(PATIENCE_SECONDS)

    assert outcome.error.startswith("The hand-over was lost.")
    wait_until(lambda: is_gone(written(workflows / "kernel")))

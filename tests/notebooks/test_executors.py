"""Step notebooks that run elsewhere: in another process, or in a cluster of workers."""

import os
import pickle
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import psutil
import pytest

from helpers.notebook_executor import execute_next_step
from helpers.notebooks import executor as executor_module
from helpers.notebooks.executor import ClaimKey, ExecutorRun, WorkElsewhere
from helpers.notebooks.run import Ending
from sandbox.seeding import add_cycle, add_step
from tests.support.notebooks import step_notebook, write_notebook
from tests.support.waiting import is_gone

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
    """The number in a file; None if it is not there yet."""
    text = path.read_text() if path.exists() else ""
    return int(text) if text else None


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
    assert list(result["executed_path"].parent.iterdir()) == [result["executed_path"]]


def test_a_notebook_that_fails_elsewhere_is_a_result(process, step, sql):
    result = execute_next_step(step(1, "raise ValueError('no such portfolio')"), executor=process)

    assert not result["success"]
    assert "no such portfolio" in result["error"]
    assert sql.execute("SELECT status::text FROM irp_step_run").fetchall() == [("FAILED",)]


@pytest.mark.faults
def test_a_worker_that_dies_ends_the_step_and_its_kernel(process, step, sql, monkeypatch):
    monkeypatch.setattr(executor_module, "GONE_SECONDS", 6.0)  # its kernel goes with it at once
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


@pytest.fixture
def claim(metastore, sql) -> ClaimKey:
    """A claim of a step that was renewed just now."""
    step_id = add_step(add_cycle(CYCLE), stage_num=4, step_num=9)
    sql.execute(
        "INSERT INTO irp_step_claim (step_id, attempt, owner, claim_expires_ts)"
        " VALUES (%s, 1, 'somebody', now() + interval '90 s')",
        [step_id],
    )
    return ClaimKey(step_id, attempt=1, lasts_seconds=90.0)


def prepared(executor: Executor, source: Path, claim: ClaimKey) -> ExecutorRun:
    copy = source.parent / "runs" / "copy.ipynb"
    return ExecutorRun(
        executor, source, copy, timeout_seconds=PATIENCE_SECONDS, environment={}, claim=claim
    )


def test_a_run_is_stopped_in_another_process(process, tmp_path, claim):
    run = prepared(process, write_notebook(tmp_path / "n.ipynb", NOTE_AND_WAIT), claim)

    with ThreadPoolExecutor(1) as caller:
        running = caller.submit(run.execute)
        wait_until(lambda: written(tmp_path / "kernel"))
        run.stop("The chain run was lost.")
        outcome = running.result(PATIENCE_SECONDS)

    assert outcome.error.startswith("The chain run was lost.")
    assert is_gone(written(tmp_path / "kernel"))


def test_a_run_that_waits_for_a_worker_is_never_started_once_stopped(tmp_path, claim):
    begin = threading.Event()
    with ThreadPoolExecutor(1) as busy, ThreadPoolExecutor(1) as caller:
        busy.submit(begin.wait, PATIENCE_SECONDS)
        run = prepared(busy, write_notebook(tmp_path / "n.ipynb", NOTE_PARENT), claim)
        running = caller.submit(run.execute)
        wait_until(busy._work_queue.qsize)
        run.stop("Interrupted.")
        outcome = running.result(PATIENCE_SECONDS)
        begin.set()

    assert outcome.error == "Interrupted."
    assert not (tmp_path / "ran-in").exists()


def test_a_run_that_is_stopped_before_it_begins_is_not_handed_over(process, tmp_path, claim):
    run = prepared(process, write_notebook(tmp_path / "n.ipynb", NOTE_PARENT), claim)

    run.stop("Interrupted.")

    assert run.execute().error == "Interrupted."
    assert not (tmp_path / "ran-in").exists()


class Engine(ThreadPoolExecutor):
    """Runs work, and tells nothing of how it ended unless a test does."""

    def submit(self, work, /):
        super().submit(work)
        self.future: Future = Future()
        return self.future


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine(1) as made:
        yield made


def test_an_engine_that_cancels_a_run_does_not_end_it_before_its_kernel_is_gone(
    engine, tmp_path, claim
):
    run = prepared(engine, write_notebook(tmp_path / "n.ipynb", NOTE_AND_WAIT), claim)

    with ThreadPoolExecutor(1) as caller:
        running = caller.submit(run.execute)
        wait_until(lambda: written(tmp_path / "kernel"))
        engine.future.cancel()  # as Dask does with all that was due at a scheduler that is gone
        outcome = running.result(PATIENCE_SECONDS)

    assert outcome.ending is Ending.STOPPED
    assert is_gone(written(tmp_path / "kernel"))


def test_an_outcome_that_is_lost_on_its_way_is_read_from_the_claim(engine, tmp_path, claim, sql):
    run = prepared(engine, write_notebook(tmp_path / "n.ipynb", "1 / 0"), claim)

    with ThreadPoolExecutor(1) as caller:
        running = caller.submit(run.execute)
        ended = "SELECT worker_ended_ts FROM irp_step_claim"
        wait_until(lambda: sql.execute(ended).fetchone()[0])
        engine.future.set_exception(OSError("The worker died."))
        outcome = running.result(PATIENCE_SECONDS)

    assert outcome.ending is Ending.FAILED
    assert "ZeroDivisionError" in outcome.error
    assert outcome.executed_path.exists()
    assert run.verdict.result().error == outcome.error


def test_a_verdict_is_known_before_the_outcome(engine, tmp_path, claim):
    run = prepared(engine, write_notebook(tmp_path / "n.ipynb", "1"), claim)

    with ThreadPoolExecutor(1) as caller:
        running = caller.submit(run.execute)
        assert run.verdict.result(PATIENCE_SECONDS).ending is Ending.SUCCEEDED
        assert not running.done()
        engine.future.cancel()
        assert running.result(PATIENCE_SECONDS).ending is Ending.SUCCEEDED


def test_a_run_that_no_worker_starts_in_time_is_stopped_for_good(tmp_path, claim):
    begin = threading.Event()
    with ThreadPoolExecutor(1) as busy:
        busy.submit(begin.wait, PATIENCE_SECONDS)
        source = write_notebook(tmp_path / "n.ipynb", NOTE_PARENT)
        run = ExecutorRun(
            busy, source, tmp_path / "c.ipynb", timeout_seconds=0.5, environment={}, claim=claim
        )
        outcome = run.execute()
        begin.set()

    assert outcome.ending is Ending.STOPPED
    assert outcome.error.startswith("No worker has started this notebook")
    assert not (tmp_path / "ran-in").exists()


@pytest.fixture
def work(tmp_path, claim) -> WorkElsewhere:
    """An endless run as a worker gets it, pickled on its way."""
    source = write_notebook(tmp_path / "n.ipynb", NOTE_AND_WAIT)
    work = WorkElsewhere(source, tmp_path / "copy.ipynb", PATIENCE_SECONDS, {}, claim)
    return pickle.loads(pickle.dumps(work))


def test_a_run_ends_when_its_claim_is_renewed_no_longer(work, sql):
    # As if the last beat were 35 s old, of the 45 s that it is worth.
    sql.execute("UPDATE irp_step_claim SET claim_expires_ts = now() + interval '55 s'")
    outcome = work.execute()

    assert outcome.ending is Ending.STOPPED
    assert "had not been renewed for 45 seconds" in outcome.error
    kernel = written(work.source.parent / "kernel")
    assert kernel is None or is_gone(kernel)  # a slow machine has not started it at all


def test_a_run_goes_on_while_its_claim_is_renewed(work, sql):
    sql.execute("UPDATE irp_step_claim SET claim_expires_ts = now() + interval '55 s'")
    until = time.monotonic() + 14
    with ThreadPoolExecutor(1) as worker:
        running = worker.submit(work.execute)
        while time.monotonic() < until:
            sql.execute("UPDATE irp_step_claim SET claim_expires_ts = now() + interval '90 s'")
            time.sleep(0.5)
        assert not running.done()
        sql.execute("UPDATE irp_step_claim SET stop_reason = 'Enough.'")
        assert running.result(PATIENCE_SECONDS).error.startswith("Enough.")


@pytest.mark.parametrize("change", ["owner = NULL, claim_expires_ts = NULL", "attempt = 2"])
def test_a_run_ends_when_its_claim_is_released_or_anothers(work, sql, change):
    with ThreadPoolExecutor(1) as worker:
        running = worker.submit(work.execute)
        wait_until(lambda: written(work.source.parent / "kernel"))
        sql.execute(f"UPDATE irp_step_claim SET {change}")
        outcome = running.result(PATIENCE_SECONDS)

    assert outcome.ending is Ending.STOPPED
    assert "was released, or is another's by now" in outcome.error


def test_work_that_an_engine_repeats_is_not_started_twice(work, sql):
    sql.execute("UPDATE irp_step_claim SET worker_started_ts = now()")  # by one that has died
    outcome = work.execute()

    assert outcome.ending is Ending.FAILED
    assert "not started a second time" in outcome.error
    assert not (work.source.parent / "kernel").exists()


@pytest.mark.parametrize("change", ["owner = NULL, claim_expires_ts = NULL", "attempt = 2"])
def test_work_whose_claim_is_gone_is_not_started(work, sql, change):
    sql.execute(f"UPDATE irp_step_claim SET {change}")

    assert work.execute().ending is Ending.STOPPED
    assert list(work.source.parent.iterdir()) == [work.source]


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


def test_a_step_that_a_cluster_runs_can_be_stopped(cluster, workflows, claim):
    run = prepared(cluster, write_notebook(workflows / "n.ipynb", NOTE_AND_WAIT), claim)

    with ThreadPoolExecutor(1) as caller:
        running = caller.submit(run.execute)
        wait_until(lambda: written(workflows / "kernel"))
        run.stop("The chain run was lost.")
        outcome = running.result(PATIENCE_SECONDS)

    assert outcome.error.startswith("The chain run was lost.")
    assert is_gone(written(workflows / "kernel"))  # before its claim may be released

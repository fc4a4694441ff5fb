"""A pass that is interrupted, in each section: no lock, claim or process stays behind."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import psutil
import pytest

from helpers.constants import BatchType
from helpers.monitor import Monitor
from helpers.notebook_executor import execute_next_step
from helpers.settings import get_settings
from helpers.steps import claims
from helpers.steps.claims import Claim
from helpers.steps.heartbeat import Heartbeat
from helpers.steps.runner import INTERRUPTED
from sandbox.misbehaviour import Fault
from sandbox.seeding import add_cycle
from tests.support.notebooks import step_notebook
from tests.support.passes import active_batch, finished_batch, one_pass, rows, running, wait_until
from tests.support.waiting import is_gone

CYCLE = "Analysis-2025-Q1"
# Starts a program of its own, which must end with the notebook.
WAITS = """
import subprocess, time
program = subprocess.Popen(["sleep", "600"], start_new_session=True)
open("started", "w").write(str(program.pid))
time.sleep(600)
"""


@pytest.fixture
def cycle(metastore, workflows) -> int:
    return add_cycle(CYCLE)


@pytest.fixture
def waiting(cycle, workflows) -> Path:
    """The notebook of a step that is due; it waits for ever."""
    finished_batch(cycle, BatchType.ANALYSIS)
    return step_notebook(workflows, WAITS, cycle=CYCLE, stage_num=4, step_num=2)


@contextlib.contextmanager
def interrupted_when(condition: Callable[[], object], *, times: int = 1) -> Iterator[None]:
    """Expect the block to end by Ctrl-C, which comes as soon as the condition holds."""

    def interrupt() -> None:
        wait_until(condition)
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        thread.join()


def assert_nothing_is_held(sql) -> None:
    # The server frees the locks of a connection a moment after it was closed.
    wait_until(lambda: rows(sql, "SELECT FROM pg_locks WHERE locktype = 'advisory'") == [])
    open_transactions = (
        "SELECT FROM pg_stat_activity WHERE datname = current_database() "
        "AND state LIKE 'idle in transaction%%'"
    )
    wait_until(lambda: rows(sql, open_transactions) == [])
    assert rows(sql, "SELECT count(*) FROM irp_step_claim WHERE owner IS NOT NULL") == [(0,)]


def test_while_polling(cycle, moodys, sql, monkeypatch):
    monkeypatch.setenv("MONITOR_POLL_WORKERS", "8")  # so that all ask at once
    get_settings.cache_clear()
    batch = active_batch(cycle, BatchType.GEOHAZ, [running(moodys, "geohaz") for _ in range(80)])
    moodys.misbehave(Fault.HANG)
    monitor = Monitor()
    monitor.find_batches()

    with interrupted_when(lambda: moodys.in_flight == 8):
        monitor.poll_jobs()

    assert_nothing_is_held(sql)
    moodys.behave()
    wait_until(lambda: not any(t.name.startswith("poll") for t in threading.enumerate()))
    assert moodys.statistics()["requests_total"] == 8  # nobody asked on
    assert rows(sql, "SELECT count(*) FROM irp_job_tracking_log") == [(0,)]
    assert one_pass().polled.batch_ids == [batch.batch_id]


def test_while_reconciling(cycle, sql, metastore):
    batch = finished_batch(cycle, BatchType.GROUPING_ROLLUP)
    monitor = Monitor()
    monitor.find_batches()
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with sql.transaction():
        sql.execute("SELECT FROM irp_batch FOR UPDATE")
        with interrupted_when(lambda: rows(sql, waits) == [(1,)]):
            monitor.reconcile_batches()

    assert_nothing_is_held(sql)
    assert rows(sql, "SELECT status::text FROM irp_batch") == [("ACTIVE",)]
    assert rows(sql, "SELECT count(*) FROM irp_batch_recon_log") == [(0,)]
    assert one_pass().became == {batch.batch_id: "COMPLETED"}


@pytest.mark.parametrize("times", [1, 3])
def test_while_a_notebook_runs_however_impatiently(waiting, sql, times):
    monitor = Monitor()
    monitor.find_batches()
    monitor.reconcile_batches()
    started = waiting.with_name("started")

    with interrupted_when(lambda: started.exists() and started.read_text(), times=times):
        monitor.execute_next_steps()

    assert is_gone(int(started.read_text()))
    assert not [t for t in threading.enumerate() if t.name == "heartbeat" or "step" in t.name]
    assert_nothing_is_held(sql)
    assert rows(sql, "SELECT status::text, attempt FROM irp_chain_run") == [("PENDING", 1)]
    [(status, error)] = rows(sql, "SELECT status::text, error_message FROM irp_step_run")
    assert (status, error.startswith(INTERRUPTED)) == ("FAILED", True)
    assert rows(sql, "SELECT count(*) FROM irp_notification") == [(0,)]


@pytest.mark.parametrize("run", [Monitor.execute_next_steps, None], ids=["pass", "by hand"])
def test_at_the_very_moment_of_claiming(waiting, sql, monkeypatch, run):
    monitor = Monitor()
    monitor.find_batches()
    monitor.reconcile_batches()
    take = claims._take

    def take_and_be_interrupted(step_id: int, **options: bool) -> Claim | None:
        claimed = take(step_id, **options)
        signal.raise_signal(signal.SIGINT)
        return claimed

    monkeypatch.setattr(claims, "_take", take_and_be_interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(monitor) if run else execute_next_step(waiting)

    assert_nothing_is_held(sql)
    assert rows(sql, "SELECT status::text, attempt FROM irp_chain_run") == [("PENDING", 1)]


def test_while_cards_are_sent(cycle, moodys, teams, sql):
    active_batch(cycle, BatchType.MRI_IMPORT, [running(moodys, "import", "FAILED")])
    teams.misbehave(Fault.HANG)
    monitor = Monitor()
    monitor.find_batches()
    monitor.poll_jobs()
    monitor.reconcile_batches()
    monitor.execute_next_steps()

    with interrupted_when(lambda: teams.in_flight == 1):
        monitor.summarise()

    assert_nothing_is_held(sql)
    assert rows(sql, "SELECT status::text FROM irp_notification") == [("PENDING",)]
    teams.behave()
    assert one_pass().summary.cards_sent == 1


def test_a_step_that_is_run_by_hand(waiting, sql):
    monitor = Monitor()
    monitor.find_batches()
    monitor.reconcile_batches()
    started = waiting.with_name("started")

    with interrupted_when(lambda: started.exists() and started.read_text()):
        execute_next_step(waiting)

    assert is_gone(int(started.read_text()))
    assert_nothing_is_held(sql)
    assert rows(sql, "SELECT status::text, attempt FROM irp_chain_run") == [("PENDING", 1)]
    assert rows(sql, "SELECT status::text FROM irp_step_run") == [("FAILED",)]


def test_a_step_run_by_hand_that_cannot_be_logged_gives_its_claim_back(waiting, sql):
    monitor = Monitor()
    monitor.find_batches()
    monitor.reconcile_batches()
    sql.execute("ALTER TABLE irp_step_run ADD CHECK (run_num > 5)")

    with pytest.raises(Exception, match="violates check constraint"):
        execute_next_step(waiting)

    assert_nothing_is_held(sql)
    assert rows(sql, "SELECT status::text FROM irp_chain_run") == [("PENDING",)]


def test_a_step_run_by_hand_that_is_interrupted_after_its_end_is_not_released(
    cycle, workflows, sql, monkeypatch
):
    finished_batch(cycle, BatchType.ANALYSIS)
    source = step_notebook(workflows, "1", cycle=CYCLE, stage_num=4, step_num=2)
    monitor = Monitor()
    monitor.find_batches()
    monitor.reconcile_batches()
    stop = Heartbeat.stop

    def stop_and_be_interrupted(heartbeat: Heartbeat) -> None:
        stop(heartbeat)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Heartbeat, "stop", stop_and_be_interrupted)
    with pytest.raises(KeyboardInterrupt):
        execute_next_step(source)

    assert rows(sql, "SELECT status::text, attempt FROM irp_chain_run") == [("COMPLETED", 1)]
    assert rows(sql, "SELECT status::text FROM irp_step_run") == [("COMPLETED",)]


# --- The command, as cron and systemd run it.


def command(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "helpers.monitor", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
    )


def test_the_command_prints_the_summary_and_exits_with_0(cycle, moodys, tmp_path, sql):
    active_batch(cycle, BatchType.ANALYSIS, [running(moodys, "model")])

    with command(tmp_path) as process:
        message, complaint = process.communicate(timeout=60)

    assert (process.returncode, complaint) == (0, "")
    assert message.startswith("All is well; 1 batch is active.\n\n  batches found        1\n")
    assert "  jobs polled          1\n" in message
    assert "<" not in message
    assert rows(sql, "SELECT started_by FROM irp_monitor_run") == [("command",)]


def test_the_quiet_command_prints_only_what_somebody_should_see(cycle, moodys, tmp_path):
    active_batch(cycle, BatchType.ANALYSIS, [running(moodys, "model")])
    with command(tmp_path, "--quiet") as process:
        message, complaint = process.communicate(timeout=60)
    assert (process.returncode, message, complaint) == (0, "", "")

    moodys.misbehave(Fault.HTTP_STATUS, http_status=404)
    with command(tmp_path, "--quiet") as process:
        message, complaint = process.communicate(timeout=60)
    assert (process.returncode, message[:7]) == (1, "1 error")


@pytest.mark.parametrize(("argument", "code"), [("--help", 0), ("--dry-run", 2)])
def test_asking_for_help_and_mistyping_run_no_pass(cycle, tmp_path, sql, argument, code):
    with command(tmp_path, argument) as process:
        message, complaint = process.communicate(timeout=60)

    assert process.returncode == code
    assert "--quiet" in message + complaint
    assert rows(sql, "SELECT count(*) FROM irp_monitor_run") == [(0,)]


def test_the_command_exits_with_1_where_something_went_wrong_and_names_it(cycle, moodys, tmp_path):
    active_batch(cycle, BatchType.GEOHAZ, [running(moodys, "geohaz")])
    moodys.misbehave(Fault.HTTP_STATUS, http_status=404)

    with command(tmp_path) as process:
        message, complaint = process.communicate(timeout=60)

    assert (process.returncode, complaint) == (1, "")
    assert message.startswith("1 error (Job 1)")
    assert "Errors encountered\n  Job 1: Moody's does not know job" in message


@pytest.mark.parametrize(
    ("url", "words"),
    [("", "Set DATABASE_URL"), ("postgresql://u:s3cret-word@127.0.0.1:1/x", "cannot be reached")],
)
def test_the_command_says_in_one_line_what_is_missing(tmp_path, monkeypatch, url, words):
    monkeypatch.setenv("DATABASE_URL", url)

    with command(tmp_path) as process:
        message, complaint = process.communicate(timeout=60)

    assert (process.returncode, message) == (1, "")
    assert complaint.startswith("Monitoring failed. ")
    assert words in complaint
    assert complaint.count("\n") == 1
    assert "s3cret" not in complaint


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT], ids=lambda s: s.name)
def test_a_polite_end_of_the_command_gives_the_claim_back_and_leaves_no_process(
    waiting, tmp_path, sql, signum
):
    started = waiting.with_name("started")
    with command(tmp_path) as process:
        wait_until(lambda: started.exists() and started.read_text())
        below = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signum)
        message, complaint = process.communicate(timeout=60)

    assert (process.returncode, message) == (1, "")
    assert complaint == "Interrupted; the next pass goes on from here.\n"
    assert is_gone(int(started.read_text()))
    assert psutil.wait_procs(below, timeout=10)[1] == []
    assert_nothing_is_held(sql)
    assert rows(sql, "SELECT status::text, attempt FROM irp_chain_run") == [("PENDING", 1)]
    [copy] = (waiting.parents[2] / "runs").glob("*.ipynb")
    nbformat.validate(nbformat.read(copy, as_version=4))

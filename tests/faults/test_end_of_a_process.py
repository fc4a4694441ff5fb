"""The process of a pass ends soon after its budget, whatever a socket does."""

import os
import socket
import subprocess
import sys

import pytest

from helpers.constants import BatchType, JobStatus
from sandbox.misbehaviour import Fault
from sandbox.seeding import PreparedJob, add_cycle
from tests.support.passes import active_batch, configure, rows

PATIENCE_SECONDS = 60  # what drips would drip for hours


@pytest.fixture
def waiting(moodys, sql, workflows, monkeypatch):
    """A batch of eight jobs, and a short time to ask about them."""
    configure(monkeypatch, monitor_poll_budget_seconds=3)
    ids = moodys.add_jobs("geohaz", 8, status="RUNNING")
    jobs = [PreparedJob(JobStatus.SUBMITTED, workflow_id) for workflow_id in ids]
    active_batch(add_cycle("Analysis-2025-Q1"), BatchType.GEOHAZ, jobs)
    return sql


def run_pass() -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "helpers.monitor"],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": Fault.SLOW_HEADERS, "seconds": 0.5},
        {"fault": Fault.SLOW_DRIP, "seconds": 1.5},
        {"fault": Fault.HANG},
    ],
    ids=str,
)
def test_an_answer_that_drips_or_hangs_keeps_no_process(waiting, moodys, fault):
    moodys.misbehave(**fault)

    done = run_pass()

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert rows(waiting, "SELECT count(*) FROM irp_monitor_run WHERE finished_ts IS NOT NULL") == [
        (1,)
    ]


def test_a_connection_that_is_never_made_keeps_no_process(waiting, monkeypatch):
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        fill = [socket.socket() for _ in range(4)]  # nobody takes what waits, and no more may wait
        for one in fill:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        configure(monkeypatch, risk_modeler_base_url=f"http://127.0.0.1:{port}")

        done = run_pass()

        for one in fill:
            one.close()
    assert done.returncode == 1
    assert "Traceback" not in done.stderr

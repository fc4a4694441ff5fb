"""The worlds in which passes are measured: many active jobs, and a long past."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from helpers.constants import BatchStatus, BatchType, JobStatus
from helpers.database import transaction
from helpers.settings import PROJECT_DIR
from sandbox.moodys_jobs import Family
from sandbox.seeding import PreparedJob, add_batch, add_cycle, add_step
from sandbox.server import ServerProcess

HERE = Path(__file__).parent
_LONGEST_SECONDS = 300

LOCATIONS = {BatchType.ANALYSIS: (Family.MODEL, 4, 1), BatchType.GEOHAZ: (Family.GEOHAZ, 3, 6)}
"""Family at Moody's, stage and step of the batch types that are measured."""


def add_active_jobs(
    moodys: ServerProcess,
    batch_type: BatchType,
    *,
    jobs: int,
    batches: int,
    known: JobStatus = JobStatus.RUNNING,
    at_moodys: JobStatus = JobStatus.RUNNING,
) -> list[str]:
    """Let Moody's have so many jobs, watched in so many batches; return their ids.

    ``known`` is the status that the metastore has of them.
    """
    family, stage_num, step_num = LOCATIONS[batch_type]
    wanted = {"family": family, "status": at_moodys, "count": jobs}
    workflow_ids = moodys.control("POST", "jobs", wanted)["jobIds"]
    step = add_step(add_cycle(f"Active-{workflow_ids[0]}"), stage_num=stage_num, step_num=step_num)
    size = -(-jobs // batches)
    with transaction():
        for start in range(0, jobs, size):
            prepared = [PreparedJob(known, i) for i in workflow_ids[start : start + size]]
            add_batch(step, batch_type, prepared, status=BatchStatus.ACTIVE)
    return list(workflow_ids)


def add_finished_batches(*, batches: int, jobs: int) -> None:
    """Add ACTIVE batches whose jobs have all ended, each in a cycle of its own.

    So each hands over to a step of its own: two chain runs to one step run one after the other.
    """
    finished = [PreparedJob(JobStatus.FINISHED, "12345678") for _ in range(jobs)]
    for number in range(batches):
        cycle = add_cycle(f"Finished-{number}")
        step = add_step(cycle, stage_num=4, step_num=1)
        add_step(cycle, stage_num=4, step_num=2, requires_batch=False)
        add_batch(step, BatchType.ANALYSIS, finished, status=BatchStatus.ACTIVE)


def add_long_past(database: str, *, log_rows: int) -> None:
    """Add archived cycles with a tracking log of so many rows, as a vacuumed database has them."""
    script = (HERE.parent / "support" / "long_past.sql").read_text(encoding="utf-8")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("SELECT set_config('bench.log_rows', %s, false)", [str(log_rows)])
        connection.execute(script)  # one simple query, and so one transaction
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


def run_loop(job_ids: list[str], *arguments: str) -> dict[str, float]:
    """Read these GeoHaz jobs and do nothing else, in a process of its own; see ``bare_loop``."""
    command = [sys.executable, "-m", "tests.benchmarks.bare_loop", *arguments]
    done = subprocess.run(
        command,
        input=json.dumps(job_ids),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=_LONGEST_SECONDS,
        cwd=PROJECT_DIR,
    )
    return dict(json.loads(done.stdout))


@contextmanager
def far_away(database: str) -> Iterator[str]:
    """Give the address of a database whose answers take a millisecond longer."""
    parts = conninfo_to_dict(database)
    command = [sys.executable, str(HERE / "distance.py"), str(parts["host"])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        try:
            yield make_conninfo(database, host="127.0.0.1", port=port)
        finally:
            process.terminate()


def run_pass(**settings: object) -> dict[str, Any]:
    """Run one pass in a process of its own, with this environment; return what it measured."""
    return run_passes(1, **settings)[0]


def run_passes(count: int, *, shared: bool = False, **settings: object) -> list[dict[str, Any]]:
    """Run passes at the same time, each in a process of its own; return what they measured.

    Args:
        count: how many.
        shared: each takes its part of the batches; else each takes what is free when it comes.
        settings: environment variables.
    """
    # A machine that is busy misses targets of time, and asks about all jobs nevertheless.
    patience = {"MONITOR_POLL_BUDGET_SECONDS": "200"}
    environment = os.environ | patience | {name: str(value) for name, value in settings.items()}
    command = [sys.executable, str(HERE / "measured_pass.py")]
    shares = [f"{number}/{count}" if shared else "0/1" for number in range(count)]
    passes = [
        subprocess.Popen(
            command, env=environment | {"BENCH_SHARE": share}, stdout=subprocess.PIPE, text=True
        )
        for share in shares
    ]
    shown = [one.communicate(timeout=_LONGEST_SECONDS)[0] for one in passes]
    assert not any(one.returncode for one in passes), "a pass failed"
    return [json.loads(text) for text in shown]

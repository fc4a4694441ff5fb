"""What a pass costs: in time, connections, statements and imports."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from helpers.batch import get_active_batches, reconcile
from helpers.batch.reconciling import reconcile_together
from helpers.constants import BatchStatus, BatchType, JobStatus
from helpers.irp_integration.endpoints import SEARCH_CHUNK
from helpers.irp_integration.questions import VERIFIED_PER_PASS
from helpers.monitor import run_pass
from helpers.recording import RECORD_CHUNK
from sandbox.moodys_bodies import RESOURCE_GROUP_ID
from sandbox.seeding import PreparedJob, add_cycle
from sandbox.server import ServerProcess, start_process
from tests.benchmarks.world import run_pass as pass_of_its_own
from tests.support.passes import active_batch, configure, rows

WORKERS = 32
# What takes a twentieth of a second and more to import, or brings with it what does.
HEAVY = {
    "IPython",
    "boto3",
    "botocore",
    "irp_integration",
    "jinja2",
    "jupyter_client",
    "matplotlib",
    "nbclient",
    "nbconvert",
    "nbformat",
    "numpy",
    "psutil",
    "pydantic",
    "pymsteams",
    "requests",
    "starlette",
    "tenacity",
    "tqdm",
    "urllib3",
    "uvicorn",
    "yoyo",
    "zmq",
}


@pytest.fixture(scope="module")
def slow_moodys() -> Iterator[ServerProcess]:
    """A Moody's in a process of its own that takes 100 ms for each answer."""
    with start_process("sandbox.moodys", "--latency", "0.1") as server:
        yield server


@pytest.fixture
def cycle(metastore, workflows, slow_moodys, monkeypatch) -> int:
    configure(
        monkeypatch,
        risk_modeler_base_url=slow_moodys.url,
        risk_modeler_resource_group_id=RESOURCE_GROUP_ID,
        risk_modeler_api_key="sandbox-api-key",
        monitor_poll_workers=WORKERS,
    )
    return add_cycle("Analysis-2025-Q1")


def add_running(
    cycle: int, server: ServerProcess, batch_type: BatchType, family: str, count: int
) -> None:
    added = server.control("POST", "jobs", {"family": family, "status": "RUNNING", "count": count})
    jobs = [PreparedJob(JobStatus.RUNNING, job_id) for job_id in added["jobIds"]]
    active_batch(cycle, batch_type, jobs)


@contextmanager
def counted_statements(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Give a list that grows with each statement that is sent."""
    statements: list[str] = []
    execute = psycopg.Cursor.execute

    def counting(self: psycopg.Cursor, query: str, *arguments: object, **options: object) -> object:
        statements.append(str(query))
        return execute(self, query, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(psycopg.Cursor, "execute", counting)
        yield statements


@pytest.mark.parametrize(
    ("batch_type", "family"),
    [(BatchType.ANALYSIS, "model"), (BatchType.GEOHAZ, "geohaz")],
    ids=["searched", "by id"],
)
def test_a_thousand_jobs_take_one_pool_and_statements_by_the_chunk(
    cycle, slow_moodys, monkeypatch, batch_type, family
):
    add_running(cycle, slow_moodys, batch_type, family, 10)
    run_pass()
    with counted_statements(monkeypatch) as few:
        run_pass()
    add_running(cycle, slow_moodys, batch_type, family, 990)
    before = slow_moodys.control("GET", "statistics")

    with counted_statements(monkeypatch) as many:
        summary = run_pass()

    after = slow_moodys.control("GET", "statistics")
    assert (summary.jobs_polled, summary.polls_failed, summary.errors) == (1000, 0, [])
    assert after["connections"] - before["connections"] - 1 <= WORKERS  # one asked the statistics
    assert after["most_in_flight"] <= WORKERS
    assert after["most_in_flight"] > 1 or family == "model"  # its searches are few
    chunks = 1000 // RECORD_CHUNK + 1
    of_the_second_batch = 12  # what one reconciliation takes
    assert len(many) - len(few) <= 4 * chunks + of_the_second_batch
    asked = after["requests_total"] - before["requests_total"]
    tried = 1  # search of a family of which nobody knows whether it has one
    assert asked == (
        1000 + tried if family == "geohaz" else 1000 // SEARCH_CHUNK + VERIFIED_PER_PASS
    )


def test_the_memory_of_a_pass_does_not_follow_what_moodys_answers(cycle, slow_moodys):
    few, many = 1_000, 10_000
    add_running(cycle, slow_moodys, BatchType.ANALYSIS, "model", few)
    one = pass_of_its_own()
    add_running(cycle, slow_moodys, BatchType.ANALYSIS, "model", many - few)

    ten = pass_of_its_own()

    assert (one["jobs_polled"], ten["jobs_polled"]) == (few, many)
    bytes_per_job = (ten["peak_mb"] - one["peak_mb"]) * 1024**2 / (many - few)
    print(f"each job took {bytes_per_job:.0f} bytes of memory")
    assert bytes_per_job < 500  # measured: 50; an answer that is held takes 1,800
    more = ten["statements"] - one["statements"]
    assert more <= 3 * (many - few) / RECORD_CHUNK


def test_ten_times_as_many_batches_are_found_and_counted_without_asking_more_of_moodys(
    cycle, slow_moodys
):
    for _ in range(10):
        add_running(cycle, slow_moodys, BatchType.ANALYSIS, "model", 10)
    before = slow_moodys.control("GET", "statistics")["requests_total"]

    summary = run_pass()

    assert summary.batches_processed == 10
    asked = slow_moodys.control("GET", "statistics")["requests_total"] - before
    assert asked == 100 // SEARCH_CHUNK + VERIFIED_PER_PASS


def test_batches_that_stay_active_take_as_many_statements_together_as_one(
    cycle, slow_moodys, monkeypatch, sql
):
    add_running(cycle, slow_moodys, BatchType.ANALYSIS, "model", 30)
    run_pass()
    with counted_statements(monkeypatch) as few:
        run_pass()
    ids = slow_moodys.control("POST", "jobs", {"family": "model", "status": "RUNNING", "count": 70})
    for job_id in ids["jobIds"]:
        active_batch(cycle, BatchType.ANALYSIS, [PreparedJob(JobStatus.QUEUED, job_id)])

    with counted_statements(monkeypatch) as many:
        summary = run_pass()

    assert (summary.batches_processed, summary.jobs_polled, summary.errors) == (71, 100, [])
    assert len(many) == len(few)
    logged = rows(sql, "SELECT count(DISTINCT batch_id) FROM irp_batch_recon_log")
    assert logged == [(71,)]


def test_a_batch_that_ends_takes_eight_statements_and_a_look_at_the_connection(
    metastore, monkeypatch
):
    jobs = [PreparedJob(JobStatus.FINISHED, str(number)) for number in range(1, 101)]
    batch = active_batch(add_cycle("Analysis-2025-Q1"), BatchType.ANALYSIS, jobs)

    with counted_statements(monkeypatch) as statements:
        outcome = reconcile(batch.batch_id)

    assert outcome.status is BatchStatus.COMPLETED
    assert len([statement for statement in statements if statement]) <= 8
    assert len(statements) <= 9


def test_a_batch_that_somebody_holds_keeps_no_other_from_its_decision(cycle, slow_moodys, sql):
    for _ in range(3):
        add_running(cycle, slow_moodys, BatchType.ANALYSIS, "model", 1)
    ids = [batch["batch_id"] for batch in get_active_batches()]
    with sql.transaction():
        sql.execute("SELECT FROM irp_batch WHERE id = %s FOR UPDATE", [ids[0]])

        decided = reconcile_together(ids)

        assert {one.status for one in decided.values()} == {BatchStatus.ACTIVE}
        assert list(decided) == ids
        logged = rows(sql, "SELECT batch_id FROM irp_batch_recon_log ORDER BY batch_id")
        assert logged == [(batch_id,) for batch_id in ids[1:]]


PASS = """
import sys
from helpers.monitor import run_pass
print(run_pass().headline)
print(*sorted(set(sys.argv[1:]) & set(sys.modules)))
"""


def test_a_pass_where_nothing_is_active_imports_nothing_heavy(metastore, workflows, teams):
    command = [sys.executable, "-c", PASS, *sorted(HEAVY)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout == "Nothing to watch: there is no cycle yet.\n\n"


def cpu_of_children() -> float:
    """Seconds of work, which a busy machine does not stretch as it does the clock."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_a_pass_where_nothing_is_active_takes_a_second_of_work_in_a_fresh_interpreter(
    metastore, workflows, teams, sql, record_property
):
    def run() -> float:
        before = cpu_of_children()
        command = [sys.executable, "-m", "helpers.monitor"]
        subprocess.run(command, capture_output=True, timeout=60, check=True)
        return cpu_of_children() - before

    seconds = min(run() for _ in range(3))

    record_property("seconds", seconds)
    print(f"an idle pass took {seconds:.2f} s")
    assert seconds < 2  # measured: 0.7 s on an idle machine
    assert rows(sql, "SELECT count(*) FROM irp_monitor_run WHERE finished_ts IS NOT NULL") == [(3,)]

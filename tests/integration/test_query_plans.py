"""Hot queries on a database with many rows: the index that they use, and how little they look at.

Each is planned both ways that a pass may meet: for its parameters, and once for all parameters,
which is what PostgreSQL may do with a statement that a connection repeats.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql as compose

from helpers.constants import JOB_MOVES, JobStatus
from helpers.database import queries
from helpers.database.named import statements
from helpers.irp_integration.answers import NOT_OF_THE_JOB
from helpers.steps.claims import RULES
from sandbox.postgres import database_url, drop_database, recreate_database

LOG_ROWS = 200_000  # and a tenth as many jobs, in 400 batches
LONG_PAST = (Path(__file__).parent.parent / "support" / "long_past.sql").read_text()
BATCHES, JOBS, POLLS = 20, 50, 20  # what is active: jobs of a batch, polls of a job today
OTHER_BATCHES = 1_200  # PostgreSQL 14 scans a table of a few pages as a whole
ACTIVE = f"""
INSERT INTO irp_cycle (cycle_name) VALUES ('Active');
INSERT INTO irp_stage (cycle_id, stage_num, stage_name)
SELECT id, 4, 'Analysis' FROM irp_cycle WHERE cycle_name = 'Active';
INSERT INTO irp_step (stage_id, step_num, step_name)
SELECT stage.id, 1, 'Execute Analysis'
FROM irp_stage AS stage JOIN irp_cycle AS cycle ON cycle.id = stage.cycle_id
WHERE cycle.cycle_name = 'Active';
INSERT INTO irp_batch (step_id, batch_type, status, submitted_ts)
SELECT max(id), 'Analysis', 'ACTIVE', now()
FROM irp_step CROSS JOIN generate_series(1, {BATCHES}) AS n
GROUP BY n;
INSERT INTO irp_batch (step_id, batch_type, status, activation_num, submitted_ts, completed_ts)
SELECT min(id), 'Analysis', 'COMPLETED', 1, now() - interval '1 month', now() - interval '1 month'
FROM irp_step CROSS JOIN generate_series(1, {OTHER_BATCHES}) AS n
GROUP BY n;
INSERT INTO irp_job_configuration (batch_id, job_configuration_data)
SELECT id, '{{}}' FROM irp_batch CROSS JOIN generate_series(1, {JOBS}) WHERE status = 'ACTIVE';
INSERT INTO irp_job (batch_id, job_configuration_id, moodys_workflow_id, status, last_tracked_ts)
SELECT configuration.batch_id, configuration.id, configuration.id::text, 'RUNNING', now()
FROM irp_job_configuration AS configuration JOIN irp_batch AS batch
  ON batch.id = configuration.batch_id
WHERE batch.status = 'ACTIVE';
INSERT INTO irp_job_tracking_log
    (job_id, tracked_ts, moodys_workflow_id, job_status, tracking_data, http_status, kept)
SELECT id, last_tracked_ts - (n - 1) * interval '1 microsecond', moodys_workflow_id, 'RUNNING',
       '{{}}', 200, false
FROM irp_job CROSS JOIN generate_series({POLLS}, 1, -1) AS n
WHERE status = 'RUNNING';
"""
JOBS_OF_A_CHUNK = """
SELECT {}
FROM (SELECT id, moodys_workflow_id FROM irp_job WHERE status = 'RUNNING'
      ORDER BY id LIMIT 500) AS job
"""
ANSWERS = """
json_agg(json_build_object(
    'job_id', id, 'asked_ts', now(), 'workflow_id', moodys_workflow_id, 'known_status', 'FINISHED',
    'ended_ts', now(), 'progress', 50, 'is_read', true))::text
"""


BIG = re.compile(
    r"irp_(job|job_configuration|job_tracking_log_\w+|batch_recon_log|monitor_run|chain_run)"
)
CARDS = 20  # one batch in twenty has failed
LOCATIONS = 2 * 101 + 1  # the stages and cycles of the past and the active one: few, for ever


@dataclass(frozen=True)
class Hot:
    """A query of every pass, and what its plan may do."""

    name: str  # <file>.<query>
    index: str  # that it must use
    most_rows: int  # that its scans may look at, taken together
    parameters: dict[str, Any] = field(default_factory=dict)  # batch and job ids are filled in

    def __str__(self) -> str:
        return self.name


TERMINAL = list(JobStatus.terminal())
NOW = datetime.now(UTC)
ANSWERED = 500  # jobs of one chunk
HOT = [
    Hot("batch.active_batches", "irp_batch_step_idx", LOCATIONS + BATCHES),
    # All jobs that are due, and of the batches no more than there are in this small world.
    Hot(
        "recording.jobs_to_poll",
        "irp_job_batch_idx",
        BATCHES * JOBS + 420,
        {"batch_ids": "batches", "terminal": TERMINAL},
    ),
    # Each job is found twice: to hold it, and to move it.
    Hot(
        "recording.apply_answers",
        "irp_job_pkey",
        2 * ANSWERED,
        {
            "job_ids": "jobs",
            "answers": "answers",
            "moves_from": [old.value for old, moves in JOB_MOVES.items() for _ in moves],
            "moves_to": [new.value for moves in JOB_MOVES.values() for new in moves],
            "backward": [False for moves in JOB_MOVES.values() for _ in moves],
            "terminal": TERMINAL,
        },
    ),
    Hot("batch.lock_batch", "irp_batch_pkey", 1, {"batch_id": "batch"}),
    Hot("batch.read_batches", "irp_batch_pkey", LOCATIONS, {"batch_ids": "one batch"}),
    Hot("batch.facts", "irp_job_configuration_batch_idx", 5 * JOBS, {"batch_ids": "one batch"}),
    # The latest poll of each job, found in the partition of its day.
    Hot(
        "batch.stuck_jobs",
        "irp_job_batch_idx",
        2 * JOBS,
        {
            "batch_ids": "one batch",
            "submitted_only": False,
            "unpolled": [False],
            "statuses": list(JobStatus),
            "terminal": TERMINAL,
            "known": list(JobStatus.of_moodys()),
            "not_of_the_job": list(NOT_OF_THE_JOB),
            "stale_after": [timedelta(hours=4)],
            "most": 10,
        },
    ),
    Hot(
        "failures.first_of_each_reason",
        "irp_job_batch_idx",
        2 * BATCHES * JOBS,  # to rank them, and the first ones again
        {"batch_ids": "batches", "most": 8, "most_reasons": 10},
    ),
    Hot("chain_runs.cancel_overtaken", "irp_chain_run_open_idx", 0, {"reason": ""}),
    Hot("chain_runs.give_up", "irp_chain_run_open_idx", 0, {"reason": "", "most_tries": 3}),
    Hot("chain_runs.open_runs", "irp_chain_run_open_idx", 0, {"rules": RULES}),
    Hot(
        "chain_runs.claimable_steps",
        "irp_chain_run_batch_id_activation_num_key",
        LOCATIONS + BATCHES,
        {"most_tries": 3, "rules": RULES},
    ),
    Hot("attention.ended_badly", "irp_batch_step_idx", LOCATIONS + BATCHES, {"most": 50}),
    Hot(
        "attention.failed_next_steps",
        "irp_chain_run_batch_id_activation_num_key",
        LOCATIONS + BATCHES,
        {"most": 50},
    ),
    Hot("monitor_runs.last", "irp_monitor_run_pkey", 1),
    # The places twice, and the cards, which are too few here for an index.
    Hot("monitor_runs.open_work", "irp_batch_step_idx", 2 * (LOCATIONS + BATCHES) + CARDS),
]


@pytest.fixture(scope="module")
def many_rows(server_url: str, template: str) -> Iterator[str]:
    """The URL of a database with a long past and some active batches."""
    name = f"plans_{uuid4().hex[:12]}"
    recreate_database(server_url, name, template=template)
    url = database_url(server_url, name)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT set_config('bench.log_rows', %s, false)", [str(LOG_ROWS)])
        connection.execute(LONG_PAST)
        connection.execute(ACTIVE)
        connection.execute("VACUUM ANALYZE")
    yield url
    drop_database(server_url, name)


@pytest.fixture(params=["force_custom_plan", "force_generic_plan"])
def database(many_rows: str, request: pytest.FixtureRequest) -> Iterator[psycopg.Connection]:
    """A connection whose changes are undone."""
    with psycopg.connect(many_rows) as connection:
        connection.execute("SELECT set_config('plan_cache_mode', %s, true)", [request.param])
        yield connection
        connection.rollback()


@pytest.mark.parametrize("hot", HOT, ids=str)
def test_a_hot_query_uses_its_index_and_looks_at_few_rows(database, hot):
    plan = plan_of(database, hot)

    assert hot.index in {node.get("Index Name") for node in plan}
    assert rows_looked_at(plan) <= hot.most_rows
    assert [
        node["Relation Name"]
        for node in plan
        if node["Node Type"] == "Seq Scan" and BIG.fullmatch(node["Relation Name"])
    ] == []


def test_the_latest_poll_is_looked_for_in_the_partition_of_its_day(database):
    [hot] = [hot for hot in HOT if hot.name == "batch.stuck_jobs"]
    [tracked] = database.execute("SELECT max(last_tracked_ts) FROM irp_job").fetchone()
    its_day = f"irp_job_tracking_log_{tracked.astimezone(UTC):%Y%m%d}"

    plan = plan_of(database, hot)

    partitions = {
        node["Relation Name"]
        for node in plan
        if node.get("Relation Name", "").startswith("irp_job_tracking_log")
    }
    assert partitions == {its_day, "irp_job_tracking_log_kept"}


def test_polls_go_to_the_partition_of_their_day_and_what_is_kept_to_its_own(database):
    jobs = ids(database, "jobs")
    many = len(jobs)
    [asked] = database.execute("SELECT now()").fetchone()
    polls = [
        {
            "job_id": job,
            "asked_ts": asked.isoformat(),
            "workflow_id": "1",
            "status": JobStatus.RUNNING,
            "http_status": 200,
        }
        for job in jobs
    ]
    bodies = f"[{','.join(['{}'] * many)}]"

    queries("recording").log_polls(
        database, answers=json.dumps(polls), bodies=bodies, kept=jobs[:1]
    )

    rows = database.execute(
        "SELECT tableoid::regclass::text, count(*) FROM irp_job_tracking_log"
        " WHERE moodys_workflow_id = '1' GROUP BY 1 ORDER BY 1"
    ).fetchall()
    assert rows == [
        (f"irp_job_tracking_log_{asked.astimezone(UTC):%Y%m%d}", many - 1),
        ("irp_job_tracking_log_kept", 1),
    ]


def ids(connection: psycopg.Connection, which: str) -> Any:
    """Return what a query is asked about in the active world."""
    statement = {
        "batch": "SELECT max(id) FROM irp_batch WHERE status = 'ACTIVE'",
        "one batch": "SELECT ARRAY[max(id)] FROM irp_batch WHERE status = 'ACTIVE'",
        "batches": "SELECT array_agg(id) FROM irp_batch WHERE status = 'ACTIVE'",
        "jobs": JOBS_OF_A_CHUNK.format("array_agg(id ORDER BY id)"),
        "answers": JOBS_OF_A_CHUNK.format(ANSWERS),
    }[which]
    row = connection.execute(statement).fetchone()
    assert row is not None
    return row[0]


def filled_in(connection: psycopg.Connection, value: Any) -> Any:
    return (
        ids(connection, value)
        if value in ("batch", "one batch", "batches", "jobs", "answers")
        else value
    )


def plan_of(connection: psycopg.Connection, hot: Hot) -> list[dict[str, Any]]:
    """Run a query and return the nodes of its plan that were executed, each with its counts."""
    owner, _, query = hot.name.partition(".")
    text = getattr(statements(owner), query).sql.rstrip().rstrip(";")
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", text)))
    for number, name in enumerate(names, 1):
        text = text.replace(f"%({name})s", f"${number}")
    connection.execute("PREPARE hot AS " + text.replace("%%", "%"))
    values = compose.SQL(", ").join(
        compose.Literal(filled_in(connection, hot.parameters[name])) for name in names
    )
    arguments = compose.SQL("({})").format(values) if names else compose.SQL("")
    explain = compose.SQL("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE hot") + arguments
    row = connection.execute(explain).fetchone()
    assert row is not None
    return [node for node in nodes(row[0][0]["Plan"]) if node["Actual Loops"]]


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from nodes(child)


def rows_looked_at(plan: list[dict[str, Any]]) -> int:
    """Return how many rows of tables the scans have seen, those that they threw away included."""
    return round(
        sum(
            (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
            for node in plan
            if "Relation Name" in node and node["Node Type"] != "ModifyTable"
        )
    )

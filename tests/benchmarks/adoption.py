"""How long the adoption of a tracking log from before takes, and how long others wait for it."""

import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg

from helpers.database.migrations import migrate

ADOPTED = Path(__file__).parents[1] / "support" / "adopted.sql"

_FILL = """
INSERT INTO irp_job_tracking_log (job_id, tracked_ts, moodys_workflow_id, job_status, tracking_data)
SELECT (SELECT min(id) FROM irp_job), now() - n * interval '1 second', '23148952', 'RUNNING',
       jsonb_build_object('jobId', '23148952', 'status', 'RUNNING', 'name', repeat('x', 600))
FROM generate_series(1, %s) AS n
"""
_WRITE = """
INSERT INTO irp_job_tracking_log (job_id, moodys_workflow_id, job_status)
SELECT min(id), '23148952', 'RUNNING' FROM irp_job
"""
_READ = "SELECT job_status FROM irp_job_tracking_log WHERE job_id = 1 LIMIT 1"
_PAUSE_SECONDS = 0.01


@dataclass(frozen=True)
class Adoption:
    """What the migration of one database took."""

    seconds: float
    longest_write_ms: float
    longest_read_ms: float


class _Probe(threading.Thread):
    """Runs one statement over and over, and keeps how long the slowest has taken."""

    def __init__(self, database: str, statement: str) -> None:
        super().__init__(daemon=True)
        self._database = database
        self._statement = statement
        self._ended = threading.Event()
        self.longest_ms = 0.0

    def run(self) -> None:
        with psycopg.connect(self._database, autocommit=True) as connection:
            while not self._ended.wait(_PAUSE_SECONDS):
                started = time.perf_counter()
                connection.execute(self._statement, prepare=False)  # its table is exchanged
                self.longest_ms = max(self.longest_ms, (time.perf_counter() - started) * 1000)

    def stop(self) -> None:
        self._ended.set()
        self.join()


def measured_adoption(database: str, *, rows: int) -> Adoption:
    """Migrate a team's database with so many rows in its log, while others read and write it."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(ADOPTED.read_text(encoding="utf-8"))
        connection.execute(_FILL, [rows])
        connection.execute("VACUUM ANALYZE")
    probes = [_Probe(database, statement) for statement in (_WRITE, _READ)]
    for probe in probes:
        probe.start()
    started = time.perf_counter()
    migrate()
    seconds = time.perf_counter() - started
    for probe in probes:
        probe.stop()
    return Adoption(seconds, *(probe.longest_ms for probe in probes))

"""Rows and folders in a scheduler's data directory, as months of runs leave them."""

import sqlite3
import uuid
from contextlib import closing
from datetime import datetime

from tests.support.jupyter import JupyterServer
from tests.support.waiting import wait_until


def add_runs(
    server: JupyterServer,
    definition_id: str | None,
    *,
    number: int = 1,
    status: str = "COMPLETED",
    created_ts: datetime,
    started: bool = True,
    pid: int | None = None,
) -> list[str]:
    """Store rows of runs with their folders, and return their ids."""
    created = int(created_ts.timestamp() * 1000)
    ids = [str(uuid.uuid4()) for _ in range(number)]
    with closing(sqlite3.connect(server.database)) as connection, connection:
        connection.executemany(
            "INSERT INTO jobs (job_id, job_definition_id, status, create_time, update_time, "
            "start_time, end_time, pid, runtime_environment_name, input_filename, name, "
            "output_formats, packaged_files, url) VALUES "
            "(?, ?, ?, ?, ?, ?, ?, ?, 'python', 'Monitor Active Jobs.ipynb', 'x', '[]', '[]', '')",
            [
                (
                    *(run_id, definition_id, status, created + number, created),
                    created + 1000 if started else None,
                    created + 13_000 if status == "COMPLETED" else None,
                    pid,
                )
                for number, run_id in enumerate(ids)
            ],
        )
    for run_id in ids:
        (server.staging / run_id).mkdir(parents=True)
        (server.staging / run_id / "Monitor Active Jobs.ipynb").write_text("{}")
    return ids


def run_ids(server: JupyterServer) -> set[str]:
    """Return the ids of all rows, once the folders that are there are those of the rows.

    A deletion whose answer was not waited for may still be under way.
    """
    wait_until(lambda: _folders(server) == _rows(server))
    return _rows(server)


def _rows(server: JupyterServer) -> set[str]:
    with closing(sqlite3.connect(server.database)) as connection:
        return {row[0] for row in connection.execute("SELECT job_id FROM jobs")}


def _folders(server: JupyterServer) -> set[str]:
    with closing(sqlite3.connect(server.database)) as connection:
        definitions = {
            row[0] for row in connection.execute("SELECT job_definition_id FROM job_definitions")
        }
    folders = {path.name for path in server.staging.iterdir()} if server.staging.exists() else set()
    return folders - definitions


def set_create_time(server: JupyterServer, run_id: str, seconds: float) -> None:
    """Say when a run was made, in seconds of the epoch."""
    with closing(sqlite3.connect(server.database)) as connection, connection:
        connection.execute(
            "UPDATE jobs SET create_time = ? WHERE job_id = ?", (int(seconds * 1000), run_id)
        )


def forget_runs(server: JupyterServer) -> None:
    """Take all rows of runs away."""
    with closing(sqlite3.connect(server.database)) as connection, connection:
        connection.execute("DELETE FROM jobs")

"""Apply the schema's migrations: numbered plain SQL, by yoyo, by an explicit command only.

Nothing here runs in a pass, which only asks whether the schema is up to date (``schema``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import yoyo
from psycopg.rows import TupleRow, tuple_row
from yoyo.backends.core import PostgresqlPsycopgBackend
from yoyo.connections import parse_uri
from yoyo.migrations import default_migration_table

from helpers.database.connection import connect, transaction, translated_errors
from helpers.database.locks import AdvisoryLocks, LockSpace
from helpers.database.named import queries, sql_dir
from helpers.errors import DatabaseError
from helpers.identity import process_name

_PIECE = 20_000  # rows of a tracking log per transaction: about a second
_BEFORE_ANY_ID = -(2**31)


@dataclass(frozen=True)
class Migrated:
    """What ``migrate`` did."""

    applied: list[str]  # ids, in order
    polls_brought_over: int = 0  # rows of a tracking log from before
    remark: str | None = None


def migrate(*, on_progress: Callable[[int], object] = lambda _: None) -> Migrated:
    """Apply what is missing and say what was done.

    Each migration is one transaction, its note of having been applied included. Two of these at
    the same time wait for each other. The tracking log of an adopted database is then brought
    over piece by piece, while monitors may work; cut off, it goes on the next time.

    Args:
        on_progress: is told how many rows of the tracking log have been brought over so far.

    Raises:
        DatabaseError: the database cannot be reached, or a migration failed and was rolled back.
    """
    with AdvisoryLocks(owner=f"migrate, {process_name()}", ends_when_idle=False) as locks:
        locks.acquire(LockSpace.MIGRATE, 0)
        with translated_errors(), _backend() as backend:
            pending = backend.to_apply(yoyo.read_migrations(str(sql_dir() / "migrations")))
            for migration in pending:
                _apply(migration, backend)
        rows, remark = _bring_over_tracking_log(on_progress)
        return Migrated([migration.id for migration in pending], rows, remark)


def _apply(migration: yoyo.migrations.Migration, backend: yoyo.backends.DatabaseBackend) -> None:
    """Apply one migration and note it in the same transaction, which yoyo itself does not."""
    with backend.transaction():
        migration.process_steps(backend, "apply")
        backend.mark_one(migration, log=False)


def _bring_over_tracking_log(on_progress: Callable[[int], object]) -> tuple[int, str | None]:
    """Return how many rows were brought over, and why the old table stays, where it does."""
    with transaction() as connection:
        if not queries("migrations").has_adopted_log(connection):
            return 0, None
    rows, last_id = 0, _BEFORE_ANY_ID
    while True:
        with transaction() as connection:
            piece = queries("migrations").bring_over(connection, after_id=last_id, most=_PIECE)
        if not piece["rows"]:
            return rows, _drop_adopted_log()
        rows, last_id = rows + piece["rows"], piece["last_id"]
        on_progress(rows)


def _drop_adopted_log() -> str | None:
    try:
        with transaction() as connection:
            queries("migrations").drop_adopted_log(connection)
    except DatabaseError as exc:
        return f"irp_job_tracking_log_adopted is empty and was left in place: {exc}."
    return None


@contextmanager
def _backend() -> Iterator[yoyo.backends.DatabaseBackend]:
    backend = _open_backend()
    try:
        backend.init_database()
        backend.break_lock()  # left by a run that was killed: our own lock tells the living
        yield backend
    finally:
        backend.connection.close()


def _open_backend() -> yoyo.backends.DatabaseBackend:
    address = parse_uri("postgresql+psycopg://")  # names the kind: the connection is ours
    return _Backend(address, default_migration_table)  # type: ignore[no-untyped-call]


class _Backend(PostgresqlPsycopgBackend):
    """yoyo on a connection of ours, so that it has the settings that the migrations rely on."""

    def connect(self, dburi: object) -> psycopg.Connection[TupleRow]:  # noqa: ARG002 - yoyo's signature
        connection: psycopg.Connection[Any] = connect(application_name="migrate")
        connection.row_factory = tuple_row
        return connection

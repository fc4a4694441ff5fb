"""Apply the schema's migrations: numbered plain SQL, by yoyo, by an explicit command only.

All of it runs on one connection, as the owner of the tables that are there, whoever migrates.
Nothing here runs in a pass, which only asks whether the schema is up to date (``schema``).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
import yoyo
from psycopg.rows import TupleRow, tuple_row
from yoyo.backends.core import PostgresqlPsycopgBackend
from yoyo.connections import parse_uri
from yoyo.migrations import default_migration_table

from helpers.database.connection import Connection, connect, joining
from helpers.database.locks import AdvisoryLocks, LockSpace
from helpers.database.named import sql_dir
from helpers.database.querying import queries
from helpers.database.schema import missing_migrations, own_objects, problem, require_migrated
from helpers.database.tracking_log import bring_over_adopted_log, move_dependants
from helpers.database.translation import translated_errors
from helpers.errors import DatabaseError
from helpers.identity import process_name

_REPLACES_THE_LOG = "0002_tracking_log_keeps_every_answer"


@dataclass(frozen=True)
class Migrated:
    """What ``migrate`` did."""

    applied: list[str]  # ids, in order
    polls_brought_over: int = 0  # rows of a tracking log from before
    remarks: list[str] = field(default_factory=list)


def migrate(
    *, on_progress: Callable[[int], object] = lambda _: None, anew: bool = False
) -> Migrated:
    """Apply what is missing and say what was done.

    Each migration is one transaction, its note of having been applied included. Two of these at
    the same time wait for each other. The tracking log of an adopted database is then brought
    over piece by piece, while monitors may work; cut off, it goes on the next time.

    Args:
        on_progress: is told how many rows of the tracking log have been brought over so far.
        anew: the team's tables were made anew since they were migrated: drop what the migrations
            had made beside them, which is about batches that are gone, and apply all of them.

    Raises:
        DatabaseError: the database cannot be reached, the role may not act for the owner of the
            tables, or a migration failed and was rolled back.
        SchemaOutdatedError: the database is not as the migrations leave it, all the same.
    """
    with AdvisoryLocks(owner=f"migrate, {process_name()}", ends_when_idle=False) as locks:
        locks.acquire(LockSpace.MIGRATE, 0)
        with translated_errors(), _backend(anew=anew) as backend:
            pending = backend.to_apply(yoyo.read_migrations(str(sql_dir() / "migrations")))
            for migration in pending:
                _apply(migration, backend)
            rows, remarks = bring_over_adopted_log(backend.connection, on_progress)
            with joining(backend.connection):
                require_migrated()
        return Migrated([migration.id for migration in pending], rows, remarks)


def _apply(migration: yoyo.migrations.Migration, backend: yoyo.backends.DatabaseBackend) -> None:
    """Apply one migration and note it in the same transaction, which yoyo itself does not."""
    with backend.transaction():
        migration.process_steps(backend, "apply")
        if migration.id == _REPLACES_THE_LOG:
            move_dependants(backend.connection)
        backend.mark_one(migration, log=False)


@contextmanager
def _backend(*, anew: bool) -> Iterator[yoyo.backends.DatabaseBackend]:
    address = parse_uri("postgresql+psycopg://")  # names the kind: the connection is ours
    make: Any = _Backend  # yoyo is not typed
    backend: yoyo.backends.DatabaseBackend = make(address, default_migration_table)
    try:
        _act_as_owner(backend.connection)
        with joining(backend.connection):
            if anew:
                _forget_what_was_migrated(backend.connection)
            elif not missing_migrations():
                require_migrated()
        backend.init_database()
        backend.break_lock()  # left by a run that was killed: our own lock tells the living
        yield backend
    finally:
        backend.connection.close()


def _act_as_owner(connection: Connection) -> None:
    """Make everything belong to one role, and lie in one schema: those of the tables there.

    Raises:
        DatabaseError: this role may not act for the owner, or create tables.
    """
    queries("migrations").put_their_schema_first(connection)
    try:
        _run_for_own_objects("owner_changes", connection)
        queries("migrations").act_as_owner(connection)
    except psycopg.errors.InsufficientPrivilege as exc:
        raise DatabaseError(
            f"The metastore's tables belong to another role ({str(exc).splitlines()[0]}). Migrate "
            "as that role, as a member of it or as a superuser, so that nobody is locked out.",
            sqlstate=exc.sqlstate,
        ) from exc
    rights = queries("migrations").may_create(connection)
    if not rights["may_create"]:
        raise DatabaseError(
            f"The role of DATABASE_URL may not create tables in schema {rights['schema']}. Migrate "
            "as the database's owner, or have it GRANT CREATE ON SCHEMA to this role."
        )


def _forget_what_was_migrated(connection: Connection) -> None:
    """Drop what the migrations made beside the team's tables, with their notes.

    Raises:
        DatabaseError: the team's tables were not made anew.
    """
    if missing_migrations() or problem() is None:
        raise DatabaseError("The tables were not made anew since they were migrated: migrate them.")
    if queries("migrations").has_our_log(connection):
        raise DatabaseError(
            "irp_job_tracking_log was not made anew with the other tables: rename or drop it first."
        )
    with connection.transaction():
        _run_for_own_objects("own_objects_left", connection)


def _run_for_own_objects(query: str, connection: Connection) -> None:
    """Run the statements that a query makes about what the migrations have made."""
    own = own_objects()
    for row in getattr(queries("migrations"), query)(
        connection, tables=own["TABLE"], types=own["TYPE"], functions=own["FUNCTION"]
    ):
        connection.execute(row["statement"])


class _Backend(PostgresqlPsycopgBackend):
    """yoyo on a connection of ours, so that it has the settings that migrations rely on."""

    def connect(self, dburi: object) -> Connection:  # noqa: ARG002 - yoyo's signature
        return connect(application_name="migrate")

    def cursor(self) -> psycopg.Cursor[TupleRow]:
        cursor: psycopg.Cursor[TupleRow] = self.connection.cursor(row_factory=tuple_row)
        return cursor

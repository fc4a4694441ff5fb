"""Apply the schema's migrations: numbered plain SQL, by yoyo, by an explicit command only.

All of it runs on one connection, as the owner of the tables that are there, whoever migrates.
Nothing here runs in a pass, which only asks whether the schema is up to date (``schema``).

The second migration sets the tracking log of an adopted database aside and makes a new one. In the
same transaction the team's views, grants, triggers and publications move to the new table, or the
migration is refused with the list of what cannot. The rows follow piece by piece.
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
from helpers.database.schema import (
    missing_migrations,
    own_objects,
    problem,
    require_migrated,
    require_utf8,
)
from helpers.database.translation import translated_errors
from helpers.errors import DatabaseError
from helpers.identity import process_name
from helpers.text import counted, listed

_REPLACES_THE_LOG = "0002_tracking_log_keeps_every_answer"
_PIECE = 20_000  # rows of the log per transaction: about a second
_BEFORE_ANY_ID = -(2**31)


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
            tables, or a migration failed and was rolled back; or it is not encoded in UTF8, and
            nothing was written.
        SchemaOutdatedError: the database is not as the migrations leave it, all the same.
    """
    require_utf8()
    with AdvisoryLocks(owner=f"migrate, {process_name()}", ends_when_idle=False) as locks:
        locks.acquire(LockSpace.MIGRATE, 0)
        with translated_errors(), _backend(anew=anew) as backend:
            pending = backend.to_apply(yoyo.read_migrations(str(sql_dir() / "migrations")))
            for migration in pending:
                _apply(migration, backend)
            rows, remarks = _bring_over_adopted_log(backend.connection, on_progress)
            with joining(backend.connection):
                require_migrated()
        return Migrated([migration.id for migration in pending], rows, remarks)


def _apply(migration: yoyo.migrations.Migration, backend: yoyo.backends.DatabaseBackend) -> None:
    """Apply one migration and note it in the same transaction, which yoyo itself does not."""
    with backend.transaction():
        migration.process_steps(backend, "apply")
        if migration.id == _REPLACES_THE_LOG:
            _move_dependants(backend.connection)
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


def _move_dependants(connection: Connection) -> None:
    """Move what depends on the old log to the new one; within the caller's transaction.

    Raises:
        DatabaseError: something cannot be moved; the message lists it.
    """
    hindrances = [row["description"] for row in queries("migrations").hindrances(connection)]
    if hindrances:
        raise DatabaseError(
            "irp_job_tracking_log is replaced by a table that keeps every answer, and this cannot "
            f"be moved to it: {listed(hindrances)}. Drop it, migrate, and make "
            "it anew."
        )
    _move(connection, "view_of_log_as_it_was")
    queries("migrations").act_as_superuser(connection)
    for query in ("grants_on_log", "views_on_log", "triggers_on_log", "publications_of_log"):
        _move(connection, query)
    queries("migrations").act_as_owner(connection)


def _move(connection: Connection, query: str) -> None:
    for row in list(getattr(queries("migrations"), query)(connection)):
        try:
            connection.execute(row["statement"])
        except psycopg.Error as exc:
            raise DatabaseError(
                f"Moving what depends on irp_job_tracking_log failed: {str(exc).splitlines()[0]} "
                f"in “{' '.join(row['statement'].split())}”. Drop it, migrate, and make it anew.",
                sqlstate=exc.sqlstate,
            ) from exc


def _bring_over_adopted_log(
    connection: Connection, on_progress: Callable[[int], object]
) -> tuple[int, list[str]]:
    """Return how many rows were brought over, and what people should know of it."""
    if not queries("migrations").has_adopted_log(connection):
        return 0, []
    rows, undated, last_id = 0, 0, _BEFORE_ANY_ID
    while piece := _bring_over_piece(connection, after_id=last_id):
        rows, undated, last_id = rows + piece["rows"], undated + piece["undated"], piece["last_id"]
        on_progress(rows)
    remarks = []
    if undated:
        had = f"{counted(undated, 'row')} of the tracking log had no time"
        remarks.append(f"{had}, and {'is' if undated == 1 else 'are'} kept as of 1970-01-01.")
    return rows, remarks + _drop_adopted_log(connection)


def _bring_over_piece(connection: Connection, *, after_id: int) -> dict[str, int] | None:
    """Move the next rows in one transaction, unseen by triggers; None once all are moved."""
    with connection.transaction():
        triggers = list(queries("migrations").quiet_triggers(connection))
        for trigger in triggers:
            connection.execute(trigger["off"])
        piece: dict[str, int] = queries("migrations").bring_over(
            connection, after_id=after_id, most=_PIECE
        )
        for trigger in triggers:
            connection.execute(trigger["on_again"])
    return piece if piece["rows"] else None


def _drop_adopted_log(connection: Connection) -> list[str]:
    """Drop the old table, which is empty; return why it stays, if it does."""
    try:
        with connection.transaction():
            _move_dependants(connection)  # an earlier version left them there
            queries("migrations").drop_adopted_log(connection)
    except (psycopg.Error, DatabaseError) as exc:
        why = str(exc).splitlines()[0].rstrip(".")
        return [f"irp_job_tracking_log_adopted is empty and was left in place: {why}."]
    return []

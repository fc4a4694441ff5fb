"""Turn psycopg's errors into ours: what went wrong, and what a person can do about it."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg_pool import PoolTimeout

from helpers.errors import DatabaseError, DatabaseUnavailableError
from helpers.redaction import redact

# SQLSTATEs of PostgreSQL's appendix A, and how those begin that end a connection.
_CONNECTION_LOST = ("08", "28", "3D", "57P", "53300")
_NOT_AS_MIGRATED = (
    "the tables are not as the migrations leave them; `python -m helpers.database status` says "
    "what is wrong"
)
_REMEDIES = {
    "25006": (
        "the database takes no changes, because it is a read-only standby or its "
        "default_transaction_read_only is on. Let DATABASE_URL lead to the primary server, or "
        "have the administrator turn that setting off"
    ),
    "42501": (
        "the role of DATABASE_URL lacks this right. Connect as the owner of the metastore's "
        "tables or as a member of that role, or ask the owner to GRANT it"
    ),
    "42P01": _NOT_AS_MIGRATED,
    "42703": _NOT_AS_MIGRATED,
    "42883": _NOT_AS_MIGRATED,
}


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn psycopg's errors into ours, without what may be secret in them.

    Raises:
        DatabaseUnavailableError: the server cannot be reached or the connection broke.
        DatabaseError: the server refused a statement.
    """
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout) as exc:
        if isinstance(exc, psycopg.OperationalError) and not ends_the_connection(exc):
            raise DatabaseError(_describe(exc), sqlstate=exc.sqlstate) from exc
        raise DatabaseUnavailableError(
            f"The database cannot be reached: {_first_line(exc)}. Check DATABASE_URL (or PGHOST, "
            "PGDATABASE, …), the password, and that the server is up."
        ) from None  # the cause may repeat what was sent
    except psycopg.Error as exc:
        raise DatabaseError(_describe(exc), sqlstate=exc.sqlstate) from exc


def ends_the_connection(exc: psycopg.OperationalError) -> bool:
    """Tell a connection that is gone, or never was, from a statement that was not carried out."""
    return exc.sqlstate is None or exc.sqlstate.startswith(_CONNECTION_LOST)


def _describe(exc: psycopg.Error) -> str:
    remedy = _REMEDIES.get(exc.sqlstate or "")
    return f"{_first_line(exc)}: {remedy}." if remedy else _first_line(exc)


def _first_line(exc: Exception) -> str:
    text = redact(str(exc)).strip()
    return text.splitlines()[0].rstrip(".") if text else type(exc).__name__

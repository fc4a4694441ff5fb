"""Connections and transactions.

Nobody passes connections around: ``transaction()`` keeps the current one in a context
variable, nested calls join it, and outside one each call is its own transaction. psycopg's
errors are translated here and nowhere else. No HTTP request belongs inside a transaction.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from helpers.errors import DatabaseError, DatabaseUnavailableError, SettingsError
from helpers.settings import get_settings, redact

Connection: TypeAlias = psycopg.Connection[DictRow]

_LIBPQ_VARIABLES = ("PGHOST", "PGHOSTADDR", "PGDATABASE", "PGSERVICE", "PGPORT", "PGUSER")
_CONNECT_TIMEOUT_SECONDS = 10
_LOCK_TIMEOUT = "10s"  # someone else's lock costs one item of a pass, not the pass
_POOL_SIZE = 8

_current: ContextVar[Connection | None] = ContextVar("current_connection", default=None)
_pools: dict[str, ConnectionPool[Connection]] = {}


def conninfo() -> str:
    """Return the connection string; an empty one leaves everything to libpq's variables.

    Raises:
        SettingsError: neither ``DATABASE_URL`` nor one of libpq's variables is set.
    """
    url = get_settings().database_url
    if url is not None:
        return url.get_secret_value()
    if any(os.environ.get(name) for name in _LIBPQ_VARIABLES):
        return ""
    raise SettingsError(
        "No database is configured. Set DATABASE_URL (postgresql://user:password@host/database), "
        "or PGHOST and PGDATABASE, in the environment or in .env; or try everything out on a "
        "database of its own with `make demo`."
    )


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
        if isinstance(exc, psycopg.OperationalError) and _refused_one_statement(exc):
            raise DatabaseError(_in_words(exc)) from exc
        raise DatabaseUnavailableError(
            f"The database cannot be reached: {_in_words(exc)}. Check DATABASE_URL (or PGHOST, "
            "PGDATABASE, …), the password, and that the server is up."
        ) from None  # psycopg repeats a connection string that it cannot parse
    except psycopg.ProgrammingError as exc:
        if exc.sqlstate is None:  # raised by the client: the connection string is malformed
            raise SettingsError(
                "DATABASE_URL cannot be read. Its form is "
                "postgresql://user:password@host:port/database, special characters %-encoded."
            ) from None
        raise DatabaseError(_in_words(exc)) from exc
    except psycopg.Error as exc:
        raise DatabaseError(_in_words(exc)) from exc


def _refused_one_statement(exc: psycopg.OperationalError) -> bool:
    """Tell a statement that could not be carried out from a connection that is gone."""
    resources_or_locks = ("53", "55", "40", "58")  # but 53300: no connection to be had
    state = exc.sqlstate or ""
    return state.startswith(resources_or_locks) and state != "53300"


def _in_words(exc: Exception) -> str:
    text = redact(str(exc)).strip()
    return text.splitlines()[0].rstrip(".") if text else type(exc).__name__


def connect(*, application_name: str, autocommit: bool = True) -> Connection:
    """Open a connection of its own, for a lock or a heartbeat; the caller closes it."""
    with translated_errors():
        return psycopg.connect(
            make_conninfo(conninfo(), connect_timeout=_CONNECT_TIMEOUT_SECONDS),
            application_name=application_name[:63],  # PostgreSQL cuts it there
            autocommit=autocommit,
            row_factory=dict_row,
        )


def _configure(connection: Connection) -> None:
    connection.execute("SELECT set_config('lock_timeout', %s, false)", [_LOCK_TIMEOUT])
    connection.commit()


def _open_pool(info: str) -> ConnectionPool[Connection]:
    # A first connection by hand, because a pool only says that it timed out, not why.
    connect(application_name="batch-monitor").close()
    pool: ConnectionPool[Connection] = ConnectionPool(
        make_conninfo(info, connect_timeout=_CONNECT_TIMEOUT_SECONDS),
        kwargs={"row_factory": dict_row, "application_name": "batch-monitor"},
        min_size=1,
        max_size=_POOL_SIZE,
        timeout=_CONNECT_TIMEOUT_SECONDS,
        configure=_configure,
        check=ConnectionPool.check_connection,
        open=True,
        name="batch-monitor",
    )
    _pools[info] = pool
    return pool


@atexit.register
def close_pools() -> None:
    """Close every pooled connection; the next call opens them anew."""
    while _pools:
        _pools.popitem()[1].close()


@contextmanager
def transaction() -> Iterator[Connection]:
    """Give the current transaction's connection, or one in a new transaction.

    Leaving the outermost block commits; an exception rolls everything back.

    Raises:
        SettingsError: no database is configured.
        DatabaseError: the database cannot be reached, or refused a statement.
    """
    joined = _current.get()
    if joined is not None:
        yield joined
        return
    info = conninfo()
    with translated_errors():
        pool = _pools.get(info) or _open_pool(info)
        with pool.connection() as connection:
            token = _current.set(connection)
            try:
                yield connection
            finally:
                _current.reset(token)

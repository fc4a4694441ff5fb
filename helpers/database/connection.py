"""Connections and transactions.

Nobody passes connections around: ``transaction()`` keeps the current one in a context
variable, nested calls join it, and outside one each call is its own transaction. No HTTP
request belongs inside a transaction.
"""

import atexit
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from helpers.database.named import statements
from helpers.database.translation import ends_the_connection, translated_errors
from helpers.errors import DatabaseError, SettingsError
from helpers.settings import get_settings

Connection: TypeAlias = psycopg.Connection[DictRow]

_LIBPQ_VARIABLES = ("PGHOST", "PGHOSTADDR", "PGDATABASE", "PGSERVICE", "PGPORT", "PGUSER")
_CONNECT_TIMEOUT_SECONDS = 10
_PARAMETERS: dict[str, Any] = {
    # Before the first statement: Python does not know every encoding that a role may be given.
    "client_encoding": "UTF8",
    # A server that has vanished without a word is noticed in half a minute, not in two hours.
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds
}
_LOCK_TIMEOUT = "10s"  # someone else's lock costs one item of a pass, not the pass
_IDLE_IN_TRANSACTION_TIMEOUT = "60s"  # a process that is frozen there holds row locks
_POOL_SIZE = 8

# What it warns of is told by the errors raised here; without a handler it would go to stderr.
logging.getLogger("psycopg.pool").addHandler(logging.NullHandler())

_current: ContextVar[Connection | None] = ContextVar("current_connection", default=None)
_pools: dict[str, ConnectionPool[Connection]] = {}
_pools_lock = threading.Lock()


def conninfo() -> str:
    """Return the connection string; an empty one leaves everything to libpq's variables.

    Raises:
        SettingsError: neither ``DATABASE_URL`` nor one of libpq's variables is set, or
            ``DATABASE_URL`` cannot be read.
    """
    url = get_settings().database_url
    if url is not None:
        return _readable(url.get_secret_value())
    if any(os.environ.get(name) for name in _LIBPQ_VARIABLES):
        return ""
    raise SettingsError(
        "No database is configured. Set DATABASE_URL (postgresql://user:password@host/database), "
        "or PGHOST and PGDATABASE, in the environment or in .env; or try everything out on a "
        "database of its own with `make demo`."
    )


def _readable(url: str) -> str:
    try:
        host = str(conninfo_to_dict(url).get("host", ""))
    except psycopg.ProgrammingError:
        pass  # its message repeats what cannot be parsed
    else:
        # An @ in a password that is not encoded makes the rest of the password part of the host.
        if "://" not in url or "@" not in host:
            return url
    raise SettingsError(
        "DATABASE_URL cannot be read. Its form is "
        "postgresql://user:password@host:port/database, special characters %-encoded."
    )


def connect(*, application_name: str, idle_session_timeout: str = "0") -> Connection:
    """Open a connection of its own, for a lock or a heartbeat; the caller closes it.

    Args:
        application_name: who it belongs to, shown in ``pg_stat_activity``.
        idle_session_timeout: the server ends it after so long without a statement; "0": never.
    """
    with translated_errors():
        connection = psycopg.connect(
            _conninfo_with_parameters(),
            application_name=application_name[:63],  # PostgreSQL cuts it there
            autocommit=True,
            row_factory=dict_row,
        )
        try:
            statements("connection").pin(
                connection,
                lock_timeout="0",
                idle_in_transaction_session_timeout="0",
                idle_session_timeout=idle_session_timeout,
            )
        except BaseException:
            connection.close()
            raise
        return connection


def _conninfo_with_parameters() -> str:
    return make_conninfo(conninfo(), connect_timeout=_CONNECT_TIMEOUT_SECONDS, **_PARAMETERS)


def _configure(connection: Connection) -> None:
    statements("connection").pin(
        connection,
        lock_timeout=_LOCK_TIMEOUT,
        idle_in_transaction_session_timeout=_IDLE_IN_TRANSACTION_TIMEOUT,
        idle_session_timeout="0",
    )
    connection.commit()


def _pool(info: str) -> ConnectionPool[Connection]:
    with _pools_lock:  # threads that come first together share one
        if info not in _pools:
            # A first connection by hand, because a pool only says that it timed out, not why.
            connect(application_name="batch-monitor").close()
            _pools[info] = ConnectionPool(
                _conninfo_with_parameters(),
                kwargs={"row_factory": dict_row, "application_name": "batch-monitor"},
                min_size=1,
                max_size=_POOL_SIZE,
                timeout=_CONNECT_TIMEOUT_SECONDS,
                configure=_configure,
                check=ConnectionPool.check_connection,
                open=True,
                name="batch-monitor",
            )
        return _pools[info]


@contextmanager
def _discarding_broken(info: str) -> Iterator[ConnectionPool[Connection]]:
    """Give the pool; discard it if it has lost its server, or it would try ever more rarely.

    The next call opens a new one at once, or is told why it cannot.
    """
    pool = _pool(info)
    try:
        yield pool
    except PoolTimeout:
        _discard(pool, info)
        connect(application_name="batch-monitor").close()  # a pool does not say why it timed out
        raise
    except (psycopg.OperationalError, psycopg.InterfaceError) as exc:
        if isinstance(exc, psycopg.InterfaceError) or ends_the_connection(exc):
            _discard(pool, info)
        raise


def _discard(pool: ConnectionPool[Connection], info: str) -> None:
    with _pools_lock:  # another thread may have opened a new one, which is not to blame
        if _pools.get(info) is pool:
            del _pools[info]
    pool.close(timeout=0)


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
    with (
        translated_errors(),
        _discarding_broken(info) as pool,
        pool.connection() as connection,
    ):
        token = _current.set(connection)
        try:
            yield connection
        finally:
            _current.reset(token)
        if connection.info.transaction_status == TransactionStatus.INERROR:
            # The error of a statement was swallowed, and COMMIT would roll back silently.
            raise DatabaseError(
                "A statement of this transaction failed: all of it was rolled back."
            )


@contextmanager
def joining(connection: Connection) -> Iterator[None]:
    """Have ``transaction()`` give this connection, whose own transaction is the caller's affair."""
    token = _current.set(connection)
    try:
        yield
    finally:
        _current.reset(token)


def in_transaction() -> bool:
    """Tell whether the caller stands inside a transaction, where no HTTP request belongs."""
    return _current.get() is not None

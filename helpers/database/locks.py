"""Session advisory locks: who works on what, for as long as that work makes progress.

A lock is bound to a connection of its own, so that the server frees it when the process
dies, however it dies. The server ends a connection that has been silent for a minute as well,
and only the thread that does the work pings it: a process that is frozen, or hangs, loses its
locks. They keep passes out of each other's way and do not make anything correct: that is the
work of row locks and unique keys. A pooler in transaction mode (pgbouncer) would leak them,
and is refused.
"""

import threading
from collections.abc import Collection
from contextlib import AbstractContextManager, closing, suppress
from enum import IntEnum
from typing import Self

import psycopg

from helpers.clock import CLOCK
from helpers.database.connection import Connection, connect, transaction
from helpers.database.querying import queries
from helpers.database.translation import translated_errors
from helpers.errors import DatabaseUnavailableError, SettingsError

IDLE_SECONDS = 60.0
"""After so long without a ping the server ends the connection, and the locks with it."""


class LockSpace(IntEnum):
    """What a lock is about. The numbers are the first key of PostgreSQL's two-key locks."""

    POLL_BATCH = 0x4D4F_4E01  # the jobs of one batch are being polled
    SUBMIT_BATCH = 0x4D4F_4E02  # the jobs of one batch are being submitted
    SEND_CARDS = 0x4D4F_4E03  # the outbox is being sent; the second key is 0
    HOUSEKEEPING = 0x4D4F_4E04  # a pass does its housekeeping; the second key is 0
    MIGRATE = 0x4D4F_4E05  # the schema is being changed; the second key is 0


def lock_holders(space: LockSpace, keys: Collection[int]) -> dict[int, str]:
    """Return who holds each of these locks; a key that is free is left out."""
    rows = queries("locks").holders(space=space, keys=list(keys))
    return {row["key"]: row["owner"] for row in rows}


def require_sessions() -> None:
    """Make sure that each connection is a session of the server's, which locks are bound to.

    Raises:
        SettingsError: a pooler hands each transaction to another session.
    """
    with AdvisoryLocks(owner="session check"):
        pass


class AdvisoryLocks:
    """The locks of one owner, on one connection; a context manager that frees them all."""

    def __init__(self, *, owner: str, ends_when_idle: bool = True) -> None:
        """Open the connection.

        Args:
            owner: who holds the locks, as others are told: shown in ``pg_stat_activity``.
            ends_when_idle: the locks are lost ``IDLE_SECONDS`` after the last ping.

        Raises:
            SettingsError: a pooler hands each transaction to another session of the server.
        """
        timeout = f"{IDLE_SECONDS * 1000:.0f}ms" if ends_when_idle else "0"
        self._connection = connect(application_name=owner, idle_session_timeout=timeout)
        self._pinged = CLOCK.monotonic()
        self._are_lost = False
        self._owner_thread = threading.get_ident()
        try:
            require_session(self._connection, transaction())
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        # Freed here, because after a close the server does so only a moment later: whoever
        # comes right behind would be told of a holder that is gone.
        with closing(self._connection), suppress(psycopg.Error):
            queries("locks").free_all(self._connection)

    def try_acquire(self, space: LockSpace, keys: Collection[int]) -> set[int]:
        """Take what is free and return those keys; never waits."""
        with translated_errors():
            rows = queries("locks").try_locks(self._connection, space=space, keys=list(keys))
            return {row["key"] for row in rows if row["acquired"]}

    def acquire(self, space: LockSpace, key: int) -> None:
        """Take one lock, waiting for whoever holds it."""
        with translated_errors():
            queries("locks").wait_for_lock(self._connection, space=space, key=key)

    def check(self) -> None:
        """Raise ``DatabaseUnavailableError`` if the connection, and with it every lock, is gone."""
        sent = CLOCK.monotonic()
        with translated_errors():
            self._connection.execute("SELECT 1")
        self._pinged = sent

    def are_held(self) -> bool:
        """Tell whether the locks are held; False for ever once they are lost.

        The thread that opened them calls this at least every 15 seconds while it works, and pings
        the server when it is time. No other thread pings: work that makes no progress must lose
        its locks. Once they are lost, ask and submit nothing more; what is in hand may still be
        recorded, because each update is guarded.
        """
        silence = CLOCK.monotonic() - self._pinged
        if threading.get_ident() == self._owner_thread and silence > IDLE_SECONDS / 4:
            try:
                self.check()
            except DatabaseUnavailableError:
                self._are_lost = True
        self._are_lost = self._are_lost or CLOCK.monotonic() - self._pinged > IDLE_SECONDS
        return not self._are_lost


def require_session(connection: Connection, another: AbstractContextManager[Connection]) -> None:
    """Make sure that a connection neither changes its session of the server nor shares it.

    Args:
        connection: with no transaction under way.
        another: gives another connection, within a transaction.

    Raises:
        SettingsError: a pooler hands each transaction to another session.
    """
    session = queries("locks").session
    with translated_errors():
        sessions = {session(connection), session(connection)}  # two, if the pooler takes turns
        with another as other:  # a pooler cannot give its session to anybody now
            sessions.add(session(connection))
            is_shared = session(other) in sessions
        sessions.add(session(connection))
    if is_shared or len(sessions) > 1:
        raise SettingsError(
            "The database is reached through a pooler that shares its sessions (pgbouncer with "
            "pool_mode = transaction), under which locks are lost: let DATABASE_URL lead to "
            "PostgreSQL itself, or to a pool in session mode."
        )

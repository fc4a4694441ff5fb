"""A connection that learns of changes: for somebody who shows the metastore and follows it.

It reads, and cannot write.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from psycopg import IsolationLevel

from helpers.database.connection import Connection, connect, joining
from helpers.database.locks import require_session
from helpers.database.querying import queries
from helpers.database.translation import translated_errors
from helpers.errors import DatabaseError, DatabaseUnavailableError, SettingsError

_LONGEST_STATEMENT = "30s"


@contextmanager
def _another() -> Iterator[Connection]:
    with connect(application_name="session check") as other, other.transaction():
        yield other


class ChangeFeed:
    """One connection to read on, which is notified of changes; a context manager that closes it."""

    def __init__(self, *, owner: str) -> None:
        """Open the connection.

        Args:
            owner: whose it is, shown in ``pg_stat_activity``.

        Raises:
            SettingsError: no database is configured.
            DatabaseUnavailableError: it cannot be reached.
        """
        self._connection = connect(application_name=owner)
        try:
            with translated_errors():
                queries("connection").limit_statements(self._connection, limit=_LONGEST_STATEMENT)
                self._connection.read_only = True
                self._connection.isolation_level = IsolationLevel.REPEATABLE_READ
            self.is_notified = self._listen()
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._connection.close()

    def _listen(self) -> bool:
        """Ask for notifications; False if none would come: through a pooler, from a standby."""
        try:
            require_session(self._connection, _another())
            with translated_errors():
                queries("changes").listen(self._connection)
        except DatabaseUnavailableError:
            raise
        except (SettingsError, DatabaseError):
            return False
        return True

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Have all queries of a block see the metastore as of one moment, and refuse to write."""
        with translated_errors(), self._connection.transaction(), joining(self._connection):
            yield

    def wait(self, seconds: float) -> bool:
        """Return True as soon as something has changed since the last call, False after a time.

        Raises:
            DatabaseUnavailableError: the connection is lost.
        """
        with translated_errors():
            return any(True for _ in self._connection.notifies(timeout=seconds, stop_after=1))

"""Time that a test sets: for one database, whoever uses it, and for the helpers in this process.

The database's clock is two functions that nothing sets. A test owns its database, so it replaces
them by ones that read a schema which exists nowhere else.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Self

import psycopg

from helpers.clock import CLOCK

_SCHEMA = """
CREATE SCHEMA simulated;
CREATE UNLOGGED TABLE simulated.clock (now_ts timestamptz NOT NULL, passed float8 NOT NULL)
    WITH (fillfactor = 10);
INSERT INTO simulated.clock VALUES (now(), 0);
GRANT USAGE ON SCHEMA simulated TO public;
GRANT SELECT ON simulated.clock TO public;
CREATE OR REPLACE FUNCTION irp_now() RETURNS timestamptz LANGUAGE plpgsql STABLE AS
    'BEGIN RETURN (SELECT now_ts FROM simulated.clock); END';
CREATE OR REPLACE FUNCTION irp_clock() RETURNS timestamptz LANGUAGE plpgsql VOLATILE AS
    'BEGIN RETURN (SELECT now_ts FROM simulated.clock); END';
DO $$
-- A team's own columns have defaults of their own; here they follow as well.
DECLARE
    of_column record;
BEGIN
    FOR of_column IN
        SELECT adrelid::regclass AS relation, attname AS name
        FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
        WHERE pg_get_expr(adbin, adrelid) = 'now()'
    LOOP
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT irp_now()',
                       of_column.relation, of_column.name);
    END LOOP;
END $$;
"""


class SimulatedTime:
    """Replaces the clocks of a database and of ``CLOCK`` while the block runs."""

    def __init__(self, database_url: str, *, sleep: Callable[[float], None] | None = None) -> None:
        """Prepare; ``sleep`` is how whoever waits lets time pass, None: it passes at once."""
        self._sleep = sleep or self.advance
        self._connection = psycopg.connect(database_url, autocommit=True)
        self._connection.execute(_SCHEMA)
        self._now = datetime.now(UTC)
        self._passed = 0.0  # seconds of the clock that nobody sets

    def __enter__(self) -> Self:
        CLOCK.now = lambda: self._now  # type: ignore[method-assign]
        CLOCK.monotonic = lambda: self._passed  # type: ignore[method-assign]
        CLOCK.sleep = self._sleep  # type: ignore[method-assign]
        return self

    def __exit__(self, *_error: object) -> None:
        for name in ("now", "monotonic", "sleep"):
            delattr(CLOCK, name)
        self._connection.close()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        now = self._now + timedelta(seconds=seconds)
        self.set(now, passed=self._passed + seconds)

    def set(
        self, now: datetime, *, server: datetime | None = None, passed: float | None = None
    ) -> None:
        """Set the clocks, forward or back.

        Args:
            now: the time of day of this process.
            server: that of the database; None: the same.
            passed: seconds of the clock that nobody sets; None: as before.
        """
        self._now = now
        self._passed = self._passed if passed is None else passed
        self._connection.execute(
            "UPDATE simulated.clock SET now_ts = %s, passed = %s", [server or now, self._passed]
        )

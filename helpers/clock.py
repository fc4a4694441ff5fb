"""The one clock of this package, as ``irp_now()`` and ``irp_clock()`` are the database's.

Everybody asks ``CLOCK``, so that a test can replace its three calls and have weeks pass in minutes.
Only what waits for real processes reads the machine's own clock: the watchdog and what runs beside
it (``notebooks.watchdog``, ``notebooks.kernel``, ``notebooks.session``).
"""

import time
from datetime import UTC, datetime


class Clock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the time of day, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return the seconds of a clock that nobody sets, to measure durations."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


CLOCK = Clock()

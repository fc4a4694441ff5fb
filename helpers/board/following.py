"""Follow the metastore: look again when something has changed, in one thread on one connection."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from helpers.clock import CLOCK
from helpers.database import ChangeFeed
from helpers.errors import BatchMonitoringError
from helpers.redaction import describe

log = logging.getLogger(__name__)

REFRESH_SECONDS = 30.0  # ages grow, although nothing changes
REFRESH_UNNOTIFIED_SECONDS = 10.0
_GATHER_SECONDS = 0.2  # what changes together is shown together
_REST_SECONDS = 0.5  # between two looks, and at least so many times what a look takes
_REST_SHARE = 3.0
_STEP_SECONDS = 0.5  # so late it notices that nobody follows any more
_RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class Sight:
    """What a look at the metastore has shown, or why there was none."""

    parts: dict[str, str] | None  # HTML by the name of its part; None: nothing could be read
    problem: str | None = None
    is_notified: bool = True  # of changes; else it looks every ten seconds


class Follower:
    """A thread that looks at the metastore for as long as somebody follows."""

    def __init__(
        self,
        look: Callable[[], dict[str, str]],
        publish: Callable[[Sight], object],
        *,
        after: "Follower | None" = None,
    ) -> None:
        """Begin to follow.

        Args:
            look: reads the metastore, joining the transaction under way.
            publish: is given what each look has shown, in the thread that looks.
            after: the one whose connection has to be closed first.
        """
        self._look, self._publish, self._after = look, publish, after
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="board", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask it to close its connection and end, which takes it half a second."""
        self._ended.set()

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended."""
        self._thread.join(timeout)

    def _run(self) -> None:
        if self._after is not None:
            self._after.join()
            self._after = None
        failures = 0
        while not self._ended.is_set():
            try:
                with ChangeFeed(owner="batch-monitor page") as feed:
                    while not self._ended.is_set():
                        self._look_once(feed)
                        failures = 0
            except BatchMonitoringError as exc:
                self._publish(Sight(None, str(exc)))
            except Exception as exc:  # noqa: BLE001 - a page that stands still must say why
                log.error("The board cannot be shown: %s", describe(exc))  # noqa: TRY400 - the traceback may hold a secret
                self._publish(Sight(None, f"The board cannot be shown: {describe(exc)}."))
            self._ended.wait(_RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)])
            failures += 1

    def _look_once(self, feed: ChangeFeed) -> None:
        """Look, and return when it is time to look again."""
        started = CLOCK.monotonic()
        with feed.reading():
            parts = self._look()
        self._publish(Sight(parts, is_notified=feed.is_notified))
        took = CLOCK.monotonic() - started
        self._ended.wait(max(_REST_SECONDS, _REST_SHARE * took))
        refresh = REFRESH_SECONDS if feed.is_notified else REFRESH_UNNOTIFIED_SECONDS
        until = CLOCK.monotonic() + refresh
        while not self._ended.is_set() and CLOCK.monotonic() < until:
            if feed.wait(_STEP_SECONDS):
                self._ended.wait(_GATHER_SECONDS)
                while feed.wait(0):  # they are all of what is read next
                    pass
                return

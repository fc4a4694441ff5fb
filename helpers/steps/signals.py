"""Acts that a signal must not cut in half, and that a restart of the database must not undo."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from helpers.clock import CLOCK
from helpers.errors import DatabaseUnavailableError

_PAUSE_SECONDS = 1.0

_T = TypeVar("_T")


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Defer Ctrl-C and SIGTERM until the block is over.

    For the moments between doing something that must be undone and knowing of it, such as a claim.
    Signals reach the main thread only; in another thread nothing needs to be deferred.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for deferred in came:
            signal.raise_signal(deferred)


def retry_while_unavailable(
    action: Callable[[], _T], *, is_worthwhile: Callable[[], bool] = lambda: True
) -> _T:
    """Do something with the metastore, signals deferred; while it is unavailable, try again.

    Raises:
        DatabaseUnavailableError: it is unavailable, and waiting for it is not worthwhile.
    """
    act = deferred_signals()(action)
    while True:
        try:
            return act()
        except DatabaseUnavailableError:
            if not is_worthwhile():
                raise
        CLOCK.sleep(_PAUSE_SECONDS)

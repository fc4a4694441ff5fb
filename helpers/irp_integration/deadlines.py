"""Cut a request off at its deadline, whatever its socket does.

A socket's own timeout covers one read: a host that sends a byte a second is never late. So one
thread looks after all requests, and shuts the socket of each that is past its deadline, which wakes
whoever reads from it. What cannot be woken, such as a name that is being resolved, is abandoned by
its caller: the threads of a pass are daemons.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from requests.adapters import HTTPAdapter

from helpers.clock import CLOCK

LATE = "Moody's did not finish its answer in time."
_LOOK_EVERY_SECONDS = 0.25
_SLACK_SECONDS = 0.5  # a socket's own timeout comes first, which knows better what went wrong
_here = threading.local()  # the call that this thread makes


@dataclass(eq=False)
class Call:
    """One request, from its connection to the end of its answer."""

    until: float
    connection: Any = None
    is_cut: bool = False

    def cut(self) -> None:
        """Wake whoever reads from the socket."""
        self.is_cut = True
        sock = getattr(self.connection, "sock", None)
        if sock is not None:
            with suppress(OSError, ValueError):  # it is closed already
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


class Deadlines:
    """Looks after requests; threads may share it."""

    def __init__(self) -> None:
        self._calls: set[Call] = set()  # each of its methods is atomic
        self._closed = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def close(self) -> None:
        """Look after nothing any more."""
        self._closed.set()

    @contextmanager
    def until(self, deadline: float) -> Iterator[Call]:
        """Cut off what the block asks, soon after that moment (in ``CLOCK.monotonic`` seconds)."""
        call = _here.call = Call(deadline)
        self._calls.add(call)
        if self._thread is None:
            self._start()
        try:
            yield call
        finally:
            _here.call = None
            self._calls.discard(call)

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="deadlines", daemon=True)
                self._thread.start()

    def _look(self) -> None:
        while not self._closed.wait(_LOOK_EVERY_SECONDS):
            now = CLOCK.monotonic()
            for call in self._calls.copy():
                if call.until + _SLACK_SECONDS < now:
                    call.cut()


class _Noting:
    """A connection that the call of its thread knows."""

    def connect(self) -> None:
        self._note()
        super().connect()  # type: ignore[misc]  # of urllib3's connection, which this is mixed into

    def request(self, *args: Any, **kwargs: Any) -> None:
        self._note()  # it may come from the pool
        super().request(*args, **kwargs)  # type: ignore[misc]  # as above

    def _note(self) -> None:
        call: Call | None = getattr(_here, "call", None)
        if call is not None:
            call.connection = self


@cache
def _noting(connection_class: type) -> type:
    return type(connection_class.__name__, (_Noting, connection_class), {})


class NotingAdapter(HTTPAdapter):
    """Makes connections that the call of their thread knows."""

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """Return a pool of such connections."""
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        pool.ConnectionCls = _noting(type(pool).ConnectionCls)
        return pool

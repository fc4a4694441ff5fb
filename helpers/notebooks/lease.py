"""The owner's side of the lease under which a notebook runs; the watchdog judges it.

Whoever runs a notebook under a claim renews the lease with each beat of the claim that was
confirmed. An owner who is frozen, cut off or gone renews nothing, and the watchdog, which is not
frozen with him, ends the notebook well before the claim expires and another may start it.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from helpers.notebooks.watchdog import LEASE_SECONDS, lease_clock

__all__ = ["LEASE_SECONDS", "Lease", "lease_clock"]


class Lease:
    """The right to run a notebook, for some seconds after the last confirmed beat was sent.

    Times are those of ``lease_clock``, read just before a beat is sent: a confirmation that
    arrives late, or is read late by a process that was frozen, renews no more than it is worth.
    """

    def __init__(self, sent_at: float, *, seconds: float = LEASE_SECONDS) -> None:
        """Begin with the statement that notes the start of the run."""
        self.sent_at = sent_at
        self.seconds = seconds
        self._lock = threading.Lock()
        self._pipe: int | None = None

    def renew(self, sent_at: float) -> None:
        """Note that a beat sent at this time was confirmed; in any thread, without waiting."""
        with self._lock:
            self.sent_at = max(self.sent_at, sent_at)
            if self._pipe is not None:
                with suppress(OSError):  # the watchdog is gone, or frozen for long
                    os.write(self._pipe, f"{self.sent_at!r}\n".encode())

    @contextmanager
    def pipe(self) -> Iterator[int]:
        """Give what a watchdog reads renewals from while the block runs, and the block's end."""
        readable, writable = os.pipe()
        os.set_blocking(writable, False)
        with self._lock:
            self._pipe = writable
        try:
            yield readable
        finally:
            with self._lock:
                self._pipe = None
                os.close(writable)

"""The heartbeat of this process's claims."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from helpers.database import connect, queries, translated_errors
from helpers.identity import owner_id
from helpers.redaction import describe

log = logging.getLogger(__name__)

BEAT_SECONDS = 10.0
# When the claim expires the notebook must be gone: ending it takes up to 15 s.
_SILENCE_SECONDS = 45.0
_LOOK_SECONDS = 1.0
_BEAT_LIMIT = "8s"  # for one beat, whatever it waits for
_GOODBYE_SECONDS = 15.0  # for a beat that is under way


class Heartbeat:
    """Renews claims in a thread, on a connection of its own.

    Calls ``on_loss(id)`` for a claim that was lost, or that could not be renewed for so long that
    it may soon expire. A second thread judges that, because a beat may hang.
    """

    def __init__(self, on_loss: Callable[[int], None]) -> None:
        self._on_loss = on_loss
        self._renewed: dict[int, float] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [
            self._thread(self.beat, BEAT_SECONDS),
            self._thread(self.expire_silent, _LOOK_SECONDS),
        ]

    def _thread(self, action: Callable[[], None], every: float) -> threading.Thread:
        def repeat() -> None:
            while not self._stop.wait(every):
                action()

        return threading.Thread(target=repeat, name="heartbeat", daemon=True)

    def add(self, claim_id: int) -> None:
        """Renew this claim from now on."""
        with self._lock:
            self._renewed[claim_id] = time.monotonic()
        for thread in self._threads:
            if not thread.is_alive():
                thread.start()

    def remove(self, claim_id: int) -> None:
        """Renew this claim no longer."""
        with self._lock:
            self._renewed.pop(claim_id, None)

    def stop(self) -> None:
        """End the threads; a beat that hangs is left to end by itself."""
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(_GOODBYE_SECONDS)

    def beat(self) -> None:
        """Renew every claim once."""
        begun = time.monotonic()
        with self._lock:
            ids = list(self._renewed)
        if not ids:
            return
        try:
            kept = self._renew(ids)
        except Exception as exc:  # noqa: BLE001 - whatever it is, nothing was renewed
            log.warning("Claims were not renewed: %s", describe(exc))
            return
        with self._lock:
            self._renewed.update((i, begun) for i in kept if i in self._renewed)
        self._lose(set(ids) - kept)

    def expire_silent(self) -> None:
        """Lose the claims that could not be renewed for too long."""
        with self._lock:
            longest_ago = time.monotonic() - _SILENCE_SECONDS
            silent = {i for i, renewed in self._renewed.items() if renewed < longest_ago}
        self._lose(silent)

    def _lose(self, ids: set[int]) -> None:
        for claim_id in ids:
            with self._lock:
                was_held = self._renewed.pop(claim_id, None) is not None
            if was_held:
                self._on_loss(claim_id)

    def _renew(self, ids: list[int]) -> set[int]:
        # A new connection each time costs a few milliseconds in ten seconds, and survives restarts.
        with connect(application_name="monitor heartbeat") as connection, translated_errors():
            queries("connection").limit_statements(connection, limit=_BEAT_LIMIT)
            rows = queries("chain_runs").heartbeat(connection, owner=owner_id(), ids=ids)
            return {row["id"] for row in rows}

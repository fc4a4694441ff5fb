"""The heartbeat of this process's claims."""

import logging
import math
import threading
from collections.abc import Callable
from typing import TypeAlias

from helpers.database import connect, queries, translated_errors
from helpers.identity import owner_id
from helpers.notebooks.lease import LEASE_SECONDS, lease_clock
from helpers.redaction import describe
from helpers.steps.claims import LASTS

log = logging.getLogger(__name__)

BEAT_SECONDS = 3.0
SILENCE_SECONDS = LEASE_SECONDS
"""When the claim expires the notebook must be gone: ending it takes up to 15 s."""

_BEAT_LIMIT = "8s"  # for one beat, whatever it waits for
_GOODBYE_SECONDS = 15.0  # for a beat that is under way

Key: TypeAlias = tuple[int, int]  # of a claim: step and attempt


class Heartbeat:
    """Renews claims in a thread, on a connection of its own.

    A claim counts as renewed as of the moment at which its beat was sent, which ``on_beat`` is told
    when the beat was confirmed; ``on_loss`` is told of a claim that another has by now. A beat may
    hang, so nobody waits for it to learn of silence: the watchdog of a notebook judges its lease,
    and everybody else asks ``holds``.
    """

    def __init__(
        self,
        on_loss: Callable[[Key], None] = lambda _key: None,
        on_beat: Callable[[Key, float], None] = lambda _key, _sent_at: None,
    ) -> None:
        self._on_loss = on_loss
        self._on_beat = on_beat
        self._renewed: dict[Key, float] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name="heartbeat", daemon=True)

    def _repeat(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            self.beat()

    def add(self, key: Key) -> None:
        """Renew this claim from now on."""
        with self._lock:
            self._renewed[key] = lease_clock()
            if not self._thread.is_alive():
                self._thread.start()

    def remove(self, key: Key) -> None:
        """Renew this claim no longer."""
        with self._lock:
            self._renewed.pop(key, None)

    def holds(self, key: Key) -> bool:
        """Tell whether a claim was renewed so lately that nobody else may have claimed the step."""
        with self._lock:
            renewed = self._renewed.get(key, -math.inf)
        return lease_clock() - renewed <= SILENCE_SECONDS

    def stop(self) -> None:
        """End the thread; a beat that hangs is left to end by itself."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_GOODBYE_SECONDS)

    def beat(self) -> None:
        """Renew every claim once."""
        sent_at = lease_clock()
        with self._lock:
            keys = list(self._renewed)
        if not keys:
            return
        try:
            kept = self._renew(keys)
        except Exception as exc:  # noqa: BLE001 - whatever it is, nothing was renewed
            log.warning("Claims were not renewed: %s", describe(exc))
            return
        with self._lock:
            self._renewed.update((key, sent_at) for key in kept if key in self._renewed)
            lost = [key for key in keys if key in self._renewed and key not in kept]
            for key in lost:
                del self._renewed[key]
        for key in kept:
            self._on_beat(key, sent_at)
        for key in lost:
            self._on_loss(key)

    def _renew(self, keys: list[Key]) -> set[Key]:
        # A new connection each time costs a few milliseconds, and survives restarts.
        with connect(application_name="monitor heartbeat") as connection, translated_errors():
            queries("connection").limit_statements(connection, limit=_BEAT_LIMIT)
            rows = queries("step_claims").renew(
                connection,
                owner=owner_id(),
                step_ids=[step_id for step_id, _ in keys],
                attempts=[attempt for _, attempt in keys],
                lasts=LASTS,
            )
            return {(row["step_id"], row["attempt"]) for row in rows}

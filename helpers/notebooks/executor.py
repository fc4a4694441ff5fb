"""Run a notebook through any ``concurrent.futures.Executor``: other threads, processes, machines.

The worker needs this package, and the workflows folder under the same path. Caller and worker
share a lease, a small file beside the executed copy. The caller renews it and writes into it
why the run shall stop; a run whose lease is gone or no longer renewed ends itself well before
another monitor may start the same step. A lease is good for one start, because an engine may
repeat work whose worker has died.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError, Executor, Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from helpers.notebooks.run import NotebookOutcome, NotebookRun, Verdict

RENEW_SECONDS = 5.0
SILENCE_SECONDS = 60.0  # the run must have ended when the claim of its step expires
_LOOK_SECONDS = 0.5
_GOODBYE_SECONDS = 30.0  # for a run that was told to stop

_GONE = "The run was stopped: whoever started it is gone, or has stopped renewing its lease."
_STARTED_BEFORE = "The worker that ran this notebook is gone. It is not started a second time."


class ExecutorRun:
    """A notebook that is run once by an executor's worker; looks like ``NotebookRun``."""

    def __init__(
        self,
        executor: Executor,
        source: Path,
        executed_copy: Path,
        *,
        timeout_seconds: float,
        environment: Mapping[str, str],
    ) -> None:
        """Prepare a run; see ``NotebookRun``. The timeout counts from its start on the worker."""
        self._executor = executor
        self._lease = Lease(executed_copy.with_name(f"{executed_copy.name}.lease"))
        self._work = LeasedRun(
            source, executed_copy, timeout_seconds, dict(environment), self._lease.path
        )
        self._future: Future[NotebookOutcome] | None = None
        self.verdict: Future[Verdict] = Future()
        """Known with the outcome, because a worker hands back once only; set by the caller."""

    def execute(self) -> NotebookOutcome:
        """Hand the notebook to the executor; return when it has ended there.

        Raises:
            Exception: whatever the executor raises where its worker is lost.
        """
        with self._lease.renewed():
            if self._lease.is_revoked:
                return NotebookOutcome.stopped(self._lease.why)
            future = self._future = self._executor.submit(self._work.execute)
            try:
                return future.result()
            except CancelledError:
                return NotebookOutcome.stopped(self._lease.why)
            except BaseException:
                self.stop("Interrupted.")
                wait([future], _GOODBYE_SECONDS)
                raise

    def stop(self, reason: str) -> None:
        """End the run, wherever it is: at once while it waits for a worker, else in a second."""
        self._lease.revoke(reason)
        if self._future is not None:
            self._future.cancel()


class Lease:
    """The caller's side of a lease."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reason: str | None = None  # why the run shall stop
        self._ended = threading.Event()
        self._is_held = False
        self._lock = threading.Lock()

    @contextmanager
    def renewed(self) -> Iterator[None]:
        """Write the lease, renew it in a thread, and take it away in the end."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._is_held = True
        self._write()
        thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()
            with self._lock:
                self._is_held = False
                self.path.unlink(missing_ok=True)
                _started(self.path).unlink(missing_ok=True)

    @property
    def is_revoked(self) -> bool:
        """Whether the run shall stop."""
        return self._reason is not None

    @property
    def why(self) -> str:
        """Why the run shall stop; somebody else may have cancelled it."""
        return self._reason or "Cancelled."

    def revoke(self, reason: str) -> None:
        """Tell the run to stop; the first reason counts."""
        self._reason = self._reason or reason
        self._write_patiently()

    def _renew(self) -> None:
        while not self._ended.wait(RENEW_SECONDS):
            self._write_patiently()

    def _write_patiently(self) -> None:
        with suppress(OSError):  # it is written the next time, or silence ends the run
            self._write()

    def _write(self) -> None:
        with self._lock:
            if not self._is_held:
                return
            said = {"renewed": time.time(), "reason": self._reason}
            self.path.write_text(json.dumps(said), encoding="utf-8")


@dataclass(frozen=True)
class LeasedRun:
    """What goes to the worker; may be pickled."""

    source: Path
    executed_copy: Path
    timeout_seconds: float
    environment: dict[str, str]
    lease: Path
    silence_seconds: float = SILENCE_SECONDS

    def execute(self) -> NotebookOutcome:
        """Run the notebook here, for as long as the lease holds."""
        if _content(self.lease) is None:
            return NotebookOutcome.stopped(_GONE)
        try:
            _started(self.lease).touch(exist_ok=False)
        except FileExistsError:
            return NotebookOutcome.failed(_STARTED_BEFORE)
        run = NotebookRun(
            self.source,
            self.executed_copy,
            timeout_seconds=self.timeout_seconds,
            environment=self.environment,
        )
        ended = threading.Event()
        watch = threading.Thread(target=self._watch, args=(run, ended), name="lease", daemon=True)
        watch.start()
        try:
            return run.execute()
        finally:
            ended.set()
            watch.join()

    def _watch(self, run: NotebookRun, ended: threading.Event) -> None:
        """Stop the run when its lease says so, is gone, or does not change for too long."""
        seen, changed = "", time.monotonic()
        while not ended.wait(_LOOK_SECONDS):
            said = _content(self.lease)
            if said != seen:
                seen, changed = said or "", time.monotonic()
            silent = time.monotonic() - changed > self.silence_seconds
            reason = _GONE if said is None or silent else _reason(said)
            if reason is not None:
                run.stop(reason)
                return


def _started(lease: Path) -> Path:
    return lease.with_suffix(".started")


def _content(lease: Path) -> str | None:
    """Return what a lease says; None where it is gone. Opening asks a network's server anew."""
    try:
        return lease.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except OSError:
        return ""  # no news; silence ends the run in time


def _reason(said: str) -> str | None:
    try:
        reason = json.loads(said)["reason"]
    except ValueError:
        return None  # read while it was being written
    return None if reason is None else str(reason)

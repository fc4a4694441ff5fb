"""Run a notebook through any ``concurrent.futures.Executor``: other threads, processes, machines.

The worker needs this package with its settings, and the workflows folder under the same path. The
lease of a run elsewhere is the row of its step's claim: the worker reads there when it was renewed
last, and whether its owner wants the run to stop. An attempt is good for one start, because an
engine may repeat work whose worker has died.
"""

import logging
import threading
from collections.abc import Mapping
from concurrent.futures import CancelledError, Executor, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.database import connect, queries, translated_errors
from helpers.errors import DatabaseError
from helpers.notebooks.lease import Lease, lease_clock
from helpers.notebooks.run import NotebookOutcome, NotebookRun, Verdict
from helpers.redaction import describe

log = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0
_GOODBYE_SECONDS = 30.0  # for a run that was asked to stop
_STATEMENT_LIMIT = "8s"

_GONE = "The run was stopped: the claim of its step was released, or is another's by now."
_STARTED_BEFORE = "The worker that ran this notebook is gone. It is not started a second time."


@dataclass(frozen=True)
class ClaimKey:
    """Which claim a run elsewhere stands under; the row holds the rest."""

    step_id: int
    attempt: int
    lasts_seconds: float  # after each beat

    def ask(self, query: str, **parameters: Any) -> Any:
        """Run one of the queries about this claim, on a connection of its own.

        Raises:
            DatabaseError: there is no answer.
        """
        with connect(application_name="notebook elsewhere") as connection, translated_errors():
            queries("connection").limit_statements(connection, limit=_STATEMENT_LIMIT)
            ask = getattr(queries("work_elsewhere"), query)
            return ask(connection, step_id=self.step_id, attempt=self.attempt, **parameters)


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
        claim: ClaimKey,
    ) -> None:
        """Prepare a run; see ``NotebookRun``. The timeout counts from its start on the worker."""
        self._executor = executor
        self._claim = claim
        self._work = WorkElsewhere(source, executed_copy, timeout_seconds, dict(environment), claim)
        self._future: Future[NotebookOutcome] | None = None
        self._reason: str | None = None  # why the run shall stop
        self.verdict: Future[Verdict] = Future()
        """Known with the outcome, because a worker hands back once only; set by the caller."""

    def execute(self) -> NotebookOutcome:
        """Hand the notebook to the executor; return when it has ended there.

        Raises:
            Exception: whatever the executor raises if its worker is lost.
        """
        if self._reason is not None:
            return self._stopped()
        future = self._future = self._executor.submit(self._work.execute)
        try:
            return future.result()
        except CancelledError:
            return self._stopped()
        except BaseException:
            self.stop("Interrupted.")
            wait([future], _GOODBYE_SECONDS)
            raise

    def _stopped(self) -> NotebookOutcome:
        return NotebookOutcome.stopped(self._reason or "Cancelled.")

    def stop(self, reason: str) -> None:
        """End the run, wherever it is: at once while it waits for a worker, else in seconds."""
        self._reason = self._reason or reason
        try:
            self._claim.ask("ask_to_stop", reason=self._reason)
        except DatabaseError as exc:  # the worker ends it all the same, when nothing is renewed
            log.warning("A run elsewhere was not asked to stop: %s", describe(exc))
        if self._future is not None:
            self._future.cancel()


@dataclass(frozen=True)
class WorkElsewhere:
    """What goes to the worker; may be pickled."""

    source: Path
    executed_copy: Path
    timeout_seconds: float
    environment: dict[str, str]
    claim: ClaimKey

    def execute(self) -> NotebookOutcome:
        """Run the notebook here, for as long as its claim is renewed."""
        sent_at = lease_clock()
        row = self.claim.ask("start")
        if row["stop_reason"] or row["seconds_left"] is None:
            return NotebookOutcome.stopped(row["stop_reason"] or _GONE)
        if not row["is_first"]:
            return NotebookOutcome.failed(_STARTED_BEFORE)
        lease = Lease(self._beat_sent_at(sent_at, row))
        run = NotebookRun(
            self.source,
            self.executed_copy,
            timeout_seconds=self.timeout_seconds,
            environment=self.environment,
            lease=lease,
        )
        ended = threading.Event()
        watch = threading.Thread(target=self._watch, args=(run, lease, ended), daemon=True)
        watch.start()
        try:
            return run.execute()
        finally:
            ended.set()
            watch.join()

    def _watch(self, run: NotebookRun, lease: Lease, ended: threading.Event) -> None:
        """Renew the lease as the row says; stop the run when that is wished."""
        while not ended.wait(_LOOK_SECONDS):
            sent_at = lease_clock()
            try:
                row = self.claim.ask("look")
            except DatabaseError as exc:
                log.warning("A claim could not be read: %s", describe(exc))
                continue
            if row["stop_reason"] or row["seconds_left"] is None:
                run.stop(row["stop_reason"] or _GONE)
                return
            lease.renew(self._beat_sent_at(sent_at, row))

    def _beat_sent_at(self, sent_at: float, row: Mapping[str, Any]) -> float:
        """Return when the last beat was confirmed, or a little before, on the clock of leases."""
        return sent_at - (self.claim.lasts_seconds - float(row["seconds_left"]))

"""Run a notebook through any ``concurrent.futures.Executor``: other threads, processes, machines.

The worker needs this package with its settings, and the workflows folder under the same path. The
row of the step's claim is what both sides share, whatever becomes of the engine between them:

- It is the lease: the worker reads there when the claim was renewed last, and whether its owner
  wants the run to stop.
- It is the worker's record: when it started, its last sign of life, how the last cell ended, and
  that the kernel is gone. A run is over when the row says so, and not when an engine believes it:
  a cluster that was lost, or a future that was cancelled, may leave a kernel behind.
- An attempt is good for one start, because an engine may repeat work whose worker has died.
"""

import json
import logging
import threading
from collections.abc import Mapping
from concurrent.futures import Executor, Future, InvalidStateError, wait
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from helpers.database import connect, queries, translated_errors
from helpers.errors import DatabaseError
from helpers.notebooks.lease import LEASE_SECONDS, Lease, lease_clock
from helpers.notebooks.run import Ending, NotebookOutcome, NotebookRun, Verdict
from helpers.redaction import describe, redact_json
from helpers.text import clean

log = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0
_FOLLOW_SECONDS = 1.0
_STATEMENT_LIMIT = "8s"
GONE_SECONDS = LEASE_SECONDS + 15.0
"""A worker that has given no sign of life for so long has no kernel any more: each sign renews the
lease by what the claim is worth, and its watchdog takes up to 12 s to end everything."""

_SIGNS = ("worker_started_ts", "worker_seen_ts", "worker_verdict", "worker_ended_ts")

_GONE = "The run was stopped: the claim of its step was released, or is another's by now."
_LOST = "The cluster was lost, or cancelled the run, before the notebook had ended."
_NOT_STARTED = (
    "No worker has started this notebook within the time that it may take: are they busy?"
)
_STARTED_BEFORE = "The worker that ran this notebook is gone. It is not started a second time."
_SILENT = "The worker that ran this notebook is gone."


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

    def try_to(self, query: str, **parameters: Any) -> None:
        """Do so, if the database answers."""
        try:
            self.ask(query, **parameters)
        except DatabaseError as exc:
            log.warning("%s of a run elsewhere failed: %s", query, describe(exc))


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
        """Known soon after the last cell has ended, or with the outcome; set by the caller too."""

    def execute(self) -> NotebookOutcome:
        """Hand the notebook to the executor; return when nothing of it runs there any more.

        Raises:
            Exception: whatever the executor raises if its worker is lost.
        """
        if self._reason is not None:
            return NotebookOutcome.stopped(self._reason)
        future = self._future = self._executor.submit(self._work.execute)
        worker = _Worker(self._claim, not_started_after=self._work.timeout_seconds)
        while not self._is_over(future, worker):
            wait([future], _FOLLOW_SECONDS)
        return self._outcome(future)

    def _is_over(self, future: Future[NotebookOutcome], worker: "_Worker") -> bool:
        if _has_outcome(future):
            return True
        worker.look()
        if worker.verdict is not None:
            with suppress(InvalidStateError):
                self.verdict.set_result(worker.verdict)
        problem = worker.problem
        if future.done():
            problem = _LOST if future.cancelled() else _STARTED_BEFORE
        if self._reason is None and problem is None:
            return False
        self.stop(self._reason or problem or "")  # again, until the row has it
        return worker.is_gone

    def _outcome(self, future: Future[NotebookOutcome]) -> NotebookOutcome:
        if _has_outcome(future):
            return future.result()
        if self.verdict.done():  # the row's word, of an outcome that was lost on its way
            copy = self._work.executed_copy
            return NotebookOutcome(
                **vars(self.verdict.result()), executed_path=copy if copy.exists() else None
            )
        reason = self._reason or _LOST
        if reason not in {_STARTED_BEFORE, _SILENT}:
            return NotebookOutcome.stopped(reason)
        if future.done() and not future.cancelled() and (problem := future.exception()):
            raise problem
        return NotebookOutcome.failed(reason)

    def stop(self, reason: str) -> None:
        """End the run, wherever it is: at once while it waits for a worker, else in seconds."""
        self._reason = self._reason or reason
        # If this cannot be asked, the worker ends it all the same when nothing is renewed.
        self._claim.try_to("ask_to_stop", reason=self._reason)
        if self._future is not None:
            self._future.cancel()


def _has_outcome(future: Future[NotebookOutcome]) -> bool:
    """Tell whether the worker that ran the notebook has handed its outcome back."""
    if not future.done() or future.cancelled() or future.exception() is not None:
        return False
    return future.result().error != _STARTED_BEFORE


class _Worker:
    """What the row says of the worker, read by the claim's owner on the clock of leases."""

    def __init__(self, claim: ClaimKey, *, not_started_after: float) -> None:
        self._claim = claim
        self._not_started_after = lease_clock() + not_started_after
        self._row: Mapping[str, Any] = dict.fromkeys(_SIGNS)  # nothing is known of it yet
        self._answered_at = self._changed_at = lease_clock()

    def look(self) -> None:
        """Read the row; if there is no answer, what was read last stands."""
        try:
            row = self._claim.ask("follow") or {**self._row, "is_another": True}
        except DatabaseError as exc:
            log.warning("The worker's row could not be read: %s", describe(exc))
            return
        now = lease_clock()
        has_news = any(row[sign] != self._row[sign] for sign in _SIGNS)
        if has_news or now - self._answered_at > LEASE_SECONDS:  # or it was not looked at
            self._changed_at = now
        self._row, self._answered_at = row, now

    @property
    def verdict(self) -> Verdict | None:
        """How the last cell ended; None if that is not known."""
        noted = self._row["worker_verdict"]
        if noted is None:
            return None
        ending, remarks = Ending(noted["ending"]), tuple(noted["remarks"])
        return Verdict(ending, noted["error"], noted["execution_seconds"], remarks)

    @property
    def problem(self) -> str | None:
        """Why the run should be stopped; None if it goes on."""
        if self._has_started:
            return _SILENT if self._is_silent else None
        return _NOT_STARTED if lease_clock() > self._not_started_after else None

    @property
    def is_gone(self) -> bool:
        """Whether nothing of a run that was asked to stop is left there, nor will be."""
        if self._has_started:
            over = self._row["worker_ended_ts"] is not None or self._is_silent
        else:
            over = self._row.get("stop_reason") is not None
        is_unanswered = lease_clock() - self._answered_at > GONE_SECONDS  # nothing was renewed
        return over or is_unanswered or "is_another" in self._row

    @property
    def _has_started(self) -> bool:
        return self._row["worker_started_ts"] is not None

    @property
    def _is_silent(self) -> bool:
        return self._answered_at - self._changed_at > GONE_SECONDS


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
        watch = threading.Thread(target=self._watch, args=(run, lease), daemon=True)
        watch.start()
        outcome = run.execute()
        watch.join()
        self.claim.try_to("note_end", verdict=_noted(run.verdict.result()))
        return outcome

    def _watch(self, run: NotebookRun, lease: Lease) -> None:
        """Renew the lease as the row says, and stop the run when that is wished; note its verdict.

        After its verdict a run ends within less time than its lease lasts.
        """
        while not wait([run.verdict], _LOOK_SECONDS).done:
            sent_at = lease_clock()
            try:
                row = self.claim.ask("look")
            except DatabaseError as exc:
                log.warning("A claim could not be read: %s", describe(exc))
                continue
            if row["stop_reason"] or row["seconds_left"] is None:
                run.stop(row["stop_reason"] or _GONE)
            else:
                lease.renew(self._beat_sent_at(sent_at, row))
        self.claim.try_to("note_verdict", verdict=_noted(run.verdict.result()))

    def _beat_sent_at(self, sent_at: float, row: Mapping[str, Any]) -> float:
        """Return when the last beat was confirmed, or a little before, on the clock of leases."""
        return sent_at - (self.claim.lasts_seconds - float(row["seconds_left"]))


def _noted(verdict: Verdict) -> str:
    """Return a verdict as the row keeps it; an outcome is cut down to its verdict."""
    error, remarks = verdict.error and clean(verdict.error), tuple(map(clean, verdict.remarks))
    word = Verdict(verdict.ending, error, verdict.execution_seconds, remarks)
    return redact_json(json.dumps(asdict(word)))

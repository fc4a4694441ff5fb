"""Run steps side by side, from their claims to the record of their ends.

Serves a pass of the monitor, which runs whatever is due, and a person, who runs one step. Notebooks
run in threads; everything that touches the metastore is done by the thread that uses the runner,
except for the heartbeat. A claim is held until its notebook is gone with all that it started.
"""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from helpers.errors import DatabaseError, DatabaseUnavailableError, NotebookError
from helpers.notebooks.run import NotebookOutcome
from helpers.records import NotebookResult, Step
from helpers.redaction import describe
from helpers.steps import claims, verdicts
from helpers.steps.claims import LASTS, Claim
from helpers.steps.execution import StepExecution, notebook_of, result_of
from helpers.steps.heartbeat import Heartbeat, Key
from helpers.steps.signals import deferred_signals, retry_while_unavailable

if TYPE_CHECKING:
    from helpers.notebooks.cluster import StepCluster

log = logging.getLogger(__name__)

INTERRUPTED = "The run of this notebook was interrupted; what was due is started again."
LOST = "The claim could not be renewed, so the notebook was stopped. It is started again."

_T = TypeVar("_T")


@dataclass(frozen=True)
class StepEnd:
    """How a step ended, or why it was not started."""

    claim: Claim | None  # None: nothing could be claimed
    result: NotebookResult | None = None  # None: it was not started, or its end is not on record
    problem: Exception | None = None
    was_lost: bool = False  # another may have claimed the step; what was not recorded is due again


class Runner:
    """The notebooks that run at this moment, and the claims that this process holds."""

    def __init__(
        self,
        *,
        timeout_seconds: float,
        workers: int = 1,
        cluster: "StepCluster | None" = None,
        on_cell: Callable[[Claim, int, int], None] | None = None,
    ) -> None:
        """Prepare a runner; use it as a context manager.

        Args:
            timeout_seconds: for each notebook.
            workers: how many notebooks may run at the same time.
            cluster: runs the notebooks; None runs them on this machine.
            on_cell: told how many of how many cells are done, in the thread of a notebook.
        """
        self._timeout_seconds = timeout_seconds
        self._workers = workers
        self._cluster = cluster
        self._executor: Executor | None = None  # runs what is started next; None: this machine
        self._on_cell = on_cell
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="step")
        self._heartbeat = Heartbeat(self._lose, self._renew)
        self._running: dict[StepExecution, Future[NotebookOutcome]] = {}
        self._held: dict[Key, Claim] = {}
        self._lost: set[Key] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        with deferred_signals():  # or a second Ctrl-C would leave a kernel or a claim behind
            self._close()

    def run_due(self) -> Iterator[StepEnd]:
        """Claim and run until nothing is due and nothing runs; give each step as it ends."""
        while True:
            yield from self._start_due()
            if not self._running:
                return
            yield from self._wait()

    def run_one(self, step: Step, notebook: Path, executor: Executor | None) -> StepEnd:
        """Run one step, due or not, and return how it ended; an executor wins over the cluster.

        Raises:
            NotebookError: somebody runs the step, or works on it, at this moment, or the cluster
                cannot run it.
        """
        if executor is None and self._cluster is not None:
            executor = self._cluster.executor()
        self._executor = executor
        with deferred_signals():
            claim = self._hold(claims.claim_step(step["step_id"]))
            if claim is None:
                raise NotebookError(claims.describe_use(step["step_id"]))
            self._start(claim, notebook)
        while True:
            for end in self._wait():
                return end

    def _hold(self, claim: Claim | None) -> Claim | None:
        if claim is not None:
            self._held[claim.key] = claim
            self._heartbeat.add(claim.key)
        return claim

    def _start_due(self) -> Iterator[StepEnd]:
        """Start what is due while there are free workers; give what could not be started."""
        while len(self._running) < self._workers:
            claim, problem = _isolated(partial(self._retrying, self._claim_due))
            if problem is not None:
                yield StepEnd(None, problem=problem)
            if claim is None:
                return
            _, problem = _isolated(partial(self._retrying, partial(self._start, claim)))
            if problem is not None:
                if self._fail(claim, problem):
                    self._retrying(partial(self._release, claim))
                yield StepEnd(claim, problem=problem)

    def _claim_due(self) -> Claim | None:
        """Claim what is due; a claim counts a try, so a cluster is asked first if it can run it.

        Raises:
            NotebookError: the cluster cannot; nothing was claimed.
        """
        if self._cluster is not None:
            if not claims.is_any_due():
                return None
            self._executor = self._cluster.executor()
        return self._hold(claims.claim_due())

    def _start(self, claim: Claim, notebook: Path | None = None) -> None:
        execution = StepExecution(
            claim,
            notebook or notebook_of(claim),
            timeout_seconds=self._timeout_seconds,
            executor=self._executor,
            on_cell=self._on_cell and partial(self._on_cell, claim),
        )
        execution.begin()
        self._running[execution] = self._pool.submit(execution.run)
        if claim.key in self._lost:  # while its start waited
            execution.stop(LOST)

    def _wait(self) -> Iterator[StepEnd]:
        """Wait until a notebook has ended or is gone; record that, and give each that is gone."""
        awaited: set[Future[Any]] = {*self._running.values()}
        awaited |= {execution.verdict for execution in self._running if not execution.is_judged}
        wait(awaited, return_when=FIRST_COMPLETED)
        for execution, gone in list(self._running.items()):
            if execution.verdict.done() and not execution.is_judged:
                # However long the database is away: what has come to its end is not run again.
                self._judge(execution, retry_while_unavailable)
            if gone.done():
                yield self._conclude(execution, gone.result())

    def _judge(
        self, execution: StepExecution, within: Callable[[Callable[[], None]], None]
    ) -> None:
        _, execution.problem = _isolated(partial(within, execution.judge))
        execution.is_judged = True
        if execution.problem is not None:
            execution.is_failed = self._fail(execution.claim, execution.problem)

    def _conclude(self, execution: StepExecution, outcome: NotebookOutcome) -> StepEnd:
        """Release the claim of a notebook that is gone with all that it started."""
        claim, problem = execution.claim, execution.problem
        if problem is None:
            release = partial(self._release, claim, partial(execution.conclude, outcome))
            _, problem = _isolated(partial(self._retrying, release))
        elif execution.is_failed:
            self._retrying(partial(self._release, claim))
        self._running.pop(execution, None)
        if problem is not None:
            return StepEnd(claim, problem=problem)
        verdict = execution.recorded
        error = verdict.error if verdict else outcome.error or LOST
        result = result_of(execution.notebook, replace(outcome, error=error))
        return StepEnd(claim, result, was_lost=verdict is None)

    def _release(self, claim: Claim, conclude: Callable[[], object] | None = None) -> None:
        """Release a claim and forget it, with its run; in one act, or it would be done twice."""
        if conclude is None:
            claims.release(claim)
        else:
            conclude()
        self._heartbeat.remove(claim.key)
        self._lost.discard(claim.key)
        self._held.pop(claim.key, None)
        for execution in [run for run in self._running if run.claim is claim]:
            del self._running[execution]

    def _fail(self, claim: Claim, problem: Exception) -> bool:
        """Fail a step that something else than its notebook brought down: people look first.

        If not even that can be put on record, the claim stays held, and is released in the end.
        """
        _, in_vain = _isolated(lambda: verdicts.fail(claim, describe(problem)))
        if in_vain is not None:
            log.error("The failure of a step was not recorded: %s", describe(in_vain))
        return in_vain is None

    def _retrying(self, action: Callable[[], _T]) -> _T:
        """Do something with the metastore; while notebooks run, a restart of it is waited for."""
        return retry_while_unavailable(
            action, is_worthwhile=lambda: any(not run.was_stopped for run in self._running)
        )

    def _renew(self, key: Key, sent_at: float) -> None:
        for execution in list(self._running):
            if execution.claim.key == key:
                execution.lease.renew(sent_at)

    def _lose(self, key: Key) -> None:
        self._lost.add(key)
        for execution in list(self._running):
            if execution.claim.key == key:
                execution.stop(LOST)

    def _close(self) -> None:
        """Stop what still runs, which it does only if the runner was cut off, and release it."""
        for execution in self._running:
            execution.stop(INTERRUPTED)
        self._pool.shutdown(wait=True)
        try:
            for execution, gone in list(self._running.items()):
                if not execution.is_judged:  # it may have come to its end all the same
                    self._judge(execution, lambda action: action())
                self._conclude(execution, gone.result())
            for claim in list(self._held.values()):
                claims.release(claim, reason=INTERRUPTED)
        except DatabaseError as exc:  # whatever cut the runner off is told; claims expire
            seconds = LASTS.total_seconds()
            log.error("Claims were not released, and expire in %g s: %s", seconds, exc)  # noqa: TRY400
        finally:
            self._heartbeat.stop()


def step_cluster(address: str | None) -> "AbstractContextManager[StepCluster | None]":
    """Return the cluster at an address, closed with the block; None without one.

    Raises:
        SettingsError: Dask is not installed.
    """
    if address is None:
        return nullcontext()
    # Whoever has no cluster imports nothing of it.
    from helpers.notebooks.cluster import StepCluster  # noqa: PLC0415

    return closing(StepCluster(address))


def _isolated(action: Callable[[], _T]) -> tuple[_T | None, Exception | None]:
    """Do something about one step; return what went wrong beside it, so that the others go on.

    Raises:
        DatabaseUnavailableError: the database is gone, for all steps.
    """
    try:
        return action(), None
    except DatabaseUnavailableError:
        raise
    except Exception as exc:  # noqa: BLE001 - around one step of many
        return None, exc

"""Run steps side by side, from their claims to the record of their ends.

Serves a pass of the monitor, which runs whatever is due, and a person, who runs one step. Notebooks
run in threads; everything that touches the metastore is done by the thread that uses the runner,
except for the heartbeat. A claim is held until its end is on record: whatever cuts the runner off,
what is still held then is released.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from helpers.errors import DatabaseError, DatabaseUnavailableError, NotebookError
from helpers.identity import owner_name
from helpers.notebooks.run import Ending, NotebookOutcome
from helpers.records import NotebookResult, Step
from helpers.redaction import describe
from helpers.steps import claims
from helpers.steps.claims import EXPIRES, Claim
from helpers.steps.execution import StepExecution, fail_or_complete, notebook_of, result_of
from helpers.steps.heartbeat import Heartbeat
from helpers.steps.signals import deferred_signals, retry_while_unavailable

log = logging.getLogger(__name__)

INTERRUPTED = "The run of this notebook was interrupted; what was due is started again."
LOST = "The claim could not be renewed, so the notebook was stopped. It is started again."

_T = TypeVar("_T")


@dataclass(frozen=True)
class StepEnd:
    """How a step ended, or why it was not started."""

    claim: Claim | None  # None: a person ran what was not due, or nothing could be claimed
    result: NotebookResult | None = None  # None: it was not started, or its end is not on record
    problem: Exception | None = None
    was_released: bool = False


class Runner:
    """The notebooks that run at this moment, and the claims whose end is not on record yet."""

    def __init__(
        self,
        *,
        timeout_seconds: float,
        workers: int = 1,
        on_cell: Callable[[Claim, int, int], None] | None = None,
    ) -> None:
        """Prepare a runner; use it as a context manager.

        Args:
            timeout_seconds: for each notebook.
            workers: how many notebooks may run at the same time.
            on_cell: told how many of how many cells are done, in the thread of a notebook.
        """
        self._timeout_seconds = timeout_seconds
        self._workers = workers
        self._on_cell = on_cell
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="step")
        self._heartbeat = Heartbeat(self._lose)
        self._running: dict[Future[NotebookOutcome], StepExecution] = {}
        self._held: dict[int, Claim] = {}
        self._lost_ids: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with deferred_signals():  # or a second Ctrl-C would leave a kernel or a claim behind
            self._close()

    def run_due(self) -> Iterator[StepEnd]:
        """Claim and run until nothing is due and nothing runs; give each step as it ends."""
        while True:
            yield from self._start_due()
            if not self._running:
                return
            for future in wait(self._running, return_when=FIRST_COMPLETED).done:
                yield self._end(future)

    def run_one(self, step: Step, notebook: Path, executor: Executor | None) -> StepEnd:
        """Run one step, due or not, and return how it ended.

        Raises:
            NotebookError: somebody runs the step at this moment.
        """
        with deferred_signals():
            claim = self._claim(next_step_id=step["step_id"])
            # Asked afterwards, so that a monitor that claimed it a moment ago is seen.
            owner = None if claim else claims.running_owner(step["step_id"])
            if owner is not None:
                who = owner_name(owner)
                raise NotebookError(f"This step is being run by {who}. Wait until it has ended.")
            self._start(
                StepExecution(
                    step,
                    notebook,
                    timeout_seconds=self._timeout_seconds,
                    claim=claim,
                    executor=executor,
                )
            )
        [future] = wait(self._running).done
        return self._end(future)

    def _claim(self, *, next_step_id: int | None = None) -> Claim | None:
        claim = claims.claim(next_step_id=next_step_id)
        if claim is not None:
            self._held[claim.id] = claim
            self._heartbeat.add(claim.id)
        return claim

    def _start_due(self) -> Iterator[StepEnd]:
        """Start what is due while there are free workers; give what could not be started."""
        while len(self._running) < self._workers:
            try:
                claim = self._retrying(self._claim)
            except DatabaseUnavailableError:
                raise
            except Exception as exc:  # noqa: BLE001 - what runs already goes on
                yield StepEnd(None, problem=exc)
                return
            if claim is None:
                return
            failed = self._isolated(claim, partial(self._start_claimed, claim))
            if failed is not None:
                yield failed

    def _start_claimed(self, claim: Claim) -> None:
        notebook = notebook_of(claim)
        assert claim.step is not None  # noqa: S101 - it has a notebook
        on_cell = self._on_cell and partial(self._on_cell, claim)
        self._start(
            StepExecution(
                claim.step,
                notebook,
                timeout_seconds=self._timeout_seconds,
                claim=claim,
                on_cell=on_cell,
            )
        )

    def _start(self, execution: StepExecution) -> None:
        execution.begin()
        self._running[self._pool.submit(execution.run)] = execution
        if execution.claim and execution.claim.id in self._lost_ids:  # while its start waited
            execution.stop(LOST)

    def _end(self, future: Future[NotebookOutcome]) -> StepEnd:
        """Put the end of a notebook on record."""
        end = self._isolated(self._running[future].claim, partial(self._record, future))
        self._running.pop(future, None)
        return end

    def _record(self, future: Future[NotebookOutcome]) -> StepEnd:
        execution, outcome = self._running[future], future.result()
        was_stopped = outcome.ending is Ending.STOPPED
        if was_stopped:
            execution.release(outcome, reason=LOST)
            result = result_of(execution.notebook, outcome)
        else:  # what has come to its end is not released, whatever happens now
            result = execution.finish(outcome)
        self._forget(execution.claim)
        del self._running[future]  # with signals deferred, or the end would be recorded twice
        return StepEnd(execution.claim, result, was_released=was_stopped)

    def _isolated(self, claim: Claim | None, action: Callable[[], _T]) -> _T | StepEnd:
        """Do something about one step; what else than its notebook brings it down fails it.

        People look first, then. If not even that can be put on record, the claim stays held, and
        is released in the end.
        """
        try:
            return self._retrying(action)
        except DatabaseUnavailableError:
            raise
        except Exception as exc:  # noqa: BLE001 - the other steps go on
            if claim is not None:
                self._fail(claim, describe(exc))
            return StepEnd(claim, problem=exc)

    def _fail(self, claim: Claim, reason: str) -> None:
        try:
            fail_or_complete(claim, error=reason)
        except DatabaseUnavailableError:
            raise
        except DatabaseError as exc:
            log.error("The failure of a step was not recorded: %s", exc)  # noqa: TRY400
        else:
            self._forget(claim)

    def _forget(self, claim: Claim | None) -> None:
        """Forget a claim whose end is on record."""
        if claim is not None:
            self._heartbeat.remove(claim.id)
            self._lost_ids.discard(claim.id)
            self._held.pop(claim.id)

    def _retrying(self, action: Callable[[], _T]) -> _T:
        """Do something with the metastore; while notebooks run, a restart of it is waited for."""
        return retry_while_unavailable(action, is_worthwhile=lambda: bool(self._running))

    def _lose(self, claim_id: int) -> None:
        self._lost_ids.add(claim_id)
        for execution in list(self._running.values()):
            if execution.claim and execution.claim.id == claim_id:
                execution.stop(LOST)

    def _close(self) -> None:
        """Stop what still runs, which it does only if the runner was cut off, and release it."""
        for execution in self._running.values():
            execution.stop(INTERRUPTED)
        self._pool.shutdown(wait=True)
        try:
            for future, execution in list(self._running.items()):
                if future.result().ending is Ending.STOPPED:
                    execution.release(future.result(), reason=INTERRUPTED)
                else:  # it came to its end all the same
                    self._end(future)
            for claim in self._held.values():
                claims.release(claim, reason=INTERRUPTED)
        except DatabaseError as exc:  # whatever cut the runner off is told; claims expire
            seconds = EXPIRES.total_seconds()
            log.error("Claims were not released, and expire in %g s: %s", seconds, exc)  # noqa: TRY400
        finally:
            self._heartbeat.stop()

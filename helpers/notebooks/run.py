"""One run of a notebook, wherever it is called from, with nothing left behind.

The source is never written; what the run produced goes to the executed copy, also when it
failed. A notebook's own failure is an outcome, not an exception. When the run is over, however
it ended, so is everything that the notebook started; and that holds when this process is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.errors import NotebookError

if TYPE_CHECKING:
    from nbformat import NotebookNode

log = logging.getLogger(__name__)

SESSION_NAME_VARIABLE = "JPY_SESSION_NAME"  # a kernel's notebook, as Jupyter's own server tells it


class Ending(StrEnum):
    """How a run came to its end."""

    SUCCEEDED = "SUCCEEDED"  # every cell ran through
    FAILED = "FAILED"  # the notebook failed, took too long, lost its kernel or could not be run
    STOPPED = "STOPPED"  # ``stop`` ended it; the notebook is not to blame


@dataclass(frozen=True)
class NotebookOutcome:
    """How a run ended: ``error`` is None if it succeeded.

    ``executed_path`` is None if no copy was written: nothing ran, or it could not be.
    """

    ending: Ending
    error: str | None
    executed_path: Path | None
    execution_seconds: float
    stdout: str
    stderr: str

    @classmethod
    def failed(cls, error: str) -> NotebookOutcome:
        """Return the outcome of a run that failed before it began."""
        return cls(Ending.FAILED, error, None, 0.0, "", "")

    @classmethod
    def stopped(cls, reason: str) -> NotebookOutcome:
        """Return the outcome of a run that was stopped before it began."""
        return cls(Ending.STOPPED, reason, None, 0.0, "", "")


class NotebookRun:
    """A notebook that is run once, from its first cell to its last, in its own folder."""

    def __init__(
        self,
        source: Path,
        executed_copy: Path,
        *,
        timeout_seconds: float,
        environment: Mapping[str, str] | None = None,
        on_cell: Callable[[int, int], None] | None = None,
    ) -> None:
        """Prepare a run; nothing happens before ``execute``.

        Args:
            source: the notebook, which is only read.
            executed_copy: where the notebook with its outputs goes.
            timeout_seconds: for the whole run, the kernel's start included.
            environment: what the kernel gets beside this process's own environment.
            on_cell: told how many of how many cells are done, 0 first, in a thread of the run.
        """
        self._source = source
        self._executed_copy = executed_copy
        self._timeout_seconds = timeout_seconds
        self._environment = {SESSION_NAME_VARIABLE: str(source), **(environment or {})}
        self._on_cell = on_cell
        self._stopped: Future[str] = Future()

    def stop(self, reason: str) -> None:
        """End the run, its kernel and all that it started; from any thread, at any time.

        The first reason becomes the outcome's error. A run that is over stays as it ended.
        """
        with contextlib.suppress(InvalidStateError):
            self._stopped.set_result(reason)

    def execute(self) -> NotebookOutcome:
        """Run the notebook; return when it and everything that it started have ended."""
        # In a thread of its own there is no event loop yet, while a Jupyter kernel's main thread
        # has one that runs; and an interrupt strikes here, not in the middle of the work.
        with ThreadPoolExecutor(1, thread_name_prefix="notebook") as thread:
            outcome = thread.submit(self._execute)
            try:
                return outcome.result()
            except BaseException:
                self.stop("Interrupted.")
                raise

    def _execute(self) -> NotebookOutcome:
        if self._stopped.done():
            return NotebookOutcome.stopped(self._stopped.result())
        # These take a second to import, which a pass without notebooks shall not pay for.
        from helpers.notebooks import file, kernel  # noqa: PLC0415

        started = time.monotonic()
        try:
            notebook = file.read_notebook(self._source)
            kernel_name, remark = kernel.choose_kernel(notebook)
        except NotebookError as exc:
            return NotebookOutcome.failed(str(exc))
        if remark:
            log.warning("%s: %s", self._source.name, remark.rstrip())
        ending, error, executed = self._run_and_copy(notebook, kernel_name, started)
        return NotebookOutcome(
            ending=ending,
            error=error,
            executed_path=executed,
            execution_seconds=time.monotonic() - started,
            stdout=file.stream(notebook, "stdout"),
            stderr=(remark or "") + file.stream(notebook, "stderr"),
        )

    def _run_and_copy(
        self, notebook: NotebookNode, kernel_name: str, started: float
    ) -> tuple[Ending, str | None, Path | None]:
        """Return the ending, the error, and where the executed copy is."""
        from helpers.notebooks import file, session  # noqa: PLC0415 - see above

        running = session.NotebookSession(
            notebook,
            kernel_name=kernel_name,
            folder=self._source.parent,
            environment=self._environment,
            deadline=started + self._timeout_seconds,
            timeout_seconds=self._timeout_seconds,
            stopped=self._stopped,
            on_cell=self._on_cell,
        )
        try:
            error = asyncio.run(running.run())
        finally:
            try:
                file.write_copy(file.tidy_outputs(notebook), self._executed_copy)
                executed: Path | None = self._executed_copy
            except NotebookError as exc:
                executed, lost = None, str(exc)
        if running.was_stopped:
            return Ending.STOPPED, error, executed
        if executed is None:
            error = "\n".join(filter(None, [error, lost]))
        return Ending.FAILED if error else Ending.SUCCEEDED, error, executed

"""One run of a notebook, wherever it is called from, that leaves nothing running.

The source is never written; what the run produced goes to the executed copy, also when it
failed. A notebook's own failure is an outcome, not an exception. When the run is over, however
it ended, so is everything that the notebook started; and that holds when this process is killed.
"""

import asyncio
import contextlib
import logging
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.errors import NotebookError
from helpers.notebooks.lease import Lease
from helpers.notebooks.outcome import Ending, NotebookOutcome, Verdict
from helpers.redaction import redact, shown
from helpers.text import map_texts

if TYPE_CHECKING:
    from nbformat import NotebookNode

log = logging.getLogger(__name__)

__all__ = ["SESSION_NAME_VARIABLE", "Ending", "NotebookOutcome", "NotebookRun", "Verdict"]

SESSION_NAME_VARIABLE = "JPY_SESSION_NAME"  # a kernel's notebook, as Jupyter's own server tells it
_GRAMMAR = "rfc3987_syntax"
"""If it is there, jsonschema, which nbformat imports, builds a grammar of addresses from it: 1.4 s
of CPU for a format that no notebook has."""


@contextlib.contextmanager
def _without(module: str) -> Iterator[None]:
    """Import something as if an optional module were not installed; one that is loaded stays."""
    sys.modules.setdefault(module, None)  # type: ignore[arg-type]  # Python's own way to say so
    try:
        yield
    finally:
        if sys.modules.get(module) is None:
            sys.modules.pop(module, None)


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
        lease: Lease | None = None,
    ) -> None:
        """Prepare a run; nothing happens before ``execute``.

        Args:
            source: the notebook, which is only read.
            executed_copy: where the notebook with its outputs goes.
            timeout_seconds: for the whole run, the kernel's start included.
            environment: what the kernel gets beside this process's own environment.
            on_cell: told how many of how many cells are done, 0 first, in a thread of the run.
            lease: stops the run when it is renewed no longer; None leaves that to the caller.
        """
        self._source = source
        self._executed_copy = executed_copy
        self._timeout_seconds = timeout_seconds
        self._environment = {SESSION_NAME_VARIABLE: str(source), **(environment or {})}
        self._on_cell = on_cell
        self._lease = lease or Lease(0.0, seconds=math.inf)
        self._stopped: Future[str] = Future()
        self.verdict: Future[Verdict] = Future()
        """Known as soon as the last cell has ended: before the kernel is, and the copy written."""

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
            return self._not_run(NotebookOutcome.stopped(self._stopped.result()))
        # These take a while to import, which a pass without notebooks shall not pay for.
        with _without(_GRAMMAR):
            from helpers.notebooks import file, kernel_choice  # noqa: PLC0415

        try:
            notebook = file.read_notebook(self._source)
            kernel_name, remark = kernel_choice.choose_kernel(notebook)
        except NotebookError as exc:
            return self._not_run(NotebookOutcome.failed(str(exc)))
        except Exception as exc:  # noqa: BLE001 - of whatever library
            return self._not_run(NotebookOutcome.failed(self._problem(exc)))
        verdict = self._run(notebook, kernel_name)
        if remark:
            log.warning("%s: %s", self._source.name, remark)
            verdict = replace(verdict, remarks=(remark, *verdict.remarks))
        return self._written(notebook, verdict)

    def _run(self, notebook: "NotebookNode", kernel_name: str) -> Verdict:
        """Run the cells; whatever goes wrong is a verdict, so that the outputs are kept."""
        from helpers.notebooks import session  # noqa: PLC0415 - see above

        try:
            running = session.NotebookSession(
                notebook,
                kernel_name=kernel_name,
                folder=self._source.parent,
                environment=self._environment,
                timeout_seconds=self._timeout_seconds,
                lease=self._lease,
                stopped=self._stopped,
                on_cell=self._on_cell,
                on_verdict=self._decide,
            )
            asyncio.run(running.run())
        except Exception as exc:  # noqa: BLE001 - of whatever library
            self._decide(Verdict(Ending.FAILED, self._problem(exc)))
        return self.verdict.result()

    def _problem(self, exc: Exception) -> str:
        problem = shown(f"{type(exc).__name__}: {exc}")
        log.error("%s: %s", self._source.name, problem)  # the traceback may hold a secret
        return f"The notebook could not be run. {problem}"

    def _not_run(self, outcome: NotebookOutcome) -> NotebookOutcome:
        self._decide(outcome)
        return outcome

    def _decide(self, verdict: Verdict) -> None:
        with contextlib.suppress(InvalidStateError):  # the first one counts
            self.verdict.set_result(verdict)

    def _written(self, notebook: "NotebookNode", verdict: Verdict) -> NotebookOutcome:
        """Write the copy; one that cannot be written takes the outputs, and not the work."""
        from helpers.notebooks import file  # noqa: PLC0415 - see above

        notebook = map_texts(notebook, redact)
        executed: Path | None = None
        try:
            executed = file.write_copy(notebook, self._executed_copy)
        except OSError as exc:
            where = f"could not be written to {self._executed_copy.parent}: {exc.strerror}."
            lost = f"The outputs are lost: the executed copy {where}"
            log.warning("%s: %s", self._source.name, lost)
            verdict = replace(verdict, remarks=(*verdict.remarks, lost))
        remarks = "".join(f"{remark}\n" for remark in verdict.remarks)
        return NotebookOutcome(
            **vars(verdict),
            executed_path=executed,
            stdout=file.stream(notebook, "stdout"),
            stderr=remarks + file.stream(notebook, "stderr"),
        )

"""Execute the cells of one notebook against one deadline, and say in one sentence what went wrong.

Imported only when a notebook is run, because nbconvert takes a second to import.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic  # of a real kernel
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_output

from helpers.neighbours import explain_import_error
from helpers.notebooks.cell_result import LONGEST_ERROR, CellResult, cell_result
from helpers.notebooks.file import is_to_run, label, may_fail
from helpers.notebooks.kernel import KernelDiedError, NotebookKernel
from helpers.notebooks.lease import Lease
from helpers.notebooks.outcome import Ending, Verdict
from helpers.notebooks.outputs import CellOutputs
from helpers.redaction import shown
from helpers.text import counted, shorten

_TRAIL_SECONDS = 30  # outputs may trail a cell's end by so much on a busy machine
_LOOK_SECONDS = 1.0
_EXPIRED = "The notebook was stopped: the claim under which it ran had not been renewed for"
_CATCH_UP_SECONDS = 2  # for what a cell has shown when it is cut off


@dataclass
class NotebookSession:
    """One run of a notebook's cells; the outputs go into the notebook, also of half a run."""

    notebook: NotebookNode
    kernel_name: str
    folder: Path
    environment: Mapping[str, str]
    timeout_seconds: float
    lease: Lease
    stopped: Future[str]  # completed from outside, with the reason, to end the run
    on_cell: Callable[[int, int], None] | None
    on_verdict: Callable[[Verdict], None]  # called at once, while the kernel is still there

    def __post_init__(self) -> None:
        self._cells = [(i, cell) for i, cell in enumerate(self.notebook.cells) if is_to_run(cell)]
        self._outputs = CellOutputs(self.notebook)
        self._number = 0  # of the cell that was started last, as Jupyter counts
        self._started = self._running_since = monotonic()

    async def run(self) -> None:
        """Run the cells; return when the kernel and all that it started are gone."""
        kernel = NotebookKernel(
            self.kernel_name, folder=self.folder, environment=self.environment, lease=self.lease
        )
        work = asyncio.ensure_future(self._work(kernel))
        ended_by_itself = False
        try:
            ended_by_itself = await self._finishes(work)
            if not ended_by_itself and self._number:
                await self._catch_up(kernel)
            verdict = await self._verdict(work, kernel) if ended_by_itself else self._cut_off()
            self.on_verdict(verdict)
        finally:
            await kernel.end(gracefully=ended_by_itself)
            self._outputs.finish()

    async def _finishes(self, work: asyncio.Future[CellResult]) -> bool:
        """Wait for the work, but no longer than it may take; False if it was cut off."""
        either: set[asyncio.Future[Any]] = {work, asyncio.wrap_future(self.stopped)}
        done: set[asyncio.Future[Any]] = set()
        while not done and (left := self._started + self.timeout_seconds - monotonic()) > 0:
            slice_seconds = min(left, _LOOK_SECONDS)
            done, _ = await asyncio.wait(
                either, timeout=slice_seconds, return_when=asyncio.FIRST_COMPLETED
            )
        if work.done():
            return True
        work.cancel()
        await asyncio.wait({work})
        return False

    async def _work(self, kernel: NotebookKernel) -> CellResult:
        """Run the cells until one ends the run; return how that one ended."""
        await kernel.start(on_output=self._outputs.take)
        self.notebook.metadata.language_info = await kernel.language_info()
        self._report(0)
        for index, cell in self._cells:
            self._number, self._running_since = self._number + 1, monotonic()
            result = await self._run_cell(kernel, index, cell)
            self._report(self._number)
            if result.error or result.exits:
                return result
        return self._late_result()

    def _late_result(self) -> CellResult:
        """Return what threads of earlier cells have reported since those cells ended."""
        for number, (_, cell) in enumerate(self._cells, start=1):
            result = cell_result({"status": "ok"}, cell.outputs, errors_allowed=may_fail(cell))
            if result.error:
                self._number = number
                return result
        return CellResult()

    async def _run_cell(self, kernel: NotebookKernel, index: int, cell: NotebookNode) -> CellResult:
        request = kernel.client.execute(cell.source, stop_on_error=not may_fail(cell))
        is_done = self._outputs.expect(request, cell, index)
        reply = await kernel.reply_to(request)
        if not await kernel.gets_to(is_done, within_seconds=_TRAIL_SECONDS):
            self._outputs.mark(cell, index, "The kernel did not say that these are all outputs.")
        cell.execution_count = self._number
        return cell_result(reply, cell.outputs, errors_allowed=may_fail(cell))

    async def _catch_up(self, kernel: NotebookKernel) -> None:
        """Take what the cell has shown by now: a kernel answers here while a cell runs."""
        request = kernel.ask_beside_the_cells()
        is_done = self._outputs.expect(request, new_code_cell(), -1)
        await kernel.gets_to(is_done, within_seconds=_CATCH_UP_SECONDS)

    def _report(self, done: int) -> None:
        if self.on_cell is not None:
            with suppress(Exception):  # a terminal that is gone must not fail the notebook
                self.on_cell(done, len(self._cells))

    async def _verdict(self, work: asyncio.Future[CellResult], kernel: NotebookKernel) -> Verdict:
        try:
            result = work.result()
        except Exception as exc:  # noqa: BLE001 - of whatever library; the outputs are kept
            if kernel.is_ended_by_its_lease:
                return self._stopped(f"{_EXPIRED} {_seconds(self.lease.seconds)}.")
            if self._number == 0:
                return self._ended(Ending.FAILED, kernel.start_problem(exc))
            if isinstance(exc, KernelDiedError):
                return self._noted("DeadKernel", f"{self._where()}: {await kernel.death()}")
            problem = shown(f"{type(exc).__name__}: {exc}", LONGEST_ERROR)
            return self._noted("NotRun", f"{self._where()} could not be run. {problem}")
        if result.error:
            # Where the failure is stands first: readers may cut the text at its end.
            error = explain_import_error(result.error, {**os.environ, **self.environment})
            error = shorten(f"{self._where()}: {error}", LONGEST_ERROR)
            return self._ended(Ending.FAILED, error)
        return self._ended(Ending.SUCCEEDED, None, *self._not_run())

    def _not_run(self) -> list[str]:
        """Return a remark about the cells behind one that exited, and put it into that one."""
        first, last = self._number + 1, len(self._cells)
        if first > last:
            return []
        which = f"Cells {first} to {last} were" if first < last else f"Cell {last} was"
        remark = f"{which} not run: {self._where()} ended the notebook."
        index, cell = self._cells[self._number - 1]
        self._outputs.mark(cell, index, remark)
        return [remark]

    def _cut_off(self) -> Verdict:
        if self.stopped.done():
            return self._stopped(self.stopped.result())
        allowed = f"{_seconds(self.timeout_seconds)}, the longest that the notebook may take."
        if self._number == 0:
            return self._ended(Ending.FAILED, f"The kernel had not started after {allowed}")
        took = _seconds(monotonic() - self._running_since)
        return self._noted(
            "Timeout", f"{self._where()} was stopped after {took}: the run had taken {allowed}"
        )

    def _stopped(self, reason: str) -> Verdict:
        where = f" {self._where()} was running." if self._number else ""
        return self._noted("Stopped", f"{reason}{where}", Ending.STOPPED)

    def _where(self) -> str:
        """Return which cell was run last: its number as Jupyter shows it, and its first line."""
        if self._number == 0:
            return "Before the first cell"
        return f"Cell {self._number} “{label(self._cells[self._number - 1][1])}”"

    def _noted(self, name: str, error: str, ending: Ending = Ending.FAILED) -> Verdict:
        """Put an error that no cell raised into the cell that was running."""
        if self._number:
            cell = self._cells[self._number - 1][1]
            cell.outputs.append(
                new_output("error", ename=name, evalue=error, traceback=[f"{name}: {error}"])
            )
        return self._ended(ending, error)

    def _ended(self, ending: Ending, error: str | None, *remarks: str) -> Verdict:
        return Verdict(ending, error, monotonic() - self._started, remarks)


def _seconds(seconds: float) -> str:
    return counted(round(seconds), "second") if seconds >= 2 else f"{seconds:.1f} seconds"  # noqa: PLR2004

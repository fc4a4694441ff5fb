"""Execute the cells of one notebook against one deadline, and say in one sentence what went wrong.

Imported only where a notebook is run, because nbconvert takes a second to import.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbconvert.preprocessors import ExecutePreprocessor
from nbformat import NotebookNode
from nbformat.v4 import new_output
from zmq import ZMQBaseError

from helpers.notebooks.file import cells_to_run, label, shown
from helpers.notebooks.kernel import NotebookKernel
from helpers.text import counted

_MOST_STREAM = 20_000_000  # characters; a runaway loop must not take the monitor's memory
_IOPUB_SECONDS = 30  # outputs may trail a cell's end by so much on a busy machine

_log = logging.getLogger(__name__)
_log.setLevel(logging.INFO)  # below that, nbclient logs what cells write, which may hold secrets


class _Executor(ExecutePreprocessor):
    """nbconvert's, on a kernel that it does not own, and with an end to what it keeps."""

    def __init__(self, notebook: NotebookNode, **options: Any) -> None:
        super().__init__(iopub_timeout=_IOPUB_SECONDS, log=_log, **options)  # type: ignore[no-untyped-call]  # nbconvert's
        self.nb = notebook
        self._kept = 0

    async def run(self, kernel: NotebookKernel, client: AsyncKernelClient) -> None:
        """Execute all cells."""
        self.km, self.kc, self.owns_km = kernel.manager, client, False
        await self.async_execute()

    def output(
        self,
        outs: list[NotebookNode],
        msg: dict[str, Any],
        display_id: str | None,
        cell_index: int,
    ) -> NotebookNode | None:
        """Keep an output, unless the notebook has written too much already."""
        if msg["msg_type"] == "stream":
            if self._kept > _MOST_STREAM:
                return None
            content = msg["content"]
            self._kept += len(content["text"])
            if self._kept > _MOST_STREAM:
                content["text"] += "\n[What this notebook wrote from here on was not kept.]\n"
        return super().output(outs, msg, display_id, cell_index)


@dataclass
class NotebookSession:
    """One run of a notebook's cells; the outputs go into the notebook, also of half a run."""

    notebook: NotebookNode
    kernel_name: str
    folder: Path
    environment: Mapping[str, str]
    deadline: float  # of time.monotonic()
    timeout_seconds: float  # how long that was in all
    stopped: Future[str]  # completed from outside, with the reason, to end the run
    on_cell: Callable[[int, int], None] | None
    was_stopped: bool = field(default=False, init=False)  # and did not end by itself before
    _cells: list[NotebookNode] = field(init=False)
    _number: int = 0  # of the cell that was started last, as Jupyter counts
    _done: int = 0
    _running: NotebookNode | None = None
    _running_since: float = 0.0

    def __post_init__(self) -> None:
        self._cells = cells_to_run(self.notebook)

    async def run(self) -> str | None:
        """Return None where every cell ran through, else what people should read."""
        kernel = NotebookKernel(self.kernel_name, folder=self.folder, environment=self.environment)
        work = asyncio.ensure_future(self._work(kernel))
        ended_by_itself = False
        try:
            ended_by_itself = await self._finishes(work)
            return await self._verdict(work, kernel) if ended_by_itself else self._cut_off()
        finally:
            await kernel.end(gracefully=ended_by_itself)

    async def _finishes(self, work: asyncio.Future[None]) -> bool:
        """Wait for the work, but no longer than it may take; False where it was cut off."""
        either: set[asyncio.Future[Any]] = {work, asyncio.wrap_future(self.stopped)}
        left = max(self.deadline - time.monotonic(), 0)
        await asyncio.wait(either, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return True
        work.cancel()  # nbclient turns it into an error of its own, which tells nothing
        await asyncio.wait({work})
        if not work.cancelled():
            work.exception()  # looked at, so that asyncio does not complain
        return False

    async def _work(self, kernel: NotebookKernel) -> None:
        client = await kernel.start()
        self._report()
        executor = _Executor(
            self.notebook, on_cell_execute=self._cell_starts, on_cell_executed=self._cell_ended
        )
        await executor.run(kernel, client)

    def _cell_starts(self, *, cell: NotebookNode, **_: Any) -> None:
        self._number += 1
        self._running, self._running_since = cell, time.monotonic()

    def _cell_ended(self, **_: Any) -> None:
        self._done += 1
        self._report()

    def _report(self) -> None:
        if self.on_cell is not None:
            with suppress(Exception):  # a terminal that is gone must not fail the notebook
                self.on_cell(self._done, len(self._cells))

    async def _verdict(self, work: asyncio.Future[None], kernel: NotebookKernel) -> str | None:
        try:
            work.result()
        except CellExecutionError as exc:
            # Where the failure is stands first: readers may cut the text at its end.
            return shown(f"{self._where()}: {exc.ename}: {exc.evalue}".rstrip(": "))
        except (RuntimeError, OSError, ZMQBaseError) as exc:
            if self._running is None:
                return kernel.start_problem(exc)
            if not isinstance(exc, DeadKernelError):
                raise
            return self._noted("DeadKernel", f"{self._where()}: {await kernel.death()}")
        return None

    def _cut_off(self) -> str:
        if self.stopped.done():
            self.was_stopped = True
            where = f" {self._where()} was running." if self._running else ""
            return self._noted("Stopped", f"{self.stopped.result()}{where}")
        allowed = f"{_seconds(self.timeout_seconds)}, the longest that the notebook may take."
        if self._running is None:
            return f"The kernel had not started after {allowed}"
        took = _seconds(time.monotonic() - self._running_since)
        return self._noted(
            "Timeout", f"{self._where()} was stopped after {took}: the run had taken {allowed}"
        )

    def _where(self) -> str:
        """Return which cell was run last: its number as Jupyter shows it, and its first line."""
        if self._running is None:
            return "Before the first cell"
        return f"Cell {self._number} “{label(self._running)}”"

    def _noted(self, name: str, error: str) -> str:
        """Put an error that no cell raised into the cell that was running; return it."""
        if self._running is not None:
            self._running.outputs.append(
                new_output("error", ename=name, evalue=error, traceback=[f"{name}: {error}"])
            )
        return error


def _seconds(seconds: float) -> str:
    return counted(round(seconds), "second") if seconds >= 2 else f"{seconds:.1f} seconds"  # noqa: PLR2004

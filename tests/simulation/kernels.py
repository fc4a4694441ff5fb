"""Notebooks without kernels, at the boundary of ``helpers.notebooks``, and what each did."""

import math
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from helpers.notebooks.lease import Lease
from helpers.notebooks.outcome import Ending, NotebookOutcome, Verdict
from tests.simulation.baton import Process, Scheduler, current_process

START_SECONDS = 2.0
END_SECONDS = 1.0


@dataclass
class KernelRun:
    """What one kernel did, as the ledger has it."""

    step_id: int
    owner: Process
    started: float
    ended: float = math.inf
    is_complete: bool = False  # its last cell ran


class Kernels:
    """Starts kernels, ends them as a watchdog does, and keeps the ledger."""

    def __init__(self, scheduler: Scheduler, cells: Callable[[int], None]) -> None:
        """Prepare; ``cells`` is what the notebook of a step does, in the kernel's process."""
        self.scheduler = scheduler
        self.runs: list[KernelRun] = []
        self._cells = cells

    def notebook_run(
        self,
        source: Path,
        executed_copy: Path,
        *,
        timeout_seconds: float,
        environment: Mapping[str, str],
        lease: Lease,
        on_cell: object = None,
    ) -> "SimulatedNotebook":
        return SimulatedNotebook(self, dict(environment), lease)

    def run_cells(self, step_id: int) -> None:
        self._cells(step_id)


class SimulatedNotebook:
    """Looks like a ``NotebookRun``: a kernel, and the watchdog that ends it."""

    def __init__(self, kernels: Kernels, environment: dict[str, str], lease: Lease) -> None:
        self._kernels, self._lease = kernels, lease
        self._environment = environment
        self._reason: str | None = None
        self.verdict: Future[Verdict] = Future()

    def stop(self, reason: str) -> None:
        if not self.verdict.done():
            self._reason = self._reason or reason

    def execute(self) -> NotebookOutcome:
        scheduler = self._kernels.scheduler
        owner = current_process()
        assert owner is not None
        if not self._has_reason_to_end(owner):
            self._start(owner)
            scheduler.wait_for(self.verdict.done)
        elif not self.verdict.done():
            self._decide(Verdict(Ending.STOPPED, self._reason or "The lease has expired."))
        scheduler.pause(END_SECONDS)
        return NotebookOutcome(**vars(self.verdict.result()))

    def _start(self, owner: Process) -> None:
        kernels, scheduler = self._kernels, self._kernels.scheduler
        kernel = scheduler.process("kernel", **self._environment)
        run = KernelRun(int(self._environment["IRP_STEP_ID"]), owner, scheduler.elapsed)
        kernels.runs.append(run)

        def work() -> None:
            began = scheduler.elapsed
            error = None
            scheduler.pause(START_SECONDS)
            try:
                kernels.run_cells(run.step_id)
            except Exception as exc:  # noqa: BLE001 - as in a cell
                error = f"{type(exc).__name__}: {exc}"
            if self._has_reason_to_end(owner):
                return  # the watchdog ends it
            run.ended, run.is_complete = scheduler.elapsed, error is None
            ending = Ending.FAILED if error else Ending.SUCCEEDED
            self._decide(Verdict(ending, error, scheduler.elapsed - began))

        def watch() -> None:
            while not self.verdict.done():
                left = self._lease.sent_at + self._lease.seconds - scheduler.elapsed
                scheduler.wait_for(
                    lambda: self.verdict.done() or self._has_reason_to_end(owner), max(left, 0.0)
                )
                if not self.verdict.done() and self._has_reason_to_end(owner):
                    run.ended = scheduler.elapsed
                    scheduler.kill(kernel)
                    self._decide(Verdict(Ending.STOPPED, self._reason or "The lease has expired."))

        scheduler.spawn(kernel, work)
        scheduler.spawn(scheduler.process("watchdog"), watch)

    def _has_reason_to_end(self, owner: Process) -> bool:
        is_silent = self._lease.sent_at + self._lease.seconds <= self._kernels.scheduler.elapsed
        return self._reason is not None or owner.is_dead or is_silent

    def _decide(self, verdict: Verdict) -> None:
        if not self.verdict.done():
            self.verdict.set_result(verdict)

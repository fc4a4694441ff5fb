"""A Dask cluster as a team has it: a scheduler and workers, each a process that may be killed."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psutil

from tests.support.ports import free_port

_QUIET = {"DASK_DISTRIBUTED__LOGGING__DISTRIBUTED": "error"}


@dataclass
class DaskProcesses:
    """One scheduler and its workers; a context manager that leaves nothing behind."""

    folder: Path
    port: int = field(default_factory=free_port)
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        """As MONITOR_STEP_EXECUTOR has it."""
        return f"dask://127.0.0.1:{self.port}"

    def start_scheduler(self) -> subprocess.Popen[bytes]:
        """Start the scheduler, on the same port each time."""
        return self._run("dask_scheduler", "--host", "127.0.0.1", "--port", str(self.port))

    def start_worker(self, *, nanny: bool = False, **environment: str) -> subprocess.Popen[bytes]:
        """Start a worker of two threads, which gets this process's environment and more."""
        nannied = "--nanny" if nanny else "--no-nanny"
        address = f"tcp://127.0.0.1:{self.port}"
        how = (address, nannied, "--nthreads", "2", "--no-dashboard", "--host", "127.0.0.1")
        return self._run("dask_worker", *how, **environment)

    def _run(self, command: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{command} {len(self.started)}").open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{command}", *arguments],
                env={**os.environ, **_QUIET, **environment},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.started.append(process)
        return process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.started:
            for each in _with_children(process.pid):
                with contextlib.suppress(psutil.Error):
                    each.kill()
            process.wait()


def _with_children(pid: int) -> Iterator[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        yield from process.children(recursive=True)
        yield process

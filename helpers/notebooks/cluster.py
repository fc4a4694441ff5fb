"""A Dask cluster that runs the notebooks of steps, if MONITOR_STEP_EXECUTOR names its scheduler.

Whether the cluster can run anything is asked before a step is claimed, because a claim counts a
try. Nothing of Dask is imported, and nobody is asked, before something is due.
"""

import asyncio
import platform
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.database import connect, queries, translated_errors
from helpers.errors import BatchMonitoringError, NotebookError, SettingsError
from helpers.redaction import describe, shown
from helpers.text import counted, listed
from helpers.workflow_paths import workflows_dir

if TYPE_CHECKING:
    from distributed import Client

_ANSWER_SECONDS = 10.0
_GOODBYE_SECONDS = 5.0
_LONGEST_REASON = 300
_WAITS = "Until then no step is started, and none loses a try"
_NEXT = f"or correct MONITOR_STEP_EXECUTOR (unset, notebooks run on this machine). {_WAITS}."


@dataclass(frozen=True)
class NotebookHost:
    """What a process that is to run notebooks has; as a worker tells it."""

    versions: tuple[str, ...]  # of what must be the same where notebooks are sent from
    sees_workflows: bool
    database: str  # which one it reaches, or why none

    @classmethod
    def here(cls, workflows: str) -> "NotebookHost":
        """Return what this process has."""
        python = ".".join(platform.python_version_tuple()[:2])
        packages = [f"{name} {version(name)}" for name in ("batch-monitoring", "distributed")]
        return cls((f"Python {python}", *packages), Path(workflows).is_dir(), _database())


def _database() -> str:
    try:
        with connect(application_name="notebook elsewhere") as connection, translated_errors():
            return str(queries("work_elsewhere").which_database(connection))
    except BatchMonitoringError as exc:
        return describe(exc)


async def _describe_host(workflows: str) -> "NotebookHost":
    """Return what a worker has; its own loop goes on."""
    return await asyncio.to_thread(NotebookHost.here, workflows)


class StepCluster:
    """The cluster of one pass, connected to when it is first needed."""

    def __init__(self, address: str) -> None:
        """Name the scheduler, as Dask writes its address.

        Raises:
            SettingsError: Dask is not installed.
        """
        if find_spec("distributed") is None:
            raise SettingsError(
                "MONITOR_STEP_EXECUTOR is set, and Dask is not installed here. Install this "
                "package with its extra: pip install '.[dask]'."
            )
        self.address = address
        self.warnings: list[str] = []
        """What is not well with the workers, although some can run notebooks."""
        self.workers: list[str] = []
        """Those that can run notebooks."""
        self._client: Client | None = None
        self._problem: NotebookError | None = None  # once is enough for a pass

    def executor(self) -> Executor:
        """Return what runs notebooks on the workers that can; ask them first.

        Raises:
            NotebookError: none can at this moment; the message says what to do.
        """
        if self._problem is not None:
            raise self._problem
        try:
            self.look()
        except NotebookError as exc:
            self._problem = exc
            raise
        executor: Executor = self._connected().get_executor(pure=False, workers=self.workers)
        return executor

    def look(self) -> None:
        """Ask the scheduler for its workers, and each of them whether it can run notebooks.

        Raises:
            NotebookError: none can; the message says what to do.
        """
        scheduler = f"The Dask scheduler at {self.address}"
        try:
            answers = self._connected().sync(
                self._connected()._run,  # noqa: SLF001 - its public twin has no limit of time
                _describe_host,
                str(workflows_dir()),
                on_error="return",
                callback_timeout=_ANSWER_SECONDS,
            )
        except Exception as exc:
            reason = shown(f"{type(exc).__name__}: {exc}", _LONGEST_REASON)
            text = f"{scheduler}, or a worker of it, does not answer: {reason}. Start it again,"
            raise NotebookError(f"{text} {_NEXT}") from exc
        if not answers:
            start = f"Start one with `dask worker {self.address}`,"
            raise NotebookError(f"{scheduler} has no worker. {start} {_NEXT}")
        here = NotebookHost.here(str(workflows_dir()))
        problems = {worker: _unfit(host, here) for worker, host in sorted(answers.items())}
        self.workers = [worker for worker, problem in problems.items() if not problem]
        unfit = listed([f"{w} {p}" for w, p in problems.items() if p])
        if not self.workers:
            text = f"{scheduler} has no worker that can run a notebook: {unfit}. Mend one,"
            raise NotebookError(f"{text} {_NEXT}")
        self.warnings = [f"Workers of {self.address} get no notebook: {unfit}."] if unfit else []
        self.warnings += _differences({worker: answers[worker] for worker in self.workers}, here)

    def _connected(self) -> "Client":
        if self._client is None:
            from distributed import Client  # noqa: PLC0415 - a second of CPU

            with warnings.catch_warnings():  # of versions that differ, which we say ourselves
                warnings.simplefilter("ignore")
                self._client = Client(
                    self.address,
                    timeout=_ANSWER_SECONDS,
                    set_as_default=False,
                    name="step-notebooks",
                )
        return self._client

    def close(self) -> None:
        """Leave the cluster; it goes on."""
        if self._client is not None:
            with suppress(Exception):  # a scheduler that is gone needs no farewell
                self._client.close(timeout=_GOODBYE_SECONDS)


def _unfit(host: NotebookHost | Exception, here: NotebookHost) -> str:
    """Return why a worker cannot run notebooks; empty if it can."""
    if isinstance(host, Exception):
        reason = shown(str(host) or type(host).__name__, _LONGEST_REASON)
        return f"cannot import this package, or does not answer ({reason})"
    if not host.sees_workflows:
        return f"has no folder {workflows_dir()}"
    if host.database != here.database:
        return f"reaches another database than this machine, or none ({host.database})"
    return ""


def _differences(hosts: Mapping[str, Any], here: NotebookHost) -> Iterator[str]:
    different = {
        worker: set(host.versions) - set(here.versions)
        for worker, host in hosts.items()
        if host.versions != here.versions
    }
    if different:
        theirs = [f"{worker} has {', '.join(sorted(had))}" for worker, had in different.items()]
        yield (
            f"{counted(len(different), 'worker has', 'workers have')} other versions than this "
            f"machine ({', '.join(here.versions)}): {listed(theirs)}. Install "
            "the same ones."
        )

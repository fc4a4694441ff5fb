"""What every command needs: the server, its scheduler, the notebook, and its schedules."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from helpers.errors import ScheduleError
from helpers.schedule.client import Definition, Run, RunStatus, SchedulerClient
from helpers.schedule.frozen import MONITOR_NOTEBOOK, is_monitor
from helpers.schedule.leftovers import RunState, run_states
from helpers.schedule.servers import Server, find_server
from helpers.settings import get_settings


@dataclass(frozen=True)
class Desk:
    """One server's scheduler, seen to be there."""

    server: Server
    client: SchedulerClient

    def schedules(self) -> list[Definition]:
        """Return the schedules of the monitor's notebook, the oldest first.

        Told by the file's name, unless the frozen copy can be read and is something else.
        """
        return [
            one
            for one in self.client.definitions()
            if one.input_filename == MONITOR_NOTEBOOK.name
            and is_monitor(self.copy_of(one)) is not False
        ]

    def copy_of(self, definition: Definition) -> Path:
        """Return where the frozen copy lies, if it is on this machine."""
        return self.server.staged(definition.id) / definition.input_filename

    def states(self, runs: Sequence[Run], *, now: datetime) -> dict[str, RunState]:
        """Return by their ids whether runs are over, at work, or left behind."""
        started_ts = self.client.started_ts() if self.server.database is None else None
        return run_states(runs, server=self.server, now=now, started_ts=started_ts)

    def unfinished(self, definition: Definition, *, now: datetime) -> dict[str, RunState]:
        """Return the states of the runs of a schedule that do not show as ended."""
        runs = self.client.runs_in(definition.id, RunStatus.IN_PROGRESS)
        runs += self.client.runs_in(definition.id, RunStatus.STOPPED)  # it may be about to begin
        states = self.states(runs, now=now)
        return {run_id: state for run_id, state in states.items() if state is not RunState.OVER}


@contextmanager
def open_desk(url: str | None) -> Iterator[Desk]:
    """Find the server and see that its scheduler takes us.

    Raises:
        ScheduleError: no server, a wrong token, or a server without the scheduler.
    """
    server = find_server(url)
    with closing(SchedulerClient(server)) as client:
        client.started_ts()  # tells a server without the scheduler from what is no Jupyter server
        client.expect_scheduler()
        yield Desk(server, client)


def path_at_server(desk: Desk, notebook: Path) -> str:
    """Return the notebook's path below the server's root, as the scheduler takes it.

    Raises:
        ScheduleError: the server does not show the notebook.
    """
    root = desk.server.root_dir
    if root is None:
        return _path_at_unknown_root(desk, notebook)
    # A link below the root leads the server there as well, so the path as written counts too.
    written = Path(os.path.abspath(get_settings().irp_workflows_dir)) / MONITOR_NOTEBOOK  # noqa: PTH100 - resolve() follows links
    for path, base in ((written, root), (notebook, root.resolve())):
        if path.is_relative_to(base):
            return path.relative_to(base).as_posix()
    raise ScheduleError(
        f"The notebook {notebook} lies outside {root}, the folder that the server at "
        f"{desk.server.url} shows: start JupyterLab in {_root_for(notebook)}, or set "
        "IRP_WORKFLOWS_DIR to the workflows folder below the server's."
    )


def _path_at_unknown_root(desk: Desk, notebook: Path) -> str:
    parts = notebook.parts[1:]
    for first in range(len(parts) - len(MONITOR_NOTEBOOK.parts) + 1):
        path = "/".join(parts[first:])
        if desk.client.shows_file(path):
            return path
    raise ScheduleError(
        f"The server at {desk.server.url} shows no {MONITOR_NOTEBOOK.as_posix()}: start it in "
        "the folder that holds the workflows folder."
    )


def _root_for(notebook: Path) -> Path:
    return notebook.parents[len(MONITOR_NOTEBOOK.parts)]

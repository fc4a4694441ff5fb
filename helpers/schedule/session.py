"""What every command needs: the server, its scheduler, and the schedules of the notebook."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from helpers.errors import ScheduleError
from helpers.schedule.client import SchedulerClient
from helpers.schedule.records import Definition, Run, RunStatus
from helpers.schedule.scheduled_copy import is_monitor
from helpers.schedule.servers import Server, find_server
from helpers.settings import get_settings
from helpers.workflow_paths import MONITOR_NOTEBOOK

_NEWEST = 60


@dataclass(frozen=True)
class SchedulerSession:
    """One server's scheduler, seen to be there."""

    server: Server
    client: SchedulerClient
    started_ts: datetime  # when the server was started

    def schedules(self) -> list[Definition]:
        """Return the schedules of the monitor's notebook, the oldest first.

        Told by the file's name, unless the scheduled copy can be read and is something else.
        """
        return [
            one
            for one in self.client.definitions()
            if one.input_filename == MONITOR_NOTEBOOK.name
            and is_monitor(self.scheduled_copy(one)) is not False
        ]

    def scheduled_copy(self, definition: Definition) -> Path:
        """Return where the copy that a schedule runs lies, if it is on this machine."""
        return self.server.staged(definition.id) / definition.input_filename

    def runs(self, definition: Definition) -> list[Run]:
        """Return the newest runs of a schedule, the newest first, and all that are in progress."""
        newest, _ = self.client.runs(definition.id, most=_NEWEST)
        running, _ = self.client.runs(definition.id, status=RunStatus.IN_PROGRESS)
        return newest + [run for run in running if run not in newest]

    def path_of(self, notebook: Path) -> str:
        """Return the notebook's path below the server's root, as the scheduler wants it.

        Raises:
            ScheduleError: the server does not show the notebook.
        """
        root = self.server.root_dir
        # A link below the root leads the server there as well, so the path as written counts too.
        written = Path(os.path.abspath(get_settings().irp_workflows_dir)) / MONITOR_NOTEBOOK  # noqa: PTH100 - resolve() follows links
        for path_here, base in ((written, root), (notebook, root.resolve())):
            if path_here.is_relative_to(base):
                return path_here.relative_to(base).as_posix()
        raise ScheduleError(
            f"The notebook {notebook} lies outside {root}, the folder that the server at "
            f"{self.server.url} shows: start JupyterLab in "
            f"{notebook.parents[len(MONITOR_NOTEBOOK.parts)]}, or set IRP_WORKFLOWS_DIR to the "
            "workflows folder below the server's."
        )


@contextmanager
def open_session(url: str | None) -> Iterator[SchedulerSession]:
    """Find the server and see that its scheduler accepts us.

    Raises:
        ScheduleError: no server, a wrong token, or a server without the scheduler.
    """
    server = find_server(url)
    with closing(SchedulerClient(server)) as client:
        # The first tells a server without the scheduler from what is not a Jupyter server.
        session = SchedulerSession(server, client, client.started_ts())
        client.environment()
        yield session

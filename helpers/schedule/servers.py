"""Which Jupyter server is meant: the one that started this process, or one that runs here.

A running server describes itself in a file of Jupyter's runtime directory: that is what
``jupyter server list`` shows. The file holds the server's token, so only files of this user count,
and the token never leaves ``Server``.
"""

import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
from jupyter_core.paths import jupyter_data_dir, jupyter_runtime_dir

from helpers.errors import ScheduleError
from helpers.schedule.scheduled_copy import STAGING_DIR
from helpers.text import clean, listed, shorten

TOKEN_VARIABLE = "JUPYTER_TOKEN"  # noqa: S105 - the name of a variable
_DATABASE = "scheduler.sqlite"
_LOOPBACK = ("", "0.0.0.0", "::", "::1", "localhost")  # noqa: S104 - recognised, not bound


@dataclass(frozen=True)
class Server:
    """A Jupyter server of this user on this machine."""

    url: str  # ends with a slash
    token: str = field(repr=False)  # empty: it has none, or a password only
    pid: int
    root_dir: Path

    @cached_property
    def database(self) -> Path | None:
        """The scheduler's database that the server has open; None if that is not known."""
        with suppress(psutil.Error):
            for file in psutil.Process(self.pid).open_files():
                if Path(file.path).name == _DATABASE:
                    return Path(file.path)
        return None

    def staged(self, run_or_definition_id: str) -> Path:
        """Return where the scheduler keeps the files of a run or of a definition.

        The ids are UUIDs: what is found there belongs to no other server.
        """
        data_dir = self.database.parent if self.database else Path(jupyter_data_dir())
        return data_dir / STAGING_DIR / run_or_definition_id


def own_server() -> Server | None:
    """Return the server that started this process or one of its ancestors, cheaply."""
    runtime_dir = Path(jupyter_runtime_dir())
    with suppress(psutil.Error):
        for ancestor in psutil.Process().parents():
            server = _described(runtime_dir / f"jpserver-{ancestor.pid}.json")
            if server:
                return server
    return None


def find_server(url: str | None) -> Server:
    """Return the server at ``url``, else the one that started this process or runs here.

    Raises:
        ScheduleError: there is none, or more than one and none is named.
    """
    own = own_server()
    if url is None and own is not None:
        return own
    running = _running_servers()
    found = [server for server in running if url is None or _endpoint(url) == _endpoint(server.url)]
    found = [server for server in found if server.database] or found
    urls = listed([server.url for server in running], most=5)
    if not running:
        raise ScheduleError(
            "No Jupyter server of yours runs here: start JupyterLab (`jupyter lab`), and run this "
            "on its machine, as its user."
        )
    if not found:
        raise ScheduleError(f"No Jupyter server of yours has that address here; there is {urls}.")
    if len(found) > 1:
        refuse_shared_scheduler(found[0])
        raise ScheduleError(
            f"{len(found)} Jupyter servers run here: name one of them with --url ({urls})."
        )
    return found[0]


def refuse_shared_scheduler(server: Server) -> None:
    """Refuse to schedule if every run would be started twice.

    Raises:
        ScheduleError: two servers work on one data directory.
    """
    sharing = [other for other in _running_servers() if other.database == server.database]
    if server.database is not None and len(sharing) > 1:
        urls = listed([other.url for other in sharing], most=5)
        raise ScheduleError(
            f"{len(sharing)} Jupyter servers ({urls}) share one data directory, and each would "
            "start every scheduled run: stop all but one, or give the others a JUPYTER_DATA_DIR "
            "of their own."
        )


def _running_servers() -> list[Server]:
    found = [_described(path) for path in Path(jupyter_runtime_dir()).glob("jpserver-*.json")]
    return sorted((server for server in found if server), key=lambda server: server.pid)


def _endpoint(url: str) -> tuple[str, int | None, str] | None:
    """Return what tells two addresses of servers apart, also if one is copied from a browser."""
    try:
        parts = urlsplit(url.strip())
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        return None
    local = host in _LOOPBACK or host.startswith("127.")
    path = f"{parts.path.rstrip('/')}/".partition("/lab/")[0].partition("/tree/")[0].rstrip("/")
    return ("" if local else host, port or (443 if parts.scheme == "https" else 80), path)


def _described(path: Path) -> Server | None:
    """Return the server that a runtime file describes; None if it is gone or not for us."""
    try:
        mine = path.stat().st_uid == os.getuid()
        facts = json.loads(path.read_text(encoding="utf-8")) if mine else {}
        pid, port = facts["pid"], facts["port"]
        runs = psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except (OSError, ValueError, LookupError, TypeError, psutil.Error):
        return None  # it may vanish, be half written, or hold something else
    if not isinstance(port, int) or facts.get("sock") or not runs:
        return None
    token = str(facts.get("token") or "") or os.environ.get(TOKEN_VARIABLE, "")
    return Server(_url(facts), token, pid, Path(facts.get("root_dir") or "/"))


def _url(facts: dict[str, Any]) -> str:
    """Return a URL that can be reached from here, also if the server listens everywhere."""
    scheme = "https" if facts.get("secure") else "http"
    host = str(facts.get("hostname") or "")
    host = "127.0.0.1" if host in _LOOPBACK[:3] else f"[{host}]" if ":" in host else host
    base_url = shorten(clean(str(facts.get("base_url") or "/")), 300)
    return f"{scheme}://{host}:{facts['port']}{base_url.rstrip('/')}/"

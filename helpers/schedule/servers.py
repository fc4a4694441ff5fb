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
from helpers.text import clean, listed

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
            files = (Path(file.path) for file in psutil.Process(self.pid).open_files())
            return next((file for file in files if file.name == _DATABASE), None)
        return None

    def staged(self, run_or_definition_id: str) -> Path:
        """Return where the scheduler keeps the files of a run or of a definition.

        The ids are UUIDs: what is found there belongs to no other server.
        """
        data_dir = self.database.parent if self.database else Path(jupyter_data_dir())
        return data_dir / STAGING_DIR / run_or_definition_id


def own_server() -> Server | None:
    """Return the server that started this process or one of its ancestors."""
    with suppress(psutil.Error):
        ancestors = {process.pid for process in psutil.Process().parents()}
        return next((one for one in _running_servers() if one.pid in ancestors), None)
    return None


def find_server(url: str | None) -> Server:
    """Return the server at ``url``, else the one that started this process or runs here.

    Raises:
        ScheduleError: there is none, there are several and none is named, or another works on its
            data directory too, and each would start every scheduled run.
    """
    running = _running_servers()
    urls = listed([server.url for server in running])
    if not running:
        raise ScheduleError(
            "No Jupyter server of yours runs here: start JupyterLab (`jupyter lab`), and run this "
            "on its machine, as its user."
        )
    found = [one for one in running if url is None or _endpoint(url) == _endpoint(one.url)]
    if not found:
        raise ScheduleError(f"No Jupyter server of yours has that address here; there is {urls}.")
    own = own_server() if url is None else None
    found = [own] if own else [server for server in found if server.database] or found
    database = found[0].database
    sharing = [server.url for server in running if database and server.database == database]
    if len(sharing) > 1:
        raise ScheduleError(
            f"Jupyter servers ({listed(sharing)}) share one data directory, and each would "
            "start every scheduled run: stop all but one, or give the others a JUPYTER_DATA_DIR of "
            "their own."
        )
    if len(found) > 1:
        raise ScheduleError(f"Several Jupyter servers run here: name one with --url ({urls}).")
    return found[0]


def _running_servers() -> list[Server]:
    found = [_described(path) for path in Path(jupyter_runtime_dir()).glob("jpserver-*.json")]
    return [server for server in found if server]


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
    token, root_dir = str(facts.get("token") or ""), Path(facts.get("root_dir") or "/")
    return Server(_url(facts), token, pid, root_dir)


def _url(facts: dict[str, Any]) -> str:
    """Return a URL that can be reached from here, also if the server listens everywhere."""
    scheme = "https" if facts.get("secure") else "http"
    host = str(facts.get("hostname") or "")
    host = "127.0.0.1" if host in _LOOPBACK[:3] else f"[{host}]" if ":" in host else host
    base_url = clean(str(facts.get("base_url") or "/"))
    return f"{scheme}://{host}:{facts['port']}{base_url.rstrip('/')}/"

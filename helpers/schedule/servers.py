"""Which Jupyter servers run here, and which one is meant.

A running server describes itself in a file of Jupyter's runtime directory: that is what
``jupyter server list`` shows. The file holds the server's token, so only files of this user count,
and the token never leaves ``Server``. A kernel finds its own server by its process's ancestors.
"""

from __future__ import annotations

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
from helpers.schedule.frozen import STAGING_DIR
from helpers.text import clean, listed, shorten

_TOKEN_VARIABLE = "JUPYTER_TOKEN"  # noqa: S105 - the name of a variable
_DATABASE = "scheduler.sqlite"
_WILDCARDS = ("", "0.0.0.0", "::")  # noqa: S104 - recognised, not bound


@dataclass(frozen=True)
class Server:
    """A Jupyter server; ``pid`` and ``root_dir`` are None where it is known by its URL alone."""

    url: str  # ends with a slash
    token: str = field(repr=False)
    pid: int | None = None
    root_dir: Path | None = None

    @cached_property
    def database(self) -> Path | None:
        """The scheduler's database that this process has open; None where that is not known."""
        if self.pid is None:
            return None
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


def running_servers() -> list[Server]:
    """Return this user's servers on this machine, by pid."""
    found = [_described(path) for path in Path(jupyter_runtime_dir()).glob("jpserver-*.json")]
    return sorted((server for server in found if server), key=lambda server: server.pid or 0)


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
    """Return the server at ``url``, else the one that runs here.

    Raises:
        ScheduleError: there is none, or more than one and none is named.
    """
    if url is not None:
        return _named(url)
    server = own_server()
    if server:
        return server
    servers = [server for server in running_servers() if server.database] or running_servers()
    if not servers:
        raise ScheduleError(
            "No Jupyter server of yours runs here: start JupyterLab (`jupyter lab`), or name a "
            f"server with --url and put its token into {_TOKEN_VARIABLE}."
        )
    if len(servers) > 1:
        refuse_shared_database(servers[0])
        urls = listed([server.url for server in servers], most=5)
        raise ScheduleError(
            f"{len(servers)} Jupyter servers run here: name the one that is meant with --url "
            f"({urls})."
        )
    return servers[0]


def sharing_database(server: Server) -> list[Server]:
    """Return the other servers that have the same scheduler's database open."""
    if server.database is None:
        return []
    return [
        other
        for other in running_servers()
        if other.pid != server.pid and other.database == server.database
    ]


def refuse_shared_database(server: Server) -> None:
    """Refuse to schedule where every run would be started twice.

    Raises:
        ScheduleError: two servers work on one data directory.
    """
    others = sharing_database(server)
    if others:
        urls = listed([other.url for other in [server, *others]], most=5)
        raise ScheduleError(
            f"{len(others) + 1} Jupyter servers ({urls}) share one data directory, and each would "
            "start every scheduled run: stop all but one, or give the others a JUPYTER_DATA_DIR "
            "of their own."
        )


def _named(url: str) -> Server:
    address = _address(url)
    for server in running_servers():
        if _same_place(server.url, address):
            return Server(
                server.url, _token_from_environment() or server.token, server.pid, server.root_dir
            )
    return Server(address, _token_from_environment())


def _address(url: str) -> str:
    """Return the URL's place, ending with a slash.

    Raises:
        ScheduleError: it is no URL of a server, or holds what nobody should see.
    """
    try:
        parts = urlsplit(url.strip())
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ScheduleError("--url is no server's address: write http://host:port/ or https://….")
    if parts.query or parts.username or parts.password:
        raise ScheduleError(
            "--url holds more than an address, and everyone on this machine can see arguments: "
            f"leave out what follows the ?, and put the token into {_TOKEN_VARIABLE}."
        )
    path = parts.path.rstrip("/")
    for page in ("/lab", "/tree"):  # as copied from a browser
        path = path.partition(page)[0] if path.endswith(page) or f"{page}/" in path else path
    return f"{parts.scheme}://{parts.netloc}{path}/"


def _same_place(one: str, other: str) -> bool:
    return _place(one) == _place(other)


def _place(url: str) -> tuple[str, int | None, str]:
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    local = host in {"localhost", "::1"} or host.startswith("127.")
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return ("127.0.0.1" if local else host, port, parts.path.rstrip("/"))


def _token_from_environment() -> str:
    return os.environ.get(_TOKEN_VARIABLE, "")


def _described(path: Path) -> Server | None:
    """Return the server that a runtime file describes; None if it is gone or not for us."""
    facts = _facts(path)
    pid, port = facts.get("pid"), facts.get("port")
    if not isinstance(pid, int) or not isinstance(port, int) or facts.get("sock") or not _runs(pid):
        return None
    root = facts.get("root_dir")
    token = str(facts.get("token") or "") or _token_from_environment()
    return Server(_url(facts), token, pid, Path(root) if root else None)


def _facts(path: Path) -> dict[str, Any]:
    try:
        mine = path.stat().st_uid == os.getuid()
        facts = json.loads(path.read_text(encoding="utf-8")) if mine else {}
    except (OSError, ValueError):  # it may vanish, or be half written
        return {}
    return facts if isinstance(facts, dict) else {}


def _url(facts: dict[str, Any]) -> str:
    """Return a URL that can be reached from here, also where the server listens everywhere."""
    scheme = "https" if facts.get("secure") else "http"
    host = str(facts.get("hostname") or "")
    host = "127.0.0.1" if host in _WILDCARDS else f"[{host}]" if ":" in host else host
    base_url = shorten(clean(str(facts.get("base_url") or "/")), 300)
    return f"{scheme}://{host}:{facts['port']}{base_url.rstrip('/')}/"


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False

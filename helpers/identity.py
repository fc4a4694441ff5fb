"""Who this process is, as other passes and people are told."""

from __future__ import annotations

import getpass
import os
import socket
import uuid
from functools import cache
from importlib.metadata import PackageNotFoundError, version


def host_name() -> str:
    """Return this machine's name."""
    return socket.gethostname()


def process_name() -> str:
    """Return ``monitor <host> pid <pid>``, short enough for PostgreSQL's application_name."""
    return f"monitor {host_name()[:40]} pid {os.getpid()}"


@cache
def _process_token(pid: int) -> str:
    return f"{host_name()}:{pid}:{uuid.uuid4().hex}"


def owner_id() -> str:
    """Return an id that no other process start has, not even one with the same pid."""
    return _process_token(os.getpid())  # a forked child is another process


def person() -> str:
    """Return ``user@host``, for what a person or an account started."""
    try:
        return f"{getpass.getuser()}@{host_name()}"
    except (KeyError, OSError):  # a container's user without a name
        return f"uid {os.getuid()}@{host_name()}"


def package_version() -> str:
    """Return the installed version of this package."""
    try:
        return version("batch-monitoring")
    except PackageNotFoundError:
        return "source"

"""Who this process is, as other passes and people are told.

A person is ``user@host`` on every screen, or whom JupyterHub or ``MONITOR_USER`` names if many
share an account; a process of theirs is ``user@host pid 123``.
"""

import getpass
import os
import socket
import uuid
from importlib.metadata import PackageNotFoundError, version

from helpers.text import clean

_LONGEST_NAME = 200
_START = " #"  # before what tells two starts of a process apart
_owners: dict[int, str] = {}  # by pid


def host_name() -> str:
    """Return this machine's name."""
    return socket.gethostname()


def person() -> str:
    """Return ``user@host``, for what a person or an account started.

    ``JUPYTERHUB_USER``, else ``MONITOR_USER``, names people who share an account.
    """
    named = os.environ.get("JUPYTERHUB_USER") or os.environ.get("MONITOR_USER")
    return clean(named)[:_LONGEST_NAME] if named else _account()


def _account() -> str:
    return f"{_user()}@{host_name()}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"uid-{os.getuid()}"


def process_name() -> str:
    """Return ``monitor user@host pid 123``, short enough for PostgreSQL's application_name."""
    return f"monitor {_user()[:16]}@{host_name()[:24]} pid {os.getpid()}"


def owner_id() -> str:
    """Return an id that no other process start has, not even one with the same pid."""
    pid = os.getpid()  # a forked child is another process
    if pid not in _owners:  # of threads that come here at once, all take the id of the first
        _owners.setdefault(pid, f"{_account()} pid {pid}{_START}{uuid.uuid4().hex}")
    return _owners[pid]


def owner_name(owner: str) -> str:
    """Return who an ``owner_id`` is, as people are told."""
    return owner.partition(_START)[0]


def package_version() -> str:
    """Return the installed version of this package."""
    try:
        return version("batch-monitoring")
    except PackageNotFoundError:
        return "source"

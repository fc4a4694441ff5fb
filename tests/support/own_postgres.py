"""A PostgreSQL of a test's own, to restart, to fill up and to take away."""

import os
import pwd
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from psycopg.conninfo import conninfo_to_dict

from sandbox.postgres import embedded_postgres

PATIENCE_SECONDS = "120"


@dataclass(frozen=True)
class OwnPostgres:
    """A running server and where its data lies."""

    url: str
    folder: Path

    def stop(self) -> None:
        """Stop at once, as a crash does; what was committed stays."""
        self._control("stop", "-m", "immediate")

    def start(self, *, tcp_port: int | None = None) -> None:
        """Start again if it was, and on a port of loopback; returns once it is ready."""
        sockets = conninfo_to_dict(self.url)["host"]
        listen = "-h ''" if tcp_port is None else f"-h 127.0.0.1 -p {tcp_port}"
        self._control("start", "-l", str(self.folder / "log"), "-o", f"{listen} -k '{sockets}'")

    def restart(self) -> None:
        self.stop()
        self.start()

    def _control(self, *arguments: str) -> None:
        server = Path((self.folder / "postmaster.opts").read_text().split()[0])
        pg_ctl = server.with_name("pg_ctl")
        command = [pg_ctl, "-w", "-t", PATIENCE_SECONDS, "-D", self.folder, "-s", *arguments]
        owner = self.folder.stat().st_uid
        # PostgreSQL refuses to run as root; the sandbox makes an account of its own then.
        account = {"user": pwd.getpwuid(owner).pw_name} if owner != os.geteuid() else {}
        subprocess.run(
            command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **account
        )


@contextmanager
def own_postgres(settings: dict[str, str]) -> Iterator[OwnPostgres]:
    server = None
    # Not below pytest's own folder, which later test runs on the machine clear away.
    with TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as parent:
        folder = Path(parent) / "data"
        try:
            with embedded_postgres(folder, settings=settings) as url:
                server = OwnPostgres(url, folder)
                yield server
        finally:
            # The sandbox stops the process that it started itself, and may not know of a later one.
            if server is not None and (folder / "postmaster.pid").exists():
                server.stop()

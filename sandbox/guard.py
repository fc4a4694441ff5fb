"""Stop an embedded PostgreSQL when the process that uses it is gone, however that one ended.

Runs as a process of its own, without this package: ``python guard.py <data folder>``. Its standard
input is a pipe that the user of the server holds open. If that closes without a word, the user was
killed, perhaps while the server was starting.
"""

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

USERS = ".handle_pids.json"
"""Where the server's package lists the processes that use it."""

_START_SECONDS = 3.0  # in which a server that was being started writes down its process
_STOP_SECONDS = 20.0
_CLOCK_SECONDS = 2.0  # by which the times of processes and files may differ


def main(folder: Path) -> None:
    """Wait until the user of the server is gone; stop the server unless it has another."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    user = os.getppid()
    was_killed = not sys.stdin.buffer.read()
    until = time.monotonic() + (_START_SECONDS if was_killed else 0)
    while not [pid for pid in users_of(folder) if pid != user]:
        if _stop(folder) or time.monotonic() >= until:
            break
        time.sleep(0.05)


def users_of(folder: Path) -> list[int]:
    """Return the processes that use the server and still run, as its list has them."""
    path = folder / USERS
    with contextlib.suppress(OSError, ValueError):
        noted_at = path.stat().st_mtime
        return [pid for pid in json.loads(path.read_text()) if _has_run_since(pid, noted_at)]
    return []


def _has_run_since(pid: int, noted_at: float) -> bool:
    """Tell whether a process runs, and is not a younger one with the number of a dead one."""
    import psutil  # noqa: PLC0415 - a guard that only waits needs it not

    with contextlib.suppress(psutil.Error):
        return is_alive(pid) and psutil.Process(pid).create_time() <= noted_at + _CLOCK_SECONDS
    return False


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended may keep its number for a while."""
    import psutil  # noqa: PLC0415 - see above

    with contextlib.suppress(psutil.Error):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def _stop(folder: Path) -> bool:
    """Stop the server fast, as ``pg_ctl stop`` does, and wait for its end; False if none runs."""
    import psutil  # noqa: PLC0415 - see above

    with contextlib.suppress(OSError, ValueError, psutil.Error):
        server = psutil.Process(int((folder / "postmaster.pid").read_text().split("\n")[0]))
        if server.name() == "postgres":
            server.send_signal(signal.SIGINT)
            until = time.monotonic() + _STOP_SECONDS
            while is_alive(server.pid) and time.monotonic() < until:
                time.sleep(0.02)
            return True
    return False


if __name__ == "__main__":
    main(Path(sys.argv[1]))

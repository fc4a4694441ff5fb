"""Run a notebook's kernel, and end all that it started when it ends or when the monitor does.

Started as a script between the two: ``python -I -S watchdog.py <folder> <command>``, with
a pipe from the monitor as its standard input. That pipe closes when the monitor is done with
the kernel, and also when the monitor is killed outright. On Linux this process adopts whatever
a program of the notebook leaves behind, however it detached; elsewhere it ends the kernel's
process group. It needs the standard library only, because it must start in no time.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import time
from pathlib import Path

MONITOR = 0  # the pipe: readable once the monitor has closed it or is gone
PATIENCE_SECONDS = 1.0  # for programs to end themselves
LAST_PATIENCE_SECONDS = 10.0  # for the system to end those that did not
_PROCESSES = Path("/proc")
_STATISTICS = _PROCESSES / "self" / "stat"  # Linux has it, macOS has no /proc at all
_SET_CHILD_SUBREAPER = 36  # prctl(2)
_RESET = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)


def main(folder: str, command: list[str]) -> int:
    """Run the command until it or the monitor ends; return its exit status, as a shell would.

    The folder is the run's own; where the monitor is gone, it is removed here.
    """
    monitor_pid = os.getppid()
    _adopt_orphans()
    wakeups = _wake_when_a_child_ends()
    for signum in _RESET:  # a terminal sends them to everyone; this process ends last
        signal.signal(signum, signal.SIG_IGN)
    kernel = _start(command)
    status = _wait(kernel, wakeups, monitor_pid)
    _end_all(kernel, signal.SIGTERM, PATIENCE_SECONDS)
    _end_all(kernel, signal.SIGKILL, LAST_PATIENCE_SECONDS)
    if os.getppid() != monitor_pid:
        shutil.rmtree(folder, ignore_errors=True)
    return status


def _adopt_orphans() -> None:
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - only there

        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _wake_when_a_child_ends() -> int:
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return readable


def _start(command: list[str]) -> int:
    """Start the kernel in a session of its own; return its pid."""
    # ipykernel ends itself when this pid is no longer its parent: the other half of the guard.
    environment = os.environ | {"JPY_PARENT_PID": str(os.getpid())}
    nothing = (os.POSIX_SPAWN_OPEN, MONITOR, os.devnull, os.O_RDONLY, 0)
    return os.posix_spawnp(
        command[0], command, environment, file_actions=[nothing], setsid=True, setsigdef=_RESET
    )


def _wait(kernel: int, wakeups: int, monitor_pid: int) -> int:
    """Wait for the end of the kernel or of the monitor; return the kernel's status, or 0."""
    while True:
        ready, _, _ = select.select([MONITOR, wakeups], [], [], 1.0)
        # A process that the monitor forked may hold the pipe open after the monitor's end.
        if MONITOR in ready or os.getppid() != monitor_pid:
            return 0
        if wakeups in ready:
            os.read(wakeups, 4096)
            ended = _reap()
            if kernel in ended:
                return ended[kernel]


def _reap() -> dict[int, int]:
    """Take leave of the children that have ended; return their statuses."""
    ended = {}
    with contextlib.suppress(ChildProcessError):
        while (child := os.waitpid(-1, os.WNOHANG))[0]:
            code = os.waitstatus_to_exitcode(child[1])
            ended[child[0]] = code if code >= 0 else 128 - code
    return ended


def _end_all(kernel: int, signum: int, patience_seconds: float) -> None:
    """Send the signal to everything below this process, until it is gone or patience is out."""
    told: set[int] = set()
    until = time.monotonic() + patience_seconds
    while (alive := _survivors(kernel)) and time.monotonic() < until:
        for pid in alive - told:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signum)
        told |= alive
        time.sleep(0.02)


def _survivors(kernel: int) -> set[int]:
    """Return what is still there, as ``kill`` takes it: pids, or the negative of a group."""
    _reap()
    if _STATISTICS.exists():
        return _descendants(os.getpid())
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(kernel, 0)
        return {-kernel}
    return set()


def _descendants(ancestor: int) -> set[int]:
    children: dict[int, list[int]] = {}
    for stat in _PROCESSES.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # "pid (name) state ppid …"; the name may hold anything, so look behind its end.
            state, parent = stat.read_text(errors="replace").rpartition(")")[2].split()[:2]
            if state not in "ZX":
                children.setdefault(int(parent), []).append(int(stat.parent.name))
    found: set[int] = set()
    unseen = [ancestor]
    while unseen:
        below = children.pop(unseen.pop(), [])
        found.update(below)
        unseen += below
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))

"""Run a notebook's kernel, and end all that it started when the monitor or its lease ends.

Started as a script between monitor and kernel, with a pipe from the monitor as its standard
input: ``python -I -S watchdog.py <folder> <sent at> <seconds> <command>``. The pipe closes when
the monitor is done with the kernel, and also when the monitor is killed outright. Through it
the monitor renews the lease, which began with the beat that was sent at that time: each line is
the time at which a later beat was sent. Whoever is silent for those seconds may have been
overtaken, and his kernel is ended, or not even started. On Linux this process adopts whatever a
program of the notebook leaves behind, however it detached; elsewhere it ends the kernel's
process group. It needs the standard library only, because it must start in no time.
"""

import contextlib
import os
import select
import shutil
import signal
import sys
import time
from pathlib import Path

MONITOR = 0  # the pipe: readable once the monitor has closed it or is gone
LEASE_SECONDS = 45.0  # all must be gone when the claim expires, which is after twice that time
EXPIRED = "lease-expired"  # a file in the run's folder: why the kernel was ended
PATIENCE_SECONDS = 1.0  # for programs to end themselves
LAST_PATIENCE_SECONDS = 10.0  # for the system to end those that did not
_LOOK_SECONDS = 1.0
_PROCESSES = Path("/proc")
_STATISTICS = _PROCESSES / "self" / "stat"  # Linux has it, macOS has no /proc at all
_SET_CHILD_SUBREAPER = 36  # prctl(2)
_RESET = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)


def lease_clock() -> float:
    """Return the seconds of a clock that goes on while the machine sleeps, if there is one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class _Lease:
    """What the monitor's beats are worth at this moment."""

    def __init__(self, sent_at: float, seconds: float) -> None:
        self._sent_at = sent_at
        self._seconds = seconds
        self._unread = b""

    def read(self, renewals: bytes) -> None:
        """Take renewals, apart from those of beats that are worth nothing any more."""
        *lines, self._unread = (self._unread + renewals).split(b"\n")
        for sent_at in map(float, lines):
            if lease_clock() - sent_at <= self._seconds:
                self._sent_at = max(self._sent_at, sent_at)

    def is_expired(self) -> bool:
        """Tell whether the owner may have been overtaken."""
        return lease_clock() - self._sent_at > self._seconds


def main(folder: str, sent_at: str, seconds: str, *command: str) -> int:
    """Run the command until it, the monitor or the lease ends; return its status as a shell would.

    The folder is the run's own; if the monitor is gone, it is removed here.
    """
    lease = _Lease(float(sent_at), float(seconds))
    monitor_pid = os.getppid()
    _adopt_orphans()
    wakeups = _wake_when_a_child_ends()
    for signum in _RESET:  # a terminal sends them to everyone; this process ends last
        signal.signal(signum, signal.SIG_IGN)
    if lease.is_expired():
        Path(folder, EXPIRED).touch()
        return 0
    kernel = _start(command)
    status = _wait(kernel, wakeups, monitor_pid, lease)
    if lease.is_expired():
        Path(folder, EXPIRED).touch()
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


def _start(command: tuple[str, ...]) -> int:
    """Start the kernel in a session of its own; return its pid."""
    # ipykernel ends itself when this pid is no longer its parent: the other half of the guard.
    environment = os.environ | {"JPY_PARENT_PID": str(os.getpid())}
    nothing = (os.POSIX_SPAWN_OPEN, MONITOR, os.devnull, os.O_RDONLY, 0)
    return os.posix_spawnp(
        command[0], command, environment, file_actions=[nothing], setsid=True, setsigdef=_RESET
    )


def _wait(kernel: int, wakeups: int, monitor_pid: int, lease: _Lease) -> int:
    """Wait for the end of kernel, monitor or lease; return the kernel's status, or 0."""
    while True:
        ready, _, _ = select.select([MONITOR, wakeups], [], [], _LOOK_SECONDS)
        if MONITOR in ready:
            renewals = os.read(MONITOR, 65536)
            if not renewals:
                return 0
            lease.read(renewals)  # all that came, before the lease is judged
        # A process that the monitor forked may hold the pipe open after the monitor's end.
        if lease.is_expired() or os.getppid() != monitor_pid:
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
    known: set[int] = set()
    until = time.monotonic() + patience_seconds
    while (alive := _survivors(kernel)) and time.monotonic() < until:
        for pid in alive - known:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signum)
        known |= alive
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
    sys.exit(main(*sys.argv[1:]))

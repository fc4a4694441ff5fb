"""The watchdog as a process of its own, with programs in the place of a kernel."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from helpers.notebooks import watchdog
from helpers.notebooks.lease import Lease, lease_clock

DEADLINE_SECONDS = 30
WATCHDOG = [sys.executable, "-I", "-S", watchdog.__file__]
NO_LEASE = ["0", "inf"]


def wait_for(path: Path) -> int:
    """Return the number in a file, once there is one."""
    until = time.monotonic() + DEADLINE_SECONDS
    while not (path.exists() and path.read_text().strip()):
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)
    return int(path.read_text())


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    readable, writable = os.pipe()
    yield readable, writable
    for end in (readable, writable):
        try:
            os.close(end)
        except OSError:
            continue


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", 128 + 9), ("kill -INT $$", 128 + 2)],
)
def test_returns_the_status_of_its_program_as_a_shell_would(tmp_path, pipe, script, status):
    done = subprocess.run(
        [*WATCHDOG, str(tmp_path / "own"), *NO_LEASE, "sh", "-c", script],
        stdin=pipe[0],
        check=False,
    )
    assert done.returncode == status


def test_its_program_knows_it_as_its_parent_and_does_not_see_the_pipe(tmp_path, pipe):
    script = "echo $PPID $JPY_PARENT_PID; cat"
    with subprocess.Popen(
        [*WATCHDOG, str(tmp_path / "own"), *NO_LEASE, "sh", "-c", script],
        stdin=pipe[0],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        output, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert output.split() == [str(process.pid)] * 2
    assert process.returncode == 0


@pytest.mark.parametrize("script", ["trap '' TERM", "trap 'exit 0' TERM"])
def test_ends_its_program_when_the_pipe_closes(tmp_path, pipe, script):
    note = tmp_path / "pid"
    own = tmp_path / "own"
    own.mkdir()
    wait = "while :; do sleep 600 & wait $!; done"
    command = [
        *WATCHDOG,
        str(tmp_path / "own"),
        *NO_LEASE,
        "sh",
        "-c",
        f"{script}; echo $$ > {note}; {wait}",
    ]
    with subprocess.Popen(command, stdin=pipe[0]) as process:
        program = psutil.Process(wait_for(note))
        os.close(pipe[1])
        process.wait(DEADLINE_SECONDS)
    assert psutil.wait_procs([program], timeout=DEADLINE_SECONDS)[1] == []
    assert own.exists()  # the monitor is there to look into it, and to remove it


def test_ends_when_its_parent_dies_though_another_process_holds_the_pipe(tmp_path, pipe):
    note = tmp_path / "pid"
    own = tmp_path / "own"
    (own / "below").mkdir(parents=True)
    script = f"echo $$ > {note}; exec sleep 600"
    command = [*WATCHDOG, str(own), *NO_LEASE, "sh", "-c", script]
    start = f"import subprocess; subprocess.Popen({command!r}); input()"
    # The monitor: its standard input is the pipe as well, which this test keeps open.
    with subprocess.Popen([sys.executable, "-c", start], stdin=pipe[0]) as monitor:
        program = psutil.Process(wait_for(note))
        watchdog = program.parent()
        monitor.send_signal(signal.SIGKILL)
        monitor.wait(DEADLINE_SECONDS)
    gone, alive = psutil.wait_procs([watchdog, program], timeout=DEADLINE_SECONDS)
    assert (len(gone), alive) == (2, [])
    assert not own.exists()


def watched(folder: Path, lease: Lease, pipe: int) -> subprocess.Popen[bytes]:
    """Start a watchdog whose program notes that it runs, and then sleeps."""
    script = f"echo $$ > {folder / 'pid'}; exec sleep 600"
    times = [repr(lease.sent_at), repr(lease.seconds)]
    return subprocess.Popen([*WATCHDOG, str(folder), *times, "sh", "-c", script], stdin=pipe)


def test_starts_nothing_under_a_lease_that_has_expired(tmp_path):
    lease = Lease(lease_clock() - 46)
    with lease.pipe() as pipe, watched(tmp_path, lease, pipe) as process:
        assert process.wait(DEADLINE_SECONDS) == 0
    assert {path.name for path in tmp_path.iterdir()} == {watchdog.EXPIRED}


def test_ends_its_program_when_the_lease_is_not_renewed(tmp_path):
    lease = Lease(lease_clock(), seconds=3)
    with lease.pipe() as pipe, watched(tmp_path, lease, pipe) as process:
        program = psutil.Process(wait_for(tmp_path / "pid"))
        process.wait(DEADLINE_SECONDS)
    assert not program.is_running()
    assert (tmp_path / watchdog.EXPIRED).exists()


def test_a_lease_that_is_renewed_keeps_its_program_and_one_too_old_renews_nothing(tmp_path):
    lease = Lease(lease_clock(), seconds=10)
    with lease.pipe() as pipe, watched(tmp_path, lease, pipe) as process:
        program = psutil.Process(wait_for(tmp_path / "pid"))
        until = lease_clock() + 12  # when the first lease has long expired
        while lease_clock() < until:
            lease.renew(lease_clock())
            time.sleep(0.1)
        assert program.is_running()
        # A monitor that thaws has this confirmed at last; the beat was sent long ago.
        last = lease.sent_at
        while process.poll() is None:
            lease.renew(last)
            assert lease_clock() < last + DEADLINE_SECONDS
            time.sleep(0.1)
    assert not program.is_running()
    assert lease_clock() > last + lease.seconds

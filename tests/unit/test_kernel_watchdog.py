"""The watchdog as a process of its own, with programs in the place of a kernel."""

from __future__ import annotations

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

DEADLINE_SECONDS = 30
WATCHDOG = [sys.executable, "-I", "-S", watchdog.__file__]


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
        [*WATCHDOG, str(tmp_path / "own"), "sh", "-c", script], stdin=pipe[0], check=False
    )
    assert done.returncode == status


def test_its_program_knows_it_as_its_parent_and_does_not_see_the_pipe(tmp_path, pipe):
    script = "echo $PPID $JPY_PARENT_PID; cat"
    with subprocess.Popen(
        [*WATCHDOG, str(tmp_path / "own"), "sh", "-c", script],
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
    command = [*WATCHDOG, str(tmp_path / "own"), "sh", "-c", f"{script}; echo $$ > {note}; {wait}"]
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
    command = [*WATCHDOG, str(own), "sh", "-c", script]
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

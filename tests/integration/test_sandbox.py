"""The demo and the lab as processes: one at a time in a folder, and nothing outlives them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import psutil
import pytest
import requests

from helpers.batch import get_active_batches
from helpers.board import board
from helpers.monitor import run_pass
from helpers.notebooks.run import NotebookRun
from helpers.settings import get_settings
from sandbox.demo_cycle import prepare_cycle
from sandbox.guard import is_alive
from sandbox.lab import START_HERE
from sandbox.walkthrough import Walkthrough, WalkthroughError
from sandbox.world import InUseError, alone, open_sandbox
from tests.support.notebooks import texts_of
from tests.support.ports import free_port
from tests.support.waiting import wait_until

NOTEBOOK_RUNS = "runs Extract Data"  # in the demo's output
START_HERE_PATH = Path(sys.modules[open_sandbox.__module__].__file__).with_name(START_HERE)


@pytest.fixture
def folder() -> Iterator[Path]:
    """The folder of a world of its own; the server's account must reach it."""
    with TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as made:
        yield Path(made)


@contextmanager
def running(module: str, folder: Path, *arguments: str, ignores_sigint: bool = False):
    """A demo or lab, as a shell starts it in the foreground, or else in the background."""
    disposition = signal.SIG_IGN if ignores_sigint else signal.SIG_DFL
    process = subprocess.Popen(
        [sys.executable, "-m", f"sandbox.{module}", f"--folder={folder}", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, disposition),  # noqa: PLW1509 - no thread forks
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def read_until(process: subprocess.Popen, text: str) -> None:
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return
    raise AssertionError("".join(lines))


def descendants(process: subprocess.Popen, folder: Path) -> list[int]:
    """What a demo or lab has started: its children and theirs, and the detached server."""
    server = int((folder / "postgres" / "postmaster.pid").read_text().split("\n")[0])
    return [p.pid for p in psutil.Process(process.pid).children(recursive=True)] + [server]


@pytest.mark.parametrize(
    ("signum", "ignores_sigint", "status"),
    [
        pytest.param(signal.SIGINT, False, 130, marks=pytest.mark.faults),
        (signal.SIGINT, True, 130),  # a shell's background
        (signal.SIGKILL, False, -signal.SIGKILL),
    ],
)
def test_whatever_ends_the_demo_ends_all_that_it_has_started(
    folder, signum, ignores_sigint, status
):
    with running("demo", folder, ignores_sigint=ignores_sigint) as demo:
        read_until(demo, NOTEBOOK_RUNS)
        kernels = wait_for_kernels(demo)
        started = [*descendants(demo, folder), *kernels]
        demo.send_signal(signum)
        rest, _ = demo.communicate(timeout=60)

    assert demo.returncode == status
    interrupted = [line for line in rest.split("\n") if "Interrupted." in line]
    assert len(interrupted) == (signum != signal.SIGKILL)
    assert "Traceback" not in rest
    wait_until(lambda: not any(map(is_alive, started)))
    with alone(folder, what="the next one"):
        pass


def wait_for_kernels(demo: subprocess.Popen) -> list[int]:
    def found() -> list[int]:
        children = psutil.Process(demo.pid).children(recursive=True)
        return [c.pid for c in children if "ipykernel_launcher" in " ".join(c.cmdline())]

    wait_until(found)
    return found()


@pytest.mark.parametrize(
    "signum", [pytest.param(signal.SIGHUP, marks=pytest.mark.faults), signal.SIGKILL]
)
def test_a_lab_is_alone_keeps_its_world_and_ends_its_servers(folder, signum):
    port = free_port()
    with running("lab", folder, "--no-browser", f"--port={port}") as lab:
        read_until(lab, f"127.0.0.1:{port}/lab")
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/lab"))
        for module in ("lab", "demo"):
            with running(module, folder) as second:
                text, _ = second.communicate(timeout=60)
            assert second.returncode == 1
            assert f"make lab at http://127.0.0.1:{port}/lab, process {lab.pid} on " in text
        started = descendants(lab, folder)
        lab.send_signal(signum)
        lab.communicate(timeout=60)
    wait_until(lambda: not any(map(is_alive, started)))
    assert (folder / "lab" / START_HERE).read_bytes() == START_HERE_PATH.read_bytes()

    if signum is signal.SIGHUP:
        with running("lab", folder, "--fresh") as asked:
            text, _ = asked.communicate("no\n", timeout=60)
        assert "[y/N]" in text
        assert "Nothing was deleted" in text
        assert (asked.returncode, (folder / "lab" / START_HERE).exists()) == (0, True)


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=60).ok
    except requests.ConnectionError:
        return False


@contextmanager
def world(folder: Path, *, fresh: bool):
    """The lab's world in this process."""
    with mock.patch.dict(os.environ), alone(folder, what="a test") as hold:
        workflows = folder / "lab" / "workspace" / "workflows"
        with open_sandbox(
            folder, "lab", workflows=workflows, hold=hold, fresh=fresh, time_scale=0.001
        ):
            yield
    get_settings.cache_clear()


@pytest.fixture
def a_team_with_much_set(monkeypatch, tmp_path):
    (tmp_path / "helpers").mkdir()
    (tmp_path / "helpers" / "__init__.py").touch()
    for name, value in {
        "PYTHONPATH": str(tmp_path),
        "MONITOR_HEARTBEAT_URL": "https://watch.example/real",
        "TEAMS_NOTIFICATION_ENABLED": "false",
        "RISK_MODELER_USERNAME": "ana",
        "PGSSLMODE": "verify-full",
    }.items():
        monkeypatch.setenv(name, value)


def test_start_here_prepares_submits_and_monitors_and_the_next_day_goes_on(
    folder, a_team_with_much_set
):
    with world(folder, fresh=True):
        assert get_settings().monitor_heartbeat_url is None
        assert get_settings().teams_notification_enabled
        prepare_cycle()
        copy = folder / "executed.ipynb"
        outcome = NotebookRun(START_HERE_PATH, copy, timeout_seconds=120).execute()
        assert outcome.error is None
        shown = texts_of(copy)
        assert "3 jobs submitted." in shown
        assert "1 batch" in shown
        watched = get_active_batches()
    with world(folder, fresh=False):
        if watched:  # the first pass came before the jobs were done
            assert get_active_batches() == watched
            run_pass()
        [edms] = [step for step in board().steps if step.step_name == "Create EDMs"]
        assert edms.counts == {"FINISHED": 3}


def test_a_folder_is_used_by_one_at_a_time(folder):
    who = rf"make demo, process {os.getpid()} on .*, since"
    with (
        alone(folder, what="make demo"),
        pytest.raises(InUseError, match=who),
        alone(folder, what="make lab"),
    ):
        pass
    with alone(folder, what="make lab"):
        pass


@pytest.mark.parametrize(
    ("changed", "cards", "problem"),
    [
        ({"_failed": []}, 1, "none did"),
        ({"_resubmitted": 0}, 1, "0 jobs were submitted again"),
        ({"_summaries": 1}, 1, "the summary ran 1 times"),
        ({}, 0, "no card"),
        ({}, 1, None),
    ],
)
def test_the_demo_fails_if_what_it_shows_did_not_happen(changed, cards, problem):
    walkthrough = Walkthrough()
    vars(walkthrough).update({"_failed": ["A"], "_resubmitted": 1, "_summaries": 2, **changed})
    if problem is None:
        walkthrough._require_whole(cards)
        return
    with pytest.raises(WalkthroughError, match=problem):
        walkthrough._require_whole(cards)

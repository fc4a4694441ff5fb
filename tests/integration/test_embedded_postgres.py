"""Whatever ends the processes that use an embedded PostgreSQL, it does not run on without them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import psycopg
import pytest

from sandbox.guard import USERS, is_alive, users_of
from sandbox.postgres import embedded_postgres
from tests.support.waiting import wait_until

USER = """
import sys, time
from pathlib import Path
from sandbox.postgres import embedded_postgres
with embedded_postgres(Path(sys.argv[1])) as url:
    print(url, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def folder():
    """Where the server of a test keeps its data; not below pytest's own, which is private."""
    with TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as parent:
        yield Path(parent) / "data"


def start_user(folder: Path, **environment: str) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", USER, str(folder)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline()
    return process


def server_of(folder: Path) -> psutil.Process:
    return psutil.Process(int((folder / "postmaster.pid").read_text().split("\n")[0]))


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM])
def test_the_server_stops_when_its_only_user_is_killed(folder, signum):
    with start_user(folder) as user:
        server = server_of(folder)
        user.send_signal(signum)
    wait_until(lambda: not is_alive(server.pid))


def test_the_server_goes_on_for_others_when_one_user_is_killed(folder):
    with embedded_postgres(folder) as url:
        with start_user(folder) as user:
            assert users_of(folder) == [os.getpid(), user.pid]
            user.kill()
        wait_until(lambda: users_of(folder) == [os.getpid()])
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        server = server_of(folder)
    assert not is_alive(server.pid)


def test_a_folder_that_is_removed_after_use_does_not_come_back_at_the_end_of_its_user(folder):
    use = USER.replace("time.sleep(600)", "")
    remove = "import shutil; shutil.rmtree(Path(sys.argv[1]).parent)"
    subprocess.run([sys.executable, "-c", f"{use}\n{remove}", str(folder)], check=True)
    assert not folder.parent.exists()


def test_another_account_that_was_there_first_hinders_nobody(folder, tmp_path):
    (tmp_path / ".lockfile").mkdir()  # as one that cannot be opened, whoever runs this
    with start_user(folder, TMPDIR=str(tmp_path)) as user:
        server = server_of(folder)
        user.kill()
    wait_until(lambda: not is_alive(server.pid))


def test_users_that_are_dead_and_strangers_with_their_numbers_are_pruned_at_the_start(folder):
    with embedded_postgres(folder):
        pass
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    (folder / USERS).write_text(json.dumps([dead.pid, os.getppid(), os.getpid()]))
    os.utime(folder / USERS, (1, 1))  # noted before any process of today had begun

    with embedded_postgres(folder):
        assert users_of(folder) == [os.getpid()]
        server = server_of(folder)
    assert not is_alive(server.pid)


def test_a_data_folder_that_was_cut_off_being_made_is_made_anew(folder):
    folder.mkdir()
    (folder / "PG_VERSION").write_text("16\n")
    with embedded_postgres(folder) as url, psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)

"""Databases and stand-ins: real ones, made for each test."""

import gc
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, settings

from helpers import redaction
from helpers.database import close_pools
from helpers.database.migrations import migrate
from helpers.settings import get_settings
from sandbox.moodys import MoodysStandIn
from sandbox.postgres import (
    database_url,
    drop_database,
    embedded_postgres,
    make_database,
    recreate_database,
    remove_database,
)
from sandbox.teams import TeamsStandIn

# What no test needs, and everything that imports nbformat would load: here, and in every kernel
# and Jupyter server. The sandbox clears the variable: what runs in it has all that is installed.
_LEAN = os.environ["PYTHONPATH"] = str(Path(__file__).parent / "support" / "lean")
sys.path.insert(0, _LEAN)
import nbformat  # noqa: F401

sys.path.remove(_LEAN)

# A machine that is busy for a moment is no failure of what is tested.
settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")

# A shell's background ignores it, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # as does `nohup`

_OURS = ("RISK_MODELER_", "TEAMS_", "MONITOR_", "IRP_", "PG", "DATABASE_URL")
_ADOPTED = Path(__file__).parent / "support" / "adopted.sql"
# Durability is for data that outlives a test.
_FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_wal_size": "128MB",
}
# The longest files, those that wait between those that compute: the cores shall not idle.
_LONGEST = (
    "test_notebook_run.py",
    "test_live_page.py",
    "test_crashes.py",
    "test_executors.py",
    "test_stage_notebooks.py",
    "test_moodys_misbehaving.py",
    "test_protocol.py",
    "test_pass_chaining.py",
    "test_sandbox.py",
    "test_postgres_misbehaving.py",
    "test_hostile_values.py",
    "test_schedule_real_server.py",
    "test_monitor_pass.py",
    "test_irp_polling.py",
    "test_overlap.py",
    "test_step_cluster.py",
    "test_schedule_commands.py",
    "test_kernel_watchdog.py",
    "test_conformance.py",
    "test_pass_interrupts.py",
    "test_frozen.py",
    "test_preparing.py",
    "test_pace.py",
)
_CLONES_FROM = 180000  # the version of PostgreSQL
_MEMORY = Path("/dev/shm")
_ENOUGH_MEMORY_BYTES = 4 * 1024**3


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no process is left with one at the end."""
    order = {name: number for number, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


def pytest_collection_finish() -> None:
    """Have no collection of garbage go through the thousands of tests, which stay to the end."""
    gc.freeze()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No setting of the machine reaches a test, and none of a test reaches the next."""
    for name in list(os.environ):
        if name.startswith(_OURS):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHON_DOTENV_DISABLED", "1")
    monkeypatch.setenv("MONITOR_TIME_ZONE", "UTC")  # wherever the machine is
    monkeypatch.setattr(redaction, "_registered", set())
    get_settings.cache_clear()
    yield
    close_pools()
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """A PostgreSQL: the one in TEST_DATABASE_URL, else an embedded one of this test process."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield given
        return
    is_roomy = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ENOUGH_MEMORY_BYTES
    # Not below pytest's own folder, which later test runs on the machine clear away.
    with (
        TemporaryDirectory(
            prefix="pg-", dir=_MEMORY if is_roomy else None, ignore_cleanup_errors=True
        ) as folder,
        embedded_postgres(Path(folder) / "data", settings=_FAST) as url,
    ):
        yield url


@pytest.fixture(scope="session")
def template(server_url: str) -> Iterator[str]:
    """The name of a migrated database, to copy from."""
    name = f"template_{uuid4().hex[:12]}"
    os.environ["DATABASE_URL"] = recreate_database(server_url, name)
    get_settings.cache_clear()
    migrate()
    close_pools()
    del os.environ["DATABASE_URL"]
    get_settings.cache_clear()
    yield name
    drop_database(server_url, name)


@pytest.fixture(scope="session")
def administrator(server_url: str, template: str) -> Iterator[psycopg.Connection]:
    """A connection that stays: opening one costs the server as much as dropping a database."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        if connection.info.server_version >= _CLONES_FROM:
            connection.execute("SET file_copy_method = clone")
            try:
                make_database(connection, name := f"cloned_{uuid4().hex[:12]}", template=template)
            except psycopg.Error:  # a file system that cannot
                connection.execute("RESET file_copy_method")
            else:
                remove_database(connection, name)
        yield connection


def _use(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def used_databases(administrator: psycopg.Connection) -> Iterator[list[str]]:
    """The databases of the tests before. The last one stays until a session of it has ended.

    DROP DATABASE sleeps for a tenth of a second if it finds a session that is just ending.
    """
    yield (names := [])
    for name in names:
        remove_database(administrator, name)


@pytest.fixture
def make_own_database(
    administrator: psycopg.Connection,
    used_databases: list[str],
    server_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[str], str]]:
    """Makes this test's own database from a template, in DATABASE_URL; gives its URL."""
    while len(used_databases) > 1:
        remove_database(administrator, used_databases.pop(0))

    def make(template: str) -> str:
        used_databases.append(name := f"test_{uuid4().hex[:12]}")
        make_database(administrator, name, template=template)
        url = database_url(server_url, name)
        _use(url, monkeypatch)
        return url

    yield make
    close_pools()


@pytest.fixture
def metastore(make_own_database: Callable[[str], str], template: str) -> str:
    """A migrated metastore of this test's own, in DATABASE_URL; its URL."""
    return make_own_database(template)


@pytest.fixture
def empty_database(make_own_database: Callable[[str], str]) -> str:
    """A database without a table, in DATABASE_URL; its URL."""
    return make_own_database("template1")


@pytest.fixture
def adopted(empty_database: str) -> str:
    """A team's database from before; its URL."""
    with psycopg.connect(empty_database) as connection:
        connection.execute(_ADOPTED.read_text())
    return empty_database


@pytest.fixture
def sql(metastore: str) -> Iterator[psycopg.Connection]:
    """A connection of the test's own to its metastore, to look and to interfere."""
    with psycopg.connect(metastore, autocommit=True) as connection:
        yield connection


@pytest.fixture
def workflows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty workflows folder, in IRP_WORKFLOWS_DIR."""
    folder = tmp_path / "workflows"
    folder.mkdir()
    monkeypatch.setenv("IRP_WORKFLOWS_DIR", str(folder))
    get_settings.cache_clear()
    return folder


@pytest.fixture(scope="session")
def moodys_server() -> Iterator[MoodysStandIn]:
    """A stand-in for Moody's for the whole session: use ``moodys``, which begins anew."""
    with MoodysStandIn() as moodys:
        yield moodys


@pytest.fixture
def moodys(
    moodys_server: MoodysStandIn, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MoodysStandIn]:
    """A Moody's that knows no job yet, in RISK_MODELER_*."""
    moodys_server.reset()
    for name, value in moodys_server.environment().items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    yield moodys_server
    moodys_server.reset()


@pytest.fixture(scope="session")
def teams_server() -> Iterator[TeamsStandIn]:
    """A stand-in for Teams for the whole session: use ``teams``, which begins anew."""
    with TeamsStandIn() as teams:
        yield teams


@pytest.fixture
def teams(teams_server: TeamsStandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[TeamsStandIn]:
    """A Teams without messages, in TEAMS_WEBHOOK_URL."""
    teams_server.reset()
    monkeypatch.setenv("TEAMS_WEBHOOK_URL", teams_server.webhook_url)
    get_settings.cache_clear()
    yield teams_server
    teams_server.reset()

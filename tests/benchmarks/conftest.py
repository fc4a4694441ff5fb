"""What the benchmarks share: durable databases, Moody's at a distance, the page of results."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest

from helpers.constants import BatchType
from helpers.database import close_pools
from helpers.settings import get_settings
from sandbox.moodys_access import Access
from sandbox.postgres import embedded_postgres, recreate_database
from sandbox.server import ServerProcess, start_process
from tests.benchmarks.baseline import seconds_per_job
from tests.benchmarks.report import Results, Row, machine_facts
from tests.benchmarks.world import add_active_jobs
from tests.support.certificates import make_certificate

LATENCY_SECONDS = 0.1
BASELINE_JOBS = 200
_SETTINGS = {"max_wal_size": "8GB", "checkpoint_timeout": "30min"}  # as a database of this size has


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--log-rows", type=int, default=10_000_000, help="rows of the long tracking log"
    )
    parser.addoption(
        "--adopted-rows", type=int, default=1_000_000, help="rows of the tracking log to adopt"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """A PostgreSQL that is as durable as a team's own."""
    with (
        # Not below pytest's own folder, which another session may close to PostgreSQL's account.
        TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder,
        embedded_postgres(Path(folder) / "data", settings=_SETTINGS) as url,
    ):
        yield url


@pytest.fixture(scope="session")
def moodys_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Moody's, who speaks TLS as the real one does, with a certificate made for this run."""
    certificate = make_certificate(tmp_path_factory.mktemp("tls"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        with start_process("sandbox.moodys", "--certificate", str(certificate)) as server:
            yield server


@pytest.fixture
def moodys(moodys_process: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> ServerProcess:
    """Moody's, who knows no job yet and takes its time for each answer."""
    _begin_anew(moodys_process)
    for name, value in Access().environment(moodys_process.url).items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    return moodys_process


def _begin_anew(moodys: ServerProcess) -> None:
    moodys.control("POST", "reset")
    latency = {"fault": "latency", "seconds": LATENCY_SECONDS}
    moodys.control("POST", "misbehaviours", latency)


@pytest.fixture(scope="session")
def seconds_before(server_url: str, template: str, moodys_process: ServerProcess) -> float:
    """How long the loop of before takes for one job, in this run, on this machine."""
    _begin_anew(moodys_process)
    with pytest.MonkeyPatch.context() as patch:
        database = recreate_database(server_url, "baseline", template=template)
        for name, value in Access().environment(moodys_process.url).items():
            patch.setenv(name, value)
        patch.setenv("DATABASE_URL", database)
        get_settings.cache_clear()
        add_active_jobs(moodys_process, BatchType.ANALYSIS, jobs=BASELINE_JOBS, batches=1)
        close_pools()
        with psycopg.connect(database) as connection:
            ids = [row[0] for row in connection.execute("SELECT id FROM irp_job ORDER BY id")]
        taken = seconds_per_job(ids, database)
    get_settings.cache_clear()
    return taken


@pytest.fixture(scope="session")
def results(request: pytest.FixtureRequest, server_url: str) -> Iterator[Results]:
    """What is measured; written to the page where the whole set has run without a failure."""
    found = Results()
    with psycopg.connect(server_url) as connection:
        shown = connection.execute(
            "SELECT name, current_setting(name) FROM pg_settings"
            " WHERE name IN ('server_version', 'fsync', 'shared_buffers')"
        )
        found.machine = machine_facts(dict(shown.fetchall()))
    yield found
    if not request.session.testsfailed and not request.config.option.keyword:
        found.write()
    request.config.stash[_ROWS] = found.rows


_ROWS = pytest.StashKey[list[Row]]()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail if a target was missed."""
    if not all(row.is_met for row in session.config.stash.get(_ROWS, [])):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say what was measured, and by how much each target was missed."""
    for row in config.stash.get(_ROWS, []):
        terminalreporter.write_line(row.line)

"""The live page: a real Jupyter server, a real PostgreSQL, a real browser."""

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import requests

from helpers.constants import BatchStatus, BatchType, JobStatus
from helpers.database import close_pools
from helpers.database.migrations import migrate
from helpers.settings import PROJECT_DIR, get_settings
from sandbox.postgres import recreate_database
from sandbox.seeding import PreparedJob, add_batch, add_cycle, add_step
from tests.support.jupyter import JupyterServer, jupyter_server
from tests.support.own_postgres import OwnPostgres, own_postgres
from tests.support.ports import free_port
from tests.support.waiting import wait_until

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# A browser's own traffic must not leave the machine.
OPTIONS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PATIENCE_MS = 120_000
HOSTILE = "<script>document.title = 'caught'</script><img src=x onerror=alert(1)>"
ENABLED = PROJECT_DIR / "jupyter" / "batch-monitoring.json"
FOLLOWS = "follows the metastore"

pytestmark = [pytest.mark.timeout(600)]


@dataclass(frozen=True)
class World:
    """A Jupyter server with the page, beside the metastore of a cycle that runs."""

    server: JupyterServer
    postgres: OwnPostgres
    database: str
    home: Path
    environment: dict[str, str]

    @property
    def address(self) -> str:
        return f"{self.server.url}batch-monitoring/"

    def login(self) -> dict[str, str]:
        return {"Authorization": f"token {self.server.token}"}


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("live")
    workflows = home / "root" / "my files" / "workflows"
    with (
        own_postgres({"fsync": "off", "synchronous_commit": "off"}) as postgres,
        pytest.MonkeyPatch.context() as patch,
    ):
        environment = {
            "DATABASE_URL": recreate_database(postgres.url, "live"),
            "IRP_WORKFLOWS_DIR": str(workflows),
            "MONITOR_TIME_ZONE": "Asia/Kolkata",
        }
        for name, value in environment.items():
            patch.setenv(name, value)
        get_settings.cache_clear()
        prepare(workflows)
        close_pools()
        enable(home / "jupyter")
        with jupyter_server(
            home / "root",
            home / "jupyter",
            app="lab",
            environment=environment,
            base_url="user/ana/",
        ) as server:
            yield World(server, postgres, environment["DATABASE_URL"], home, environment)


def prepare(workflows: Path) -> None:
    """Make a cycle with a batch of which jobs run and have failed, and its notebook and copy."""
    migrate()
    cycle = add_cycle("Q1")
    geohaz = add_step(cycle, stage_num=3, step_num=6, step_name="GeoHaz")
    add_step(cycle, stage_num=3, step_num=7, step_name=HOSTILE)
    statuses = [*["RUNNING"] * 5, "FAILED", "FINISHED"]
    jobs = [
        PreparedJob(JobStatus(status), str(number), None, {"job_name": f"CAL {number}"})
        for number, status in enumerate(statuses, 1)
    ]
    add_batch(geohaz, BatchType.GEOHAZ, jobs, status=BatchStatus.ACTIVE)
    folder = workflows / "Active_Q1" / "notebooks" / "Stage_03_Import"
    folder.mkdir(parents=True)
    empty = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (folder / "Step_06_GeoHaz.ipynb").write_text(json.dumps(empty))


def enable(home: Path) -> None:
    """Enable the extension as its installation does."""
    folder = home / "config" / "jupyter_server_config.d"
    folder.mkdir(parents=True)
    shutil.copy(ENABLED, folder)


@pytest.fixture
def db(world) -> Iterator[psycopg.Connection]:
    with closing(psycopg.connect(world.database, autocommit=True)) as connection:
        yield connection


@pytest.fixture(scope="module")
def chromium() -> Iterator[sync_api.Browser]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (apt: chromium)")
    sync_api.expect.set_options(timeout=PATIENCE_MS)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def look(world, chromium):
    """Open the page in a browser of its own, logged in; it must come without an error."""
    contexts: list[sync_api.BrowserContext] = []

    def open_page(address: str = world.address, **options) -> sync_api.Page:
        context = chromium.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.errors = []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("console", lambda line: page.errors.append(line.text) if is_error(line) else None)
        page.goto(f"{address}?token={world.server.token}")
        sync_api.expect(page.locator("#state")).to_contain_text(FOLLOWS)
        return page

    yield open_page
    for context in contexts:
        context.close()


def is_error(line: sync_api.ConsoleMessage) -> bool:
    return line.type == "error" and "ERR_" not in line.text  # the network is tested elsewhere


def see(page: sync_api.Page, text: str) -> None:
    sync_api.expect(page.locator("main")).to_contain_text(text)


def connections(db: psycopg.Connection) -> list[str]:
    """Return whose connections of this package there are."""
    found = db.execute(
        "SELECT application_name FROM pg_stat_activity"
        " WHERE application_name LIKE 'batch-monitor%' AND datname = current_database()"
    )
    return [name for (name,) in found.fetchall()]


def test_it_shows_what_waits_the_steps_and_the_night(look):
    page = look()

    see(page, "What waits for you")
    see(page, "1 of 7 jobs of 3.6 GeoHaz failed so far")
    see(page, "5 running")
    see(page, "3.6 GeoHaz 1")  # a lane of the night
    see(page, "Last completed pass: never.")
    sync_api.expect(page.locator("#time")).to_contain_text("Times are IST (UTC+05:30).")
    assert page.content().count("Times are") == 1
    assert page.title() == "Batch monitoring"
    assert page.errors == []


def test_a_change_is_on_the_screen_and_what_was_unfolded_stays_so(look, db):
    page = look()
    fold = page.locator("details", has_text="3.6 GeoHaz: ").filter(has_text="running")
    fold.locator("summary").click()
    see(page, "CAL 2")

    db.execute("UPDATE irp_job SET status = 'CANCELLED', completed_ts = now() WHERE id = 5")
    see(page, "1 cancelled")
    sync_api.expect(fold.locator("summary")).to_contain_text("4 running")
    assert fold.get_attribute("open") is not None
    db.execute("UPDATE irp_job SET status = 'RUNNING', completed_ts = NULL WHERE id = 5")
    sync_api.expect(fold.locator("summary")).to_contain_text("5 running")
    sync_api.expect(page.locator("main")).not_to_contain_text("cancelled")
    assert fold.get_attribute("open") is not None
    assert page.errors == []


def test_the_line_that_mends_is_copied(look):
    page = look()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    code = page.locator(".mend code").first.inner_text()

    page.get_by_role("button", name="copy").first.click()
    page.get_by_role("button", name="copied").wait_for()

    assert page.evaluate("navigator.clipboard.readText()") == code == "plan_resubmit(1)"


@pytest.mark.slow
def test_a_step_leads_to_its_notebook_in_jupyterlab(look):
    page = look()

    with page.expect_popup() as opened:
        page.get_by_role("link", name="3.6 GeoHaz").click()

    lab = opened.value
    lab.locator(".lm-TabBar-tabLabel", has_text="Step_06_GeoHaz.ipynb").wait_for()
    assert "/user/ana/lab/tree/my%20files/workflows/Active_Q1/notebooks/Stage_03_Import/" in lab.url


@pytest.mark.parametrize(
    ("scheme", "background"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(22, 25, 29)")]
)
def test_it_is_light_or_dark_as_its_reader_likes(look, scheme, background):
    page = look(color_scheme=scheme)

    style = "getComputedStyle(document.querySelector({!r})).{}"
    assert page.evaluate(style.format("body", "backgroundColor")) == background
    text = page.evaluate(style.format("main .irp td", "color"))
    is_dark_text = sum(map(int, text.strip("rgb()").split(","))) < 300
    assert is_dark_text == (scheme == "light")


@pytest.fixture
def thousand_jobs(db) -> Iterator[None]:
    db.execute(
        """INSERT INTO irp_job (batch_id, status, last_error, submitted_ts, completed_ts)
           SELECT 1, (ARRAY['FAILED', 'RUNNING', 'QUEUED', 'FINISHED'])[n % 4 + 1]::job_status_enum,
                  CASE n % 4 WHEN 0 THEN repeat('x', 300) || n % 3 END, now() - interval '1 h',
                  CASE WHEN n % 4 IN (0, 3) THEN now() END
           FROM generate_series(1, 1000) AS n"""
    )
    yield
    db.execute("DELETE FROM irp_job WHERE id > 7")


@pytest.mark.parametrize("width", [700, 1200])
def test_a_thousand_jobs_fit_the_width(look, thousand_jobs, width):
    page = look(viewport={"width": width, "height": 800})

    see(page, "251 of 1,007 jobs of 3.6 GeoHaz failed so far")
    page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.errors == []


def test_two_viewers_share_one_connection_and_nobody_needs_none(look, db):
    pages = [look(), look()]
    assert connections(db) == ["batch-monitor page"]
    db.execute("UPDATE irp_job SET status = 'QUEUED' WHERE id = 1")
    for page in pages:
        see(page, "1 waiting at Moody's")
    db.execute("UPDATE irp_job SET status = 'RUNNING' WHERE id = 1")
    for page in pages:
        sync_api.expect(page.locator("main")).not_to_contain_text("1 waiting at Moody's")

    pages[0].close()
    see(pages[1], "5 running")
    assert connections(db) == ["batch-monitor page"]
    pages[1].close()
    wait_until(lambda: connections(db) == [])


def test_what_others_wrote_is_text_and_no_script_of_theirs_runs(look):
    page = look()

    see(page, HOSTILE)
    assert page.title() == "Batch monitoring"
    assert page.locator("main script, main img").count() == 0
    assert page.errors == []


def test_without_a_login_there_is_jupyters(world, chromium):
    with closing(chromium.new_context()) as context:
        page = context.new_page()
        page.goto(world.address)
        page.get_by_label("Password or token:").wait_for()
        assert "GeoHaz" not in page.content()

    for path in ("", "events"):
        reply = requests.get(world.address + path, allow_redirects=False, timeout=60)
        assert reply.status_code == 302
        assert reply.headers["Location"].startswith("/user/ana/login?next=")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["", "events"])
def test_nothing_but_reading_is_answered(world, method, path):
    reply = requests.request(method, world.address + path, headers=world.login(), timeout=60)
    assert reply.status_code in {403, 405}


def test_the_page_runs_its_own_script_alone_and_nobody_elses_page_frames_it(world):
    address = world.address.rstrip("/")  # with or without a slash
    first, second = (requests.get(address, headers=world.login(), timeout=60) for _ in range(2))

    policy = first.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'self'" in policy
    nonce = policy.partition("script-src 'nonce-")[2].partition("'")[0]
    assert first.text.count(f'nonce="{nonce}"') == 2
    assert nonce not in second.headers["Content-Security-Policy"]
    assert first.headers["Cache-Control"] == "no-store"
    assert "http://" not in first.text
    assert "https://" not in first.text


def test_a_database_that_lets_it_wait_does_not_stop_the_server(world, db):
    with (
        requests.get(f"{world.address}events", headers=world.login(), stream=True, timeout=60) as s,
        closing(psycopg.connect(world.database)) as other,
    ):
        events = s.iter_lines()
        assert next(events).startswith(b"data: ")
        other.execute("LOCK TABLE irp_job IN ACCESS EXCLUSIVE MODE")
        db.execute("UPDATE irp_cycle SET cycle_name = cycle_name")
        wait_until(lambda: is_blocked(db))
        assert world.server.ask("GET", "api/status").ok
        other.rollback()
        assert any(line.startswith(b"data: ") for line in events)


def is_blocked(db: psycopg.Connection) -> bool:
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    return db.execute(waits).fetchone() == (1,)


def test_a_restart_of_the_server_is_shown_and_outlasted(world, look, db):
    port, home = free_port(), world.home / "second"
    enable(home)
    how = {
        "environment": world.environment,
        "token": world.server.token,
        "port": port,
        "base_url": "x/",
    }
    with jupyter_server(world.home / "root", home, **how) as server:
        page = look(f"{server.url}batch-monitoring/")
        server.kill()
        problem = page.locator("#problem")
        sync_api.expect(problem).to_contain_text("The connection to Jupyter was lost at")
        sync_api.expect(page.locator("#state")).to_have_text("")
    with jupyter_server(world.home / "root", home, **how):
        sync_api.expect(page.locator("#state")).to_contain_text(FOLLOWS)
        sync_api.expect(problem).to_be_hidden()
        db.execute("UPDATE irp_job SET status = 'PENDING' WHERE id = 2")
        see(page, "1 waiting at Moody's")
    db.execute("UPDATE irp_job SET status = 'RUNNING' WHERE id = 2")


def test_a_restart_of_the_database_is_shown_and_outlasted(world, look):
    page = look()
    problem = page.locator("#problem")

    world.postgres.stop()
    sync_api.expect(problem).to_contain_text("What is shown may be out of date.")
    sync_api.expect(problem).to_contain_text("The database cannot be reached")
    see(page, "3.6 GeoHaz")  # what was seen last
    world.postgres.start()

    sync_api.expect(page.locator("#state")).to_contain_text(FOLLOWS)
    sync_api.expect(problem).to_be_hidden()
    with closing(psycopg.connect(world.database, autocommit=True)) as db:
        db.execute("UPDATE irp_job SET status = 'PENDING' WHERE id = 3")
        see(page, "1 waiting at Moody's")
        db.execute("UPDATE irp_job SET status = 'RUNNING' WHERE id = 3")
    assert page.errors == []

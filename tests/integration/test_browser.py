"""The monitor scheduled by JupyterLab's own pages, as its README shows, in a real browser."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import requests
from psycopg.conninfo import make_conninfo

from tests.support.ports import free_port

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
TOKEN = "a-token-for-this-test"
# A browser's own traffic must not leave the machine.
OPTIONS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PATIENCE_MS = 120_000
PICTURES = os.environ.get("PICTURES_DIR")  # where the pictures of the documentation go

pytestmark = [
    pytest.mark.faults,  # it takes a twentieth of all that `make test` takes
    pytest.mark.timeout(600),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt: chromium)"),
]


@dataclass
class Lab:
    url: str
    database: str


@pytest.fixture
def lab(tmp_path) -> Iterator[Lab]:
    """``make lab``, in a folder of this test's own."""
    port = free_port()
    folder = tmp_path / "sandbox"
    command = [
        *(sys.executable, "-m", "sandbox.lab", f"--folder={folder}", "--no-browser"),
        *(f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
    ]
    with (tmp_path / "lab.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, "JUPYTER_TOKEN": TOKEN}
        )
    try:
        url = f"http://127.0.0.1:{port}"
        await_server(url, process, tmp_path / "lab.log")
        # PostgreSQL notes its port and the folder of its socket there.
        *_, port, socket_dir = (folder / "postgres" / "postmaster.pid").read_text().split("\n")[:5]
        database = make_conninfo(host=socket_dir, port=port, user="postgres", dbname="lab")
        yield Lab(f"{url}/lab?token={TOKEN}&reset", database)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) is not None


def await_server(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if requests.get(f"{url}/api/status?token={TOKEN}", timeout=10).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.2)
    raise AssertionError(log.read_text())


@pytest.fixture
def page(lab) -> Iterator[sync_api.Page]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(PATIENCE_MS)
        sync_api.expect.set_options(timeout=PATIENCE_MS)
        page.goto(lab.url)
        yield page
        browser.close()


def picture(page: sync_api.Page, name: str) -> None:
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"{name}.png", animations="disabled")


def open_folder(page: sync_api.Page, *names: str) -> None:
    page.get_by_title("/", exact=False).locator("visible=true").first.wait_for()
    page.locator(".jp-BreadCrumbs-home").click()
    for name in names:
        page.locator(".jp-DirListing-item", has_text=name).first.dblclick()
        page.locator(".jp-BreadCrumbs-item", has_text=name).wait_for()


def run_all_cells(page: sync_api.Page, notebook: str) -> None:
    page.locator(".jp-DirListing-item", has_text=notebook).first.dblclick()
    page.locator(".jp-StatusBar-Widget", has_text="| Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.locator(".lm-Menu-item", has_text="Run All Cells").first.click()


def schedule_every_minute(page: sync_api.Page) -> None:
    """Follow the steps of the README; the names are those of current and of older schedulers."""
    page.locator(".jp-LauncherCard", has_text="Jobs").click()
    page.get_by_role("tab", name="Job Definitions").click()
    page.get_by_text("There are no").wait_for()
    picture(page, "schedule-1-definitions")
    open_folder(page, "workspace", "workflows", "_Tools", "Batch Management")
    page.locator(".jp-DirListing-item", has_text="Monitor Active Jobs.ipynb").click(button="right")
    picture(page, "schedule-2-right-click")
    page.locator(".lm-Menu-item", has_text="Create").filter(has_text="Job").first.click()
    page.get_by_label("Notebook", exact=True).uncheck()
    page.get_by_label("HTML", exact=True).uncheck()
    page.get_by_label("Run on a schedule").check()
    page.get_by_label("Interval").click()
    page.get_by_role("option", name="Minute", exact=True).click()
    page.get_by_role("listbox").wait_for(state="detached")
    page.get_by_role("button", name="Create").scroll_into_view_if_needed()
    picture(page, "schedule-3-create")
    page.get_by_role("button", name="Create").click()
    page.get_by_role("tab", name="Job Definitions").wait_for()


def reload_until(page: sync_api.Page, text: str) -> None:
    """Reload the list of jobs until it says so: it does not do that by itself."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while not page.get_by_text(text).first.is_visible():
        assert time.monotonic() < deadline, f"the list of jobs never said {text}"
        page.get_by_role("button", name="Reload").click()
        page.wait_for_timeout(1_000)


def use_dark_theme(page: sync_api.Page) -> None:
    page.get_by_role("menuitem", name="Settings", exact=True).click()
    page.locator(".lm-Menu-item", has_text="Theme").first.hover()
    page.locator(".lm-Menu-item", has_text="JupyterLab Dark").first.click()
    page.locator("body[data-jp-theme-light=false]").wait_for(state="attached")


def await_passes(database: str, number: int) -> list[tuple[str, int]]:
    """Wait until so many scheduled passes are done; return who started them, and their polls."""
    deadline = time.monotonic() + 240
    query = (
        "SELECT started_by, jobs_polled FROM irp_monitor_run "
        "WHERE finished_ts IS NOT NULL AND started_by LIKE 'scheduled%' ORDER BY id"
    )
    with psycopg.connect(database, autocommit=True) as connection:
        while len(passes := connection.execute(query).fetchall()) < number:
            assert time.monotonic() < deadline, "no scheduled pass was completed"
            time.sleep(1)
    return passes


def test_the_monitor_is_scheduled_by_hand_as_the_readme_says_and_polls(lab, page):
    open_folder(page, "workspace", "workflows", "Active_Demo-2025-Q1", "notebooks", "Stage_03")
    run_all_cells(page, "Step_01")
    page.get_by_text("The monitor takes over from here: it watches").wait_for()

    page.locator(".jp-LauncherCard").first.wait_for(state="attached")
    page.locator(".lm-TabBar-tabLabel", has_text="Launcher").click()
    schedule_every_minute(page)

    assert sum(polled for _, polled in await_passes(lab.database, 1)) == 3
    page.locator("button[role=tab]", has_text="Jobs").first.click()
    reload_until(page, "Completed")
    picture(page, "schedule-4-completed")

    run_all_cells(page, "Monitor Active Jobs.ipynb")
    summary = page.locator(".jp-OutputArea .irp", has_text="next run")
    summary.scroll_into_view_if_needed()
    picture(page, "by-hand-light")
    use_dark_theme(page)
    summary.scroll_into_view_if_needed()
    picture(page, "by-hand-dark")

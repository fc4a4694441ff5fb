"""The schedule's commands against a real Jupyter server, shared by all tests here."""

import json
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from helpers.constants import StartedBy
from helpers.errors import ScheduleError
from helpers.schedule import commands
from helpers.schedule.__main__ import main
from helpers.schedule.client import SchedulerClient
from helpers.schedule.pruning import prune, prune_own_schedule
from helpers.schedule.servers import find_server
from helpers.settings import PROJECT_DIR, get_settings
from tests.support.jupyter import JupyterServer, jupyter_folders, jupyter_server
from tests.support.notebooks import write_notebook
from tests.support.scheduler import add_runs, forget_runs, run_ids
from tests.support.waiting import wait_until

NOTEBOOK = Path("_Tools", "Batch Management", "Monitor Active Jobs.ipynb")
NEVER = "0 0 29 2 *"  # so rarely that no run of its own disturbs a test
NOW = datetime.now(UTC)


def lay_notebook(workflows: Path) -> Path:
    """Copy the monitor's notebook into a workflows folder and return its path."""
    target = workflows / NOTEBOOK
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(PROJECT_DIR / "workflows" / NOTEBOOK, target)
    return target


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    folder = tmp_path_factory.mktemp("jupyter")
    (folder / "root").mkdir()
    with jupyter_server(folder / "root", folder / "home") as server:
        yield server


@pytest.fixture
def server(shared: JupyterServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[JupyterServer]:
    """The shared server without a schedule, found as by a person on this machine."""
    use(shared.home, shared.root / "workflows", monkeypatch)
    lay_notebook(shared.root / "workflows")
    yield shared
    forget_runs(shared)
    for definition in definitions(shared):
        shared.ask("DELETE", f"scheduler/job_definitions/{definition['job_definition_id']}")
    shutil.rmtree(shared.staging, ignore_errors=True)


def use(home: Path, workflows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in jupyter_folders(home).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("JUPYTER_TOKEN", raising=False)
    monkeypatch.setenv("IRP_WORKFLOWS_DIR", str(workflows))
    get_settings.cache_clear()


def definitions(server: JupyterServer) -> list[dict]:
    return server.ask("GET", "scheduler/job_definitions").json()["job_definitions"]


def define(server: JupyterServer, path: Path, *, schedule: str = NEVER) -> str:
    """Schedule a notebook as JupyterLab's form does."""
    answer = server.ask(
        "POST",
        "scheduler/job_definitions",
        json={
            "input_uri": path.relative_to(server.root).as_posix(),
            "name": path.stem,
            "runtime_environment_name": "python",
            "schedule": schedule,
            "timezone": "UTC",
            "output_formats": [],
        },
    )
    return answer.json()["job_definition_id"]


def pause(server: JupyterServer) -> None:
    """Switch the schedule off, as a person does in JupyterLab."""
    (definition,) = definitions(server)
    path = f"scheduler/job_definitions/{definition['job_definition_id']}"
    assert server.ask("PATCH", path, json={"active": False}).ok


def run_schedule(server: JupyterServer) -> dict:
    """Run the schedule now, as a person does in JupyterLab, and return the finished run."""
    (definition,) = definitions(server)
    path = f"scheduler/job_definitions/{definition['job_definition_id']}/jobs"
    run_id = server.ask("POST", path, json={}).json()["job_id"]
    wait_until(lambda: the_run(server, run_id)["status"] in {"COMPLETED", "FAILED"})
    return the_run(server, run_id)


def the_run(server: JupyterServer, run_id: str) -> dict:
    return server.ask("GET", f"scheduler/jobs/{run_id}").json()


def create(*options: str) -> int:
    return main(["create", "--schedule", NEVER, *options])


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must fail, and return its one line for people."""
    capsys.readouterr()
    assert main(list(arguments)) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    return shown.err


def test_create_stores_one_active_schedule_that_keeps_no_output(server, capsys):
    assert create("--timezone", "Europe/Zurich") == 0
    (definition,) = definitions(server)
    assert definition["active"] is True
    assert definition["schedule"] == NEVER
    assert definition["timezone"] == "Europe/Zurich"
    assert definition["output_formats"] == []
    assert server.token not in capsys.readouterr().out


def test_a_second_create_of_the_same_changes_nothing_and_is_content(server, capsys):
    create()
    before = definitions(server)
    assert create() == 0
    assert "already" in capsys.readouterr().out
    assert definitions(server) == before


def test_create_sees_what_was_scheduled_in_jupyterlab(server, capsys):
    define(server, server.root / "workflows" / NOTEBOOK, schedule="0 6 * * *")
    before = definitions(server)
    assert "'0 6 * * *'" in fails(capsys, "create", "--schedule", NEVER)
    assert definitions(server) == before


def test_create_says_how_to_switch_a_paused_schedule_on(server, capsys):
    create()
    pause(server)
    before = definitions(server)
    assert "switch it on in JupyterLab" in fails(capsys, "create", "--schedule", NEVER)
    assert definitions(server) == before


class _AtTheSameMoment(SchedulerClient):
    """Goes on only when another has looked as well."""

    both = threading.Barrier(2, timeout=30)

    def create(self, **arguments: str) -> str:
        self.both.wait()
        created = super().create(**arguments)
        self.both.wait()
        return created


def test_of_two_creations_at_the_same_moment_only_the_older_stays(server):
    message = []

    def one() -> None:
        with closing(_AtTheSameMoment(find_server(None))) as client:
            message.append(commands.create(client, schedule=NEVER, timezone="UTC"))

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    (left,) = definitions(server)
    assert {path.name for path in server.staging.iterdir()} == {left["job_definition_id"]}
    assert sum(text.startswith("Scheduled") for text in message) == 1
    assert sum(text.startswith("Somebody else") for text in message) == 1


@pytest.mark.parametrize(
    ("schedule", "timezone"),
    [
        ("every minute", "UTC"),  # words
        ("* * * *", "UTC"),  # four fields
        ("* * * * * *", "UTC"),  # with seconds, which the scheduler cannot keep
        ("61 * * * *", "UTC"),  # out of range
        ("*/0 * * * *", "UTC"),  # no step
        ("0 0 30 2 *", "UTC"),  # a day that never is
        ("R * * * *", "UTC"),  # another minute each time
        ("* * * * *\n", "UTC"),
        ("", "UTC"),
        ("* * * * *", "Mars/Olympus"),
    ],
)
def test_what_could_stop_all_schedules_is_never_sent(server, capsys, schedule, timezone):
    fails(capsys, "create", "--schedule", schedule, "--timezone", timezone)
    assert definitions(server) == []


def test_a_creation_that_the_scheduler_stores_though_it_failed_is_removed(server, capsys):
    staging = server.staging
    shutil.rmtree(staging, ignore_errors=True)
    staging.write_text("in the way of the scheduled copy")
    try:
        message = fails(capsys, "create", "--schedule", NEVER)
        assert "failed (500): Unexpected error occurred during creation of job def" in message
        assert "restart the server" in message
        assert definitions(server) == []
    finally:
        staging.unlink()


def test_a_notebook_outside_the_servers_root_is_not_scheduled(
    server, capsys, tmp_path, monkeypatch
):
    lay_notebook(tmp_path / "elsewhere" / "workflows")
    use(server.home, tmp_path / "elsewhere" / "workflows", monkeypatch)
    message = fails(capsys, "create")
    assert f"outside {server.root}" in message
    assert f"start JupyterLab in {tmp_path / 'elsewhere'}" in message
    assert definitions(server) == []


def test_a_notebook_that_is_not_there_is_not_scheduled(server, capsys):
    (server.root / "workflows" / NOTEBOOK).unlink()
    assert "IRP_WORKFLOWS_DIR" in fails(capsys, "create")
    assert definitions(server) == []


def test_a_linked_workflows_folder_below_the_root_is_found(server, tmp_path, monkeypatch):
    lay_notebook(tmp_path / "volume")
    link = server.root / "linked"
    link.symlink_to(tmp_path / "volume")
    use(server.home, link, monkeypatch)
    try:
        assert create() == 0
    finally:
        link.unlink()


def test_the_address_as_copied_from_the_browser_will_do(server):
    assert create("--url", f"{server.url.replace('127.0.0.1', 'localhost')}lab/tree/workflows") == 0
    assert len(definitions(server)) == 1


def test_status_is_off_without_a_schedule_on_with_it_and_off_when_paused(server, capsys):
    assert main(["status"]) == 1
    assert "Monitoring is off" in capsys.readouterr().out
    create()
    capsys.readouterr()
    assert main(["status"]) == 0
    shown = capsys.readouterr().out
    assert "Monitoring is on" in shown
    assert "Last run: none yet" in shown
    assert "metastore" not in shown  # none is configured
    pause(server)
    assert main(["status"]) == 1
    shown = capsys.readouterr().out
    assert "is paused" in shown
    assert "in JupyterLab" in shown


def test_status_is_off_and_says_why_if_the_only_finished_run_failed(server, capsys):
    create()
    assert run_schedule(server)["status"] == "FAILED"  # no database is configured for the server
    capsys.readouterr()
    assert main(["status"]) == 1
    headline = capsys.readouterr().out.splitlines()[0]
    assert headline.startswith("Monitoring is off")
    assert "the last run failed" in headline
    assert "SettingsError: No database is configured" in headline


def test_status_goes_by_the_passes_that_get_through(server, sql, capsys):
    a_pass = (
        "INSERT INTO irp_monitor_run (started_ts, finished_ts, host, pid, package_version, "
        "started_by) VALUES (now() - %s, now() - %s, 'host', 1, '1', 'command')"
    )
    recent, long_ago = timedelta(seconds=30), timedelta(hours=3)

    sql.execute(a_pass, [long_ago, long_ago])
    create()
    capsys.readouterr()
    assert main(["status"]) == 1
    shown = capsys.readouterr().out
    assert "is switched on, but no pass was completed for 3 h" in shown
    assert "helpers.schedule status" not in shown  # which is what they look at

    main(["delete"])
    sql.execute(a_pass, [recent, recent])
    capsys.readouterr()
    assert main(["status"]) == 0
    assert "Monitoring is on, but not at" in capsys.readouterr().out

    sql.execute("UPDATE irp_monitor_run SET started_by = 'scheduled notebook'")  # of the deleted
    assert main(["status"]) == 0
    [headline, *_] = capsys.readouterr().out.splitlines()
    assert headline.startswith("No schedule is on at http")
    assert re.search(r"the last pass was completed 3\d s ago\. Others come only if cron", headline)


def test_status_says_what_to_do_about_too_many_passes_without_naming_itself(server, sql, capsys):
    sql.execute(
        "INSERT INTO irp_monitor_run (started_ts, finished_ts, host, pid, package_version, "
        "started_by) SELECT now(), now(), 'host', 1, '1', %s FROM generate_series(1, 20)",
        [StartedBy.SCHEDULED_NOTEBOOK],
    )

    assert main(["status"]) == 0
    shown = capsys.readouterr().out

    assert "more than one schedule runs the monitor" in shown
    assert "helpers.schedule status" not in shown


def test_status_counts_the_runs_that_failed(server, capsys):
    create()
    (definition,) = definitions(server)
    mine, now = definition["job_definition_id"], datetime.now(UTC)
    add_runs(server, mine, status="FAILED", created_ts=now - timedelta(minutes=2))
    add_runs(server, mine, number=3, created_ts=now)
    capsys.readouterr()
    assert main(["status"]) == 0
    shown = capsys.readouterr().out
    assert "completed" in shown
    assert "Of the last 4 finished runs, 1 failed." in shown


def test_update_brings_an_older_copy_up_to_date(server, capsys):
    create()
    path = server.root / "workflows" / NOTEBOOK
    notebook = json.loads(path.read_text())
    notebook["cells"][1]["source"] = ["from helpers.monitor import Monitor  # of the next release"]
    path.write_text(json.dumps(notebook))
    capsys.readouterr()
    main(["status"])
    assert "is an older one" in capsys.readouterr().out
    assert "`update`" in fails(capsys, "create", "--schedule", NEVER)
    assert main(["update"]) == 0
    capsys.readouterr()
    main(["status"])
    assert "is that of this package" in capsys.readouterr().out
    (definition,) = definitions(server)
    assert definition["schedule"] == NEVER
    assert definition["active"] is True


def test_two_schedules_of_the_notebook_are_pointed_out_and_one_can_be_removed(server, capsys):
    first = define(server, server.root / "workflows" / NOTEBOOK)
    second = define(server, server.root / "workflows" / NOTEBOOK)
    assert main(["status"]) == 0
    assert "2 schedules run the same notebook" in capsys.readouterr().out
    assert first in fails(capsys, "create", "--schedule", NEVER)
    assert main(["delete", "--id", second]) == 0
    assert [one["job_definition_id"] for one in definitions(server)] == [first]


def test_an_id_that_is_not_the_notebooks_is_left_alone(server, capsys):
    create()
    other = define(server, write_notebook(server.root / "Another.ipynb", "1"))
    before = definitions(server)
    assert "No schedule of the notebook" in fails(capsys, "delete", "--id", other)
    assert definitions(server) == before


def test_delete_removes_the_schedule_its_runs_and_its_copy_and_nothing_else(server):
    create()
    (mine,) = (one["job_definition_id"] for one in definitions(server))
    add_runs(server, mine, number=3, created_ts=NOW)
    namesake = define(server, write_notebook(server.root / "other" / NOTEBOOK.name, "1"))
    kept = add_runs(server, namesake, number=2, created_ts=NOW)
    assert main(["delete"]) == 0
    assert [one["job_definition_id"] for one in definitions(server)] == [namesake]
    assert run_ids(server) == set(kept)
    assert {path.name for path in server.staging.iterdir()} == {namesake, *kept}


@pytest.mark.parametrize(
    ("status", "started", "days_ago"),
    [
        ("IN_PROGRESS", True, 0),  # running
        ("STOPPED", False, 0),  # about to begin
        ("IN_PROGRESS", True, 1),  # orphaned: a kernel may bear its number, and would be killed
    ],
)
def test_delete_cuts_no_run_off(server, capsys, kernel, status, started, days_ago):
    create()
    (mine,) = (one["job_definition_id"] for one in definitions(server))
    created_ts = datetime.now(UTC) - timedelta(days=days_ago)
    (run,) = add_runs(
        server, mine, status=status, started=started, created_ts=created_ts, pid=kernel
    )
    assert "would be cut off" in fails(capsys, "delete", "--wait", "0")
    (definition,) = definitions(server)
    assert definition["active"] is False
    assert run_ids(server) == {run}
    assert psutil.Process(kernel).status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("command", ["update", "delete"])
def test_what_needs_a_schedule_says_that_there_is_none(server, capsys, command):
    assert "`create`" in fails(capsys, command)


@pytest.fixture
def kernel(server: JupyterServer) -> Iterator[int]:
    """The pid of a kernel that a person works with."""
    before = {child.pid for child in psutil.Process(server.process.pid).children()}
    kernel_id = server.ask("POST", "api/kernels", json={"name": "python3"}).json()["id"]
    after = {child.pid for child in psutil.Process(server.process.pid).children()}
    (pid,) = after - before
    yield pid
    server.ask("DELETE", f"api/kernels/{kernel_id}")


def test_pruning_removes_old_and_surplus_runs_and_nothing_that_may_be_in_use(server, kernel):
    create()
    (mine,) = (one["job_definition_id"] for one in definitions(server))
    namesake = define(server, write_notebook(server.root / "other" / NOTEBOOK.name, "1"))
    old, now = NOW - timedelta(days=40), datetime.now(UTC)
    foreign = add_runs(server, namesake, number=3, created_ts=old)
    by_hand = add_runs(server, None, created_ts=old)
    add_runs(server, mine, number=30, created_ts=old)
    add_runs(server, mine, number=2, created_ts=old, status="FAILED")
    add_runs(server, mine, created_ts=old, status="STOPPED", started=False)  # never begun
    orphaned = add_runs(server, mine, created_ts=old, status="IN_PROGRESS", pid=kernel)
    beginning = add_runs(server, mine, created_ts=now, status="STOPPED", started=False)
    running = add_runs(server, mine, created_ts=now, status="IN_PROGRESS", pid=kernel)
    new = add_runs(server, mine, number=5, created_ts=now)

    assert main(["prune", "--keep", "100", "--days", "30"]) == 0

    left = {*foreign, *by_hand, *orphaned, *beginning, *running, *new}
    assert run_ids(server) == left

    assert main(["prune", "--keep", "0", "--days", "0"]) == 0
    assert run_ids(server) == left - set(new)
    assert psutil.Process(kernel).status() != psutil.STATUS_ZOMBIE


def test_pruning_by_number_keeps_the_newest(server):
    create()
    (mine,) = (one["job_definition_id"] for one in definitions(server))
    add_runs(server, mine, number=120, created_ts=NOW - timedelta(hours=2))
    newest = add_runs(server, mine, number=20, created_ts=NOW)
    assert main(["prune", "--keep", "20", "--days", "1"]) == 0
    assert run_ids(server) == set(newest)


def test_a_long_backlog_is_pruned_a_part_at_a_time(server):
    create()
    (mine,) = (one["job_definition_id"] for one in definitions(server))
    add_runs(server, mine, number=2_000, created_ts=NOW)
    deadline = time.monotonic() + 2.0
    with (
        closing(SchedulerClient(find_server(None), deadline=deadline)) as client,
        pytest.raises(ScheduleError),
    ):
        prune(client, mine, older_than=timedelta(days=1), keep_at_most=1)
    assert 1 < len(run_ids(server)) < 2_000  # all of it would take most of a minute


def test_status_shows_orphaned_runs(server, capsys):
    create()
    (mine,) = (one["job_definition_id"] for one in definitions(server))
    yesterday = NOW - timedelta(days=1)
    add_runs(server, mine, created_ts=yesterday, status="IN_PROGRESS")
    capsys.readouterr()
    main(["status"])
    shown = capsys.readouterr().out
    assert ": orphaned." in shown
    assert "▲ 1 orphaned run:" in shown


PRUNING_NOTEBOOK = (
    "import helpers.monitor",
    "from datetime import timedelta",
    "from helpers.schedule.pruning import prune_own_schedule",
    "limits = {'older_than': timedelta(days=1), 'keep_at_most': 100}",
    "prune_own_schedule(**limits, budget_seconds=60)",
)


def test_a_scheduled_pass_prunes_its_own_schedule_and_no_other(server):
    path = write_notebook(server.root / "workflows" / NOTEBOOK, *PRUNING_NOTEBOOK)
    long_ago = NOW - timedelta(days=2)
    another = define(server, path)
    kept = add_runs(server, another, number=2, created_ts=long_ago)
    by_hand = add_runs(server, None, created_ts=long_ago)
    server.ask("PATCH", f"scheduler/job_definitions/{another}", json={"active": False})
    mine = define(server, path)
    add_runs(server, mine, number=3, created_ts=long_ago)
    run_id = server.ask("POST", f"scheduler/job_definitions/{mine}/jobs", json={}).json()["job_id"]

    wait_until(lambda: the_run(server, run_id)["status"] in {"COMPLETED", "FAILED"})

    assert the_run(server, run_id)["status"] == "COMPLETED", the_run(server, run_id)
    assert run_ids(server) == {run_id, *kept, *by_hand}


def test_a_pass_that_no_scheduler_started_touches_none(server):
    create()
    (mine,) = (one["job_definition_id"] for one in definitions(server))
    runs = add_runs(server, mine, number=3, created_ts=NOW - timedelta(days=2))

    prune_own_schedule(older_than=timedelta(0), keep_at_most=0)

    assert run_ids(server) == set(runs)

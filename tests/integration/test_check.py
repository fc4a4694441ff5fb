import os
import subprocess
import sys

import psycopg
import pytest

from helpers.check import CheckReport, check_system
from helpers.display import Remark, Severity
from helpers.monitor import run_pass
from helpers.settings import get_settings
from sandbox.misbehaviour import Fault


@pytest.fixture
def ready(metastore, moodys, teams, workflows):
    """A team that has set up everything."""
    notebook = workflows / "_Tools" / "Batch Management" / "Monitor Active Jobs.ipynb"
    notebook.parent.mkdir(parents=True)
    notebook.touch()
    run_pass()
    return workflows


def lines(report: CheckReport, sign: str) -> list[str]:
    return [f"{f.about}: {f.text}" for f in report.findings if f.severity.sign == sign]


def test_a_team_that_has_set_up_everything_is_informed(ready):
    report = check_system()

    assert report.is_ok
    assert report.headline == "Everything is set up."
    assert lines(report, "✖") == []
    assert {f.about for f in report.findings} >= {
        "settings",
        "database",
        "migrations",
        "clocks",
        "connection",
        "schedule",
        "Moody's",
        "Moody's risk data",
        "Moody's export",
        "Teams",
        "workflows",
        "kernel",
    }


def test_a_schedule_that_is_off_is_reported_by_the_passes_that_do_not_come(ready, sql):
    [line] = [found for found in lines(check_system(), "✔") if found.startswith("schedule")]
    assert "Last completed pass: " in line

    sql.execute("UPDATE irp_monitor_run SET started_by = 'notebook'")  # by hand
    [line] = [found for found in lines(check_system(), "▲") if found.startswith("schedule")]
    assert "Whether the next one comes, only a schedule can tell" in line

    sql.execute("UPDATE irp_monitor_run SET finished_ts = finished_ts - interval '1 hour'")
    [line] = [found for found in lines(check_system(), "▲") if found.startswith("schedule")]
    assert "Monitoring is not on: no pass was completed for 1 h" in line
    assert "helpers.schedule status" in line


def test_a_check_changes_nothing_and_sends_a_card_only_if_it_is_asked_to(ready, teams, moodys, sql):
    check_system()
    assert teams.messages == []
    assert moodys.submissions == []

    check_system(send_card=True)
    assert len(teams.messages) == 1


def test_everything_that_is_missing_is_reported_at_once(empty_database, workflows, monkeypatch):
    monkeypatch.setenv("IRP_WORKFLOWS_DIR", str(workflows / "gone"))
    get_settings.cache_clear()

    report = check_system()

    assert not report.is_ok
    problems = lines(report, "✖")
    assert any("helpers.database migrate" in problem for problem in problems)
    assert any("RISK_MODELER_BASE_URL" in problem for problem in problems)
    assert any("IRP_WORKFLOWS_DIR" in problem for problem in problems)
    assert any("TEAMS_WEBHOOK_URL is not set" in remark for remark in lines(report, "▲"))
    assert "3 problems would keep a pass from its work." in str(report)


@pytest.mark.parametrize(
    "value", ["...", "…", "<your key>", "[key]", "xxxx", "changeme", "your-api-key", "TODO"]
)
def test_a_placeholder_is_not_taken_for_a_value(ready, monkeypatch, value):
    monkeypatch.setenv("RISK_MODELER_API_KEY", value)
    get_settings.cache_clear()
    assert "settings: RISK_MODELER_API_KEY is a placeholder. Set its value." in lines(
        check_system(), "✖"
    )


def test_a_placeholder_of_teams_keeps_no_pass_from_its_work_and_is_no_webhook(ready, monkeypatch):
    monkeypatch.setenv("TEAMS_WEBHOOK_URL", "<your webhook>")
    get_settings.cache_clear()

    report = check_system(send_card=True)

    assert report.is_ok
    assert lines(report, "▲") == [
        "settings: TEAMS_WEBHOOK_URL is a placeholder. Set its value.",
        "Teams: TEAMS_WEBHOOK_URL is a placeholder: no cards are sent.",
    ]
    assert not any(line.startswith("Teams") for line in lines(report, "✔"))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("DATABASE_URL", "", "No database is configured"),
        ("DATABASE_URL", "postgresql://u:hunter2pw@127.0.0.1:1/d", "cannot be reached"),
        ("DATABASE_URL", "postgresql://u:x@hunter2pw@127.0.0.1/d", "cannot be read"),
    ],
)
def test_one_cause_is_reported_and_counted_once(ready, monkeypatch, name, value, message):
    monkeypatch.setenv(name, value)
    get_settings.cache_clear()

    report = check_system()

    assert str(report).count(message) == 1
    assert report.headline == "1 problem would keep a pass from its work."


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (["BASE_URL"], "RISK_MODELER_BASE_URL is not set. Set it in"),
        (
            ["BASE_URL", "API_KEY"],
            "RISK_MODELER_BASE_URL, RISK_MODELER_API_KEY are not set. Set them in",
        ),
    ],
)
def test_settings_that_are_missing_are_named_in_one_sentence(ready, monkeypatch, missing, message):
    for name in missing:
        monkeypatch.delenv(f"RISK_MODELER_{name}")
    get_settings.cache_clear()
    assert any(message in line for line in lines(check_system(), "✖"))


@pytest.mark.parametrize(
    "address",
    ["api-euw1.rms.com", "http://api-euw1.rms.com", "https://", "ftp://host", "https://["],
)
def test_credentials_are_sent_to_https_addresses_only(ready, monkeypatch, address):
    monkeypatch.setenv("RISK_MODELER_BASE_URL", address)
    get_settings.cache_clear()
    found = "\n".join(lines(check_system(), "✖"))
    assert "RISK_MODELER_BASE_URL should be an address that begins with https://." in found


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("MONITOR_POLL_WORKER", "Did you mean MONITOR_POLL_WORKERS?"),
        ("RISK_MODELER_APIKEY", "Did you mean RISK_MODELER_API_KEY?"),
        ("TEAMS_SOMETHING_ELSE_ENTIRELY", "nobody reads it."),
    ],
)
def test_a_name_that_nobody_reads_is_reported_with_the_nearest_one(ready, monkeypatch, name, hint):
    monkeypatch.setenv(name, "1")
    report = check_system()
    assert report.is_ok
    [remark] = lines(report, "▲")
    assert name in remark
    assert hint in remark


def test_an_account_that_does_not_own_the_tables_is_reported(ready, sql, metastore, monkeypatch):
    sql.execute("CREATE ROLE reader LOGIN IN ROLE pg_read_all_data")
    try:
        monkeypatch.setenv("DATABASE_URL", psycopg.conninfo.make_conninfo(metastore, user="reader"))
        get_settings.cache_clear()
        found = "\n".join(lines(check_system(), "✖"))
        assert "belong to postgres, and reader is not a member of that role" in found
    finally:
        sql.execute("DROP ROLE reader")


@pytest.mark.parametrize(
    ("fault", "how", "message"),
    [
        (Fault.HTTP_STATUS, {"http_status": 403}, "may not read its jobs"),
        (Fault.HTML_403, {}, "may not read its jobs"),
        (Fault.HTTP_STATUS, {"http_status": 302}, "Is a proxy or gateway in between"),
        (Fault.NOT_AN_OBJECT, {}, "answers"),
        (Fault.RESET, {}, "Moody's"),
    ],
)
def test_each_family_is_judged_by_its_own_answer(ready, moodys, fault, how, message):
    moodys.misbehave(fault, families=["model"], **how)
    report = check_system()
    found = {f.about: f for f in report.findings}
    assert message in found["Moody's model"].text
    assert found["Moody's export"].severity is Severity.OK


def found_of_moodys(monkeypatch, **environment: str) -> list[Remark]:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    return [found for found in check_system().findings if found.about.startswith("Moody's")]


@pytest.mark.parametrize(
    ("address", "host", "why"),
    [
        ("https://api-euw1.invalid", "api-euw1.invalid", "host name of RISK_MODELER_BASE_URL is"),
        ("http://127.0.0.1:1", "127.0.0.1:1", "the connection was refused"),
        ("http://me:pass@127.0.0.1:1/x", "127.0.0.1:1", "the connection was refused"),
    ],
)
def test_a_host_that_is_not_reached_is_one_finding_with_its_name(
    ready, monkeypatch, address, host, why
):
    [problem] = found_of_moodys(monkeypatch, RISK_MODELER_BASE_URL=address)

    assert problem.severity is Severity.ERROR
    assert why in problem.text
    assert f"The host is {host}: correct RISK_MODELER_BASE_URL" in problem.text


def test_a_login_that_is_not_answered_names_the_host_too(ready, moodys, monkeypatch):
    monkeypatch.delenv("RISK_MODELER_API_KEY")
    bearer = moodys.environment(bearer=True)

    nobody = {**bearer, "RISK_MODELER_BASE_URL": "http://127.0.0.1:1"}
    [problem] = found_of_moodys(monkeypatch, **nobody, MONITOR_POLL_BUDGET_SECONDS="0.5")

    assert problem.severity is Severity.ERROR
    assert "did not answer the login" in problem.text
    assert "The host is 127.0.0.1:1: correct RISK_MODELER_BASE_URL" in problem.text


@pytest.mark.parametrize(
    ("fault", "how", "message"),
    [
        (Fault.RESET, {}, "Moody's closed the connection"),
        (Fault.HTTP_STATUS, {"http_status": 401}, "answers 401: these credentials may not read"),
        (Fault.HTTP_STATUS, {"http_status": 302}, "Is a proxy or gateway in between?"),
    ],
)
def test_what_is_the_same_for_all_families_is_one_finding_and_nothing_was_reached(
    ready, moodys, fault, how, message
):
    moodys.misbehave(fault, **how)

    [problem] = [f for f in check_system().findings if f.about.startswith("Moody's")]

    assert (problem.about, problem.severity) == ("Moody's", Severity.ERROR)
    assert problem.text.count(message) == 1


def test_a_rejected_login_is_one_finding(ready, moodys, monkeypatch):
    for name, value in moodys.environment(bearer=True).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("RISK_MODELER_API_KEY", raising=False)
    monkeypatch.setenv("RISK_MODELER_PASSWORD", "wrong")
    get_settings.cache_clear()
    [problem] = lines(check_system(), "✖")
    assert "login at Moody's failed" in problem
    assert "wrong" not in problem


def test_a_card_that_teams_does_not_accept_is_reported(ready, teams):
    teams.misbehave(Fault.HTTP_STATUS, http_status=400)
    [remark] = lines(check_system(send_card=True), "▲")
    assert "400" in remark


def test_the_command_prints_a_line_each_and_exits_with_1_if_a_pass_could_not_work(
    ready, monkeypatch
):
    command = [sys.executable, "-m", "helpers.check"]
    well = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    assert (well.returncode, well.stderr) == (0, "")
    assert "Everything is set up." in well.stdout

    monkeypatch.delenv("DATABASE_URL")
    ill = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    assert ill.returncode == 1
    assert "✖ database: " in ill.stdout

    monkeypatch.setenv("MONITOR_POLL_WORKERS", "many")  # no secret is known: nothing else is shown
    ill = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    assert (ill.returncode, ill.stdout) == (1, "")
    [line] = ill.stderr.splitlines()
    assert "MONITOR_POLL_WORKERS: should be a whole number" in line


def test_no_secret_is_shown(ready, monkeypatch):
    shown = str(check_system()) + check_system()._repr_html_()
    for secret in get_settings().secrets():
        assert secret not in shown

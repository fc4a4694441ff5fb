import os
import subprocess
import sys
from datetime import timedelta

import pytest

from helpers.board import board, jobs_of, night_history
from helpers.board.__main__ import main
from helpers.constants import BatchStatus, BatchType, CycleStatus, JobStatus
from helpers.errors import SettingsError
from helpers.notebooks.run import NotebookRun
from helpers.settings import PROJECT_DIR
from sandbox.seeding import PreparedJob, add_batch, add_cycle, add_step
from tests.support.notebooks import texts_of

NOTEBOOK = PROJECT_DIR / "workflows" / "_Tools" / "Batch Management" / "Cycle Status.ipynb"


@pytest.fixture
def cycle(metastore, sql):
    """Stage 3 with a batch that runs and one that is prepared, in one ACTIVE cycle of two."""
    add_step(add_cycle("Old", status=CycleStatus.ARCHIVED), stage_num=3, step_num=1)
    cycle_id = add_cycle("Q1")
    geohaz = add_step(cycle_id, stage_num=3, step_num=6, step_name="GeoHaz")
    add_step(cycle_id, stage_num=3, step_num=7, step_name="Portfolio Mapping")
    analysis = add_step(cycle_id, stage_num=4, step_num=1, step_name="Execute Analysis")
    statuses = [*["RUNNING"] * 3, "FAILED", *["FINISHED"] * 2]
    jobs = [PreparedJob(JobStatus(status), str(i)) for i, status in enumerate(statuses, 1)]
    add_batch(geohaz, BatchType.GEOHAZ, jobs, status=BatchStatus.ACTIVE)
    add_batch(analysis, BatchType.ANALYSIS, [PreparedJob()] * 2)
    sql.execute("UPDATE irp_job SET completed_ts = now() WHERE status IN ('FAILED', 'FINISHED')")
    return cycle_id


def test_the_steps_of_active_cycles_are_shown_with_what_holds_them(cycle):
    shown = str(board())
    assert "Old" not in shown
    assert "1 of 6 jobs of 3.6 GeoHaz failed so far" in shown
    assert "3 jobs of GeoHaz hold step 3.7" in shown
    assert "2 prepared jobs of step 4.1 Execute Analysis not submitted" in shown


def test_a_step_whose_jobs_run_has_an_expected_end_or_the_reason_why_not(cycle):
    assert "not known yet: 20 finished jobs are needed, 0 so far" in str(board())


def test_the_jobs_of_a_step_have_their_names_moodys_ids_and_reasons(cycle, sql):
    sql.execute(
        """UPDATE irp_job SET last_error = 'The EDM is locked' WHERE status = 'FAILED';
           UPDATE irp_job_configuration SET job_configuration_data = '{"edm": "CAL EQ"}'
           WHERE id = 4"""
    )
    shown = str(jobs_of("3.6"))
    assert "1 failed: “The EDM is locked”" in shown
    assert "CAL EQ" in shown
    assert shown.index("CAL EQ") < shown.rindex("3 running") < shown.rindex("2 finished")
    assert "not known yet: 20 finished jobs are needed, 0 so far" in shown
    assert "CAL EQ" in str(jobs_of())
    assert "CAL EQ" in str(board())
    with pytest.raises(SettingsError, match="No ACTIVE cycle has a step"):
        jobs_of("9.9")


def test_a_thousand_jobs_are_counted_and_the_first_of_each_kind_read(cycle, sql):
    sql.execute(
        """INSERT INTO irp_job (batch_id, status, last_error, submitted_ts, completed_ts)
           SELECT 1, 'FAILED', 'reason ' || n % 3, now() - interval '1 h', now()
           FROM generate_series(1, 999) AS n"""
    )
    shown = str(jobs_of("3.6"))
    assert "1,000 failed" in shown
    assert "333 failed: “reason 1”" in shown
    assert "… and 233 more jobs" in shown


@pytest.fixture
def files(workflows):
    """The notebook of step 3.6 and an executed copy of it, with names that need escaping."""
    folder = workflows / "Active_Q1"
    notebook = folder / "notebooks" / "Stage_03_A" / "Step_06_GeoHaz #1.ipynb"
    copy = folder / "runs" / "S03-06 GeoHaz #1 26 Nov 16.51.ipynb"
    for path in (notebook, copy):
        path.parent.mkdir(parents=True)
        path.write_text("{}")
    return notebook, copy


def note_copy(sql, path):
    sql.execute(
        """INSERT INTO irp_step_run
           (step_id, run_num, status, started_ts, completed_ts, output_data)
           SELECT id, 1, 'FAILED', now(), now(), jsonb_build_object('executed_notebook', %s::text)
           FROM irp_step WHERE step_name = 'GeoHaz'""",
        [path],
    )


def test_a_step_leads_to_its_notebook_and_its_state_to_the_executed_copy(
    cycle, files, sql, workflows, monkeypatch, tmp_path, capsys
):
    notebook, copy = files
    note_copy(sql, f"workflows/Active_Q1/runs/{copy.name}")
    tools = workflows / "_Tools" / "Batch Management"
    tools.mkdir(parents=True)
    monkeypatch.chdir(tools)

    in_notebook = board()._repr_html_()
    assert main(["--html", str(tmp_path / "board.html")]) == 0
    on_page = (tmp_path / "board.html").read_text()

    # JupyterLab opens what is relative to the notebook that shows it, a browser what is a file.
    href = "../../Active_Q1/runs/S03-06%20GeoHaz%20%231%2026%20Nov%2016.51.ipynb"
    assert f'href="{href}"' in in_notebook
    assert "Stage_03_A/Step_06_GeoHaz%20%231.ipynb" in in_notebook
    assert f'href="{copy.as_uri()}"' in on_page
    assert f'href="{notebook.as_uri()}"' in on_page
    monkeypatch.chdir(tmp_path)  # as the copy that a schedule runs
    assert "href=" not in board()._repr_html_()


@pytest.mark.parametrize(
    "path",
    [
        "workflows/Active_Q1/runs/gone.ipynb",
        "workflows/../../secret.ipynb",
        "/etc/passwd",
        "workflows/Active_Q1",
        "javascript:alert(1)",
        "",
        "a\\b\x1b" + "x" * 5000,
    ],
)
def test_a_copy_that_is_not_there_or_lies_elsewhere_is_not_linked(cycle, files, sql, path):
    (files[0].parents[4] / "secret.ipynb").write_text("{}")
    note_copy(sql, path)

    shown = board()._repr_html_()

    assert shown.count("href=") == 0  # the notebook of this test's process lies nowhere
    assert [step.executed_path for step in board().steps] == [None, None, None]


@pytest.mark.parametrize("time", ["'infinity'", "'-infinity'", "NULL", "now() + '1 year'"])
def test_times_that_make_no_sense_do_no_harm(cycle, sql, time):
    for column in ("submitted_ts", "completed_ts", "updated_ts", "moodys_started_ts"):
        sql.execute(f"UPDATE irp_job SET {column} = {time}")
    assert "3 running" in str(jobs_of("3.6"))


def test_the_board_shows_what_waits_how_forecasts_did_and_how_moodys_is_asked(cycle, sql):
    sql.execute(
        """INSERT INTO irp_poll_family (family, at_once, per_second, learned_ts, search_problem,
               search_problem_ts)
           VALUES ('geohaz', 24, NULL, now() - interval '2 h', 'It left out 2 jobs.', now())"""
    )
    sql.execute(
        """INSERT INTO irp_forecast (batch_id, activation_num, hour_ts, stage, samples, low_ts,
               median_ts, high_ts, drawn_low_ts, drawn_high_ts, ended_ts)
           SELECT 1, 1, at, 0, 40, at, at, at + n * interval '1 m', at, at, at + interval '2 m'
           FROM generate_series(1, 10) AS n,
                LATERAL (SELECT now() - n * interval '1 h' AS at) AS a"""
    )
    shown = str(board())
    assert "Of the last 10 forecasts 90 % held; 80 % should." in shown
    assert "How Moody's is asked: 1 family; of 1 no job is searched for" in shown
    assert "Batch 1 (GeoHaz, step 3.6 of Q1): 1 of 6 jobs has failed so far" in shown
    assert "It left out 2 jobs." in board()._repr_html_()


def test_a_next_step_that_is_held_says_what_it_waits_for(cycle, sql):
    sql.execute(
        """INSERT INTO irp_batch (step_id, batch_type, status, activation_num, completed_ts)
           SELECT step_id, 'GeoHaz', 'COMPLETED', 1, now() FROM irp_batch WHERE id = 1"""
    )
    sql.execute(
        """INSERT INTO irp_chain_run (batch_id, activation_num, stage_num, from_step_num,
               next_step_num, next_step_id)
           SELECT 3, activation_num, 3, 6, 7, (SELECT id FROM irp_step WHERE step_num = 7)
           FROM irp_batch WHERE id = 3"""
    )
    shown = str(board())
    assert "▲ held" in shown
    assert "waits for batch 1 (ACTIVE)" in shown


def test_skipped_jobs_do_not_count(cycle, sql):
    sql.execute("UPDATE irp_job SET skipped = true WHERE status = 'FAILED'")
    assert "failed" not in str(board())


def test_looking_changes_nothing(cycle, sql, moodys):
    tables = ("irp_batch", "irp_job", "irp_chain_run", "irp_notification", "irp_monitor_run")
    before = [sql.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in tables]
    board()
    night_history()
    after = [sql.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in tables]
    assert after == before
    assert moodys.statistics()["requests_total"] == 0


def test_a_night_is_reported_from_the_metastore_alone(cycle, sql):
    sql.execute(
        """INSERT INTO irp_step_run (step_id, run_num, status, started_ts, completed_ts)
           SELECT id, 1, 'COMPLETED', now() - interval '2 hours', now() FROM irp_step LIMIT 1"""
    )
    shown = str(night_history())
    assert "GeoHaz 1" in shown
    assert "2 × a job finished, 1 × a job failed" in shown
    assert "monitoring was off once" in shown


def test_the_jobs_of_a_batch_are_folded_into_its_lane(cycle, sql):
    sql.execute(
        """UPDATE irp_job SET submitted_ts = now() - interval '1 h' WHERE batch_id = 1;
           UPDATE irp_job_configuration SET job_configuration_data = '{"edm": "CAL <EQ>"}'
           WHERE id = 4"""
    )
    html = night_history()._repr_html_()
    assert html.count('<details class="parts"') == 1
    assert "CAL &lt;EQ&gt;" in html
    sql.execute(
        """INSERT INTO irp_job (batch_id, status, submitted_ts, completed_ts)
           SELECT 1, 'FINISHED', now() - interval '2 min', now() FROM generate_series(1, 500)"""
    )
    html = night_history()._repr_html_()
    assert "CAL &lt;EQ&gt;" in html  # what failed is drawn, however many there are
    assert "… and 466 more." in html
    assert len(html) < 60_000


def test_before_anything_was_submitted_nothing_is_missed(metastore):
    assert list(night_history().gaps) == []


def test_passes_close_the_gap(cycle, sql):
    sql.execute(
        """INSERT INTO irp_monitor_run
               (started_ts, finished_ts, host, pid, package_version, started_by)
           SELECT at, at, 'h', 1, 'v', 'p'
           FROM generate_series(now() - interval '13 hours', now(), interval '1 minute') AS at"""
    )
    assert list(night_history().gaps) == []


def test_a_time_of_day_is_the_last_one(cycle):
    now = night_history().now_ts
    assert now - timedelta(days=1) <= night_history("18:00").since_ts <= now
    for odd in ("evening", "25:00", "18", ""):
        with pytest.raises(SettingsError, match="not a time of day"):
            night_history(odd)


def test_the_command_prints_text_or_writes_a_page(cycle, tmp_path, capsys):
    assert main(["--since", "00:00", "--jobs", "3.6"]) == 0
    assert "Jobs of 3.6 GeoHaz (Q1): 1 failed, 3 running, 2 finished." in capsys.readouterr().out

    path = tmp_path / "board.html"
    assert main(["--since", "00:00", "--html", str(path)]) == 0
    html = path.read_text()
    assert html.startswith("<!doctype html>")
    assert "<svg" in html

    command = [sys.executable, "-m", "helpers.board", "--since", "noon"]
    refused = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "not a time of day" in refused.stderr


def test_the_notebook_shows_the_board(cycle, workflows, tmp_path):
    outcome = NotebookRun(NOTEBOOK, tmp_path / "executed.ipynb", timeout_seconds=120).execute()
    assert outcome.error is None
    shown = texts_of(tmp_path / "executed.ipynb")
    assert "3 jobs of GeoHaz hold step 3.7" in shown
    assert "Jobs of 3.6 GeoHaz (Q1): 1 failed, 3 running, 2 finished." in shown
    assert "<svg" in shown

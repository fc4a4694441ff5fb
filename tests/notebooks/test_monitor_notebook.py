"""The monitor's notebook, executed as people, cron and the scheduler execute it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from helpers.constants import BatchType, JobStatus
from helpers.notebooks.run import NotebookOutcome, NotebookRun
from helpers.settings import PROJECT_DIR
from sandbox.misbehaviour import Fault
from sandbox.seeding import PreparedJob, add_cycle
from tests.support.notebooks import step_notebook, texts_of
from tests.support.passes import active_batch, finished_batch, rows, running

MONITOR = PROJECT_DIR / "workflows" / "_Tools" / "Batch Management" / "Monitor Active Jobs.ipynb"
CYCLE = "Q1 <script>alert('x')</script> & Co"


def nbconvert(source: Path, *, folder: Path, output_dir: Path) -> Path:
    """Execute a notebook as the command line does, from another folder; return the copy."""
    command = [
        *(sys.executable, "-m", "jupyter", "nbconvert", "--to", "notebook", "--execute"),
        *("--output-dir", str(output_dir), "--output", "executed.ipynb", str(source)),
    ]
    done = subprocess.run(
        command, check=False, cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return output_dir / "executed.ipynb"


def run(source: Path, tmp_path: Path) -> NotebookOutcome:
    return NotebookRun(source, tmp_path / "executed.ipynb", timeout_seconds=120).execute()


def outputs(executed: Path) -> list[nbformat.NotebookNode]:
    notebook = nbformat.read(executed, as_version=4)
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def test_on_everything_at_once_from_another_folder(
    metastore, workflows, moodys, teams, sql, tmp_path
):
    before = MONITOR.read_bytes()
    cycle = add_cycle(CYCLE)
    done = active_batch(cycle, BatchType.MRI_IMPORT, [running(moodys, "import", "FINISHED")])
    reason = "no <b>hazard</b> data"
    failed = active_batch(
        cycle, BatchType.EDM_CREATION, [running(moodys, "riskdata", "FAILED", reason=reason)]
    )
    lost = PreparedJob(JobStatus.QUEUED, "404404")
    active_batch(cycle, BatchType.GEOHAZ, [running(moodys, "geohaz"), lost])
    step_notebook(
        workflows, "print('chained')", cycle=CYCLE.replace("/", ""), stage_num=3, step_num=4
    )
    other = finished_batch(cycle, BatchType.ANALYSIS)

    executed = nbconvert(MONITOR, folder=tmp_path, output_dir=tmp_path / "out")

    assert MONITOR.read_bytes() == before
    shown = outputs(executed)
    assert [output.output_type for output in shown if "text/html" in output.get("data", {})] == [
        "execute_result"
    ] * 5
    html = "".join(output.data["text/html"] for output in shown if "text/html" in output.data)
    assert "<script" not in html
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; Co" in html
    assert "no &lt;b&gt;hazard&lt;/b&gt; data" in html
    text = shown[-1].data["text/plain"]
    for metric, value in (
        ("batches found", "4"),
        ("batches processed", "4"),
        ("batches completed", "2"),
        ("batches failed", "1"),
        ("jobs polled", "4 (1 without an answer)"),
        ("status transitions", "3"),
        ("cards sent", "3"),  # the failed batch, and two steps without a notebook
    ):
        assert re.search(rf"^  {metric}\s+{re.escape(value)}$", text, re.MULTILINE), metric
    assert re.search(r"^  chain executions\s+\d", text, re.MULTILINE)
    assert re.search(r"^  errors\s+[1-9]", text, re.MULTILINE)
    assert re.search(r"^  next run\s+(\d\d? \w{3} )?\d\d:\d\d$", text, re.MULTILINE)
    assert re.search(r"^  started\s+\d\d:\d\d, took \d", text, re.MULTILINE)
    assert len(re.findall(r"Times are \w+", text)) == 1
    assert "does not know job 404404" in text
    statuses = dict(rows(sql, "SELECT id, status::text FROM irp_batch"))
    assert [statuses[b.batch_id] for b in (done, failed, other)] == [
        "COMPLETED",
        "FAILED",
        "COMPLETED",
    ]
    assert rows(sql, "SELECT started_by FROM irp_monitor_run") == [("notebook",)]


def test_as_the_schedulers_copy_on_an_empty_metastore(metastore, workflows, teams, sql, tmp_path):
    staging = tmp_path / "scheduler_staging_area" / "6f2c1b7e-9a5d"
    staging.mkdir(parents=True)
    copy = Path(shutil.copy(MONITOR, staging / "Monitor Active Jobs-2025-03-01-12-00.ipynb"))

    outcome = run(copy, tmp_path)

    assert (outcome.error, outcome.stdout, outcome.stderr) == (None, "", "")
    text = texts_of(outcome.executed_path)
    assert "Nothing to do: no batch is active in an active cycle." in text
    assert "Nothing to watch: there is no cycle yet." in text
    assert rows(sql, "SELECT started_by, jsonb_array_length(errors) FROM irp_monitor_run") == [
        ("scheduled notebook", 0)
    ]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (None, "SettingsError: No database is configured. Set DATABASE_URL"),
        (
            "postgresql://u:s3cret-word@127.0.0.1:1/x",
            "DatabaseUnavailableError: The database cannot be reached",
        ),
    ],
)
def test_without_a_database_it_stops_at_once_with_one_message_and_no_traceback(
    tmp_path, monkeypatch, url, words
):
    if url:
        monkeypatch.setenv("DATABASE_URL", url)

    outcome = run(MONITOR, tmp_path)

    assert outcome.error.startswith("Cell 1")
    assert words in outcome.error
    [output] = outputs(outcome.executed_path)
    assert output.output_type == "error"
    assert len(output.traceback) == 1
    assert output.traceback[0].startswith(words)
    assert "s3cret" not in outcome.executed_path.read_text()


def test_a_fault_of_one_item_is_shown_in_its_section_and_the_notebook_runs_through(
    metastore, workflows, moodys, teams, tmp_path
):
    moodys.misbehave(Fault.HTTP_STATUS, http_status=401)
    active_batch(add_cycle("Q1"), BatchType.GEOHAZ, [running(moodys, "geohaz")])

    outcome = run(MONITOR, tmp_path)

    assert outcome.error is None
    text = texts_of(outcome.executed_path)
    assert "refuses the credentials (401)" in text
    assert "No step was started, because it would fail as well" in text
    assert moodys.access.api_key not in text

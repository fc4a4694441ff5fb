"""The seventeen stage notebooks, each in a fresh kernel, on one cycle that they bring to its end.

The cycle is run once, as an analyst does: its lists lie in the folder ``data``, and each stage
begins when what it names is there. Between the notebooks Moody's goes on and a pass decides. Some
notebooks run a second time. The tests look at what came of it.
"""

import csv
import re
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from helpers.batch import choose_batch
from helpers.constants import BatchType
from helpers.database import close_pools
from helpers.monitor import Monitor
from helpers.notebook_executor import execute_next_step
from helpers.records import NotebookResult
from helpers.settings import PROJECT_DIR, get_settings
from helpers.text import counted
from sandbox.demo_cycle import (
    CYCLE_NAME,
    FAILING_ANALYSIS,
    FAILURE,
    LISTS,
    cycle_folder,
    prepare_cycle,
)
from sandbox.moodys import MoodysStandIn
from sandbox.moodys_jobs import Script
from sandbox.moodys_world import Received
from sandbox.postgres import drop_database, recreate_database
from tests.support.notebooks import texts_of

TEMPLATE = PROJECT_DIR / "workflows" / "_Template" / "notebooks"
NOTEBOOKS = sorted(path.relative_to(TEMPLATE) for path in TEMPLATE.glob("Stage_*/Step_*.ipynb"))
SUMMARIES = {"02/02", "03/08", "04/02", "05/03", "06/02"}
WORK = {"02/01", "03/07"}
SUBMITTING = {
    "03/01": (BatchType.EDM_CREATION, 3),
    "03/02": (BatchType.PORTFOLIO_CREATION, 6),
    "03/03": (BatchType.MRI_IMPORT, 6),
    "03/04": (BatchType.REINSURANCE_TREATIES, 3),
    "03/05": (BatchType.EDM_DB_UPGRADE, 3),
    "03/06": (BatchType.GEOHAZ, 6),
    "04/01": (BatchType.ANALYSIS, 12),
    "05/01": (BatchType.GROUPING, 3),
    "05/02": (BatchType.GROUPING_ROLLUP, 1),
    "06/01": (BatchType.EXPORT_TO_RDM, 3),
}
ANALYSES = [
    row["job_name"] for row in csv.DictReader((LISTS / "analyses.csv").read_text().splitlines())
]
KERNELS = 2  # at once


def key(path: Path) -> str:
    """Return ``03/01`` for the notebook of that step."""
    return f"{path.parent.name[6:8]}/{path.name[5:7]}"


@dataclass
class World:
    """The cycle, and how its notebooks ran."""

    database: str
    notebooks: dict[str, Path]
    submissions: list[Received] = field(default_factory=list)
    first: dict[str, NotebookResult] = field(default_factory=dict)
    second: dict[str, NotebookResult] = field(default_factory=dict)
    submitted_by_second: int = 0

    def run(self, keys: Iterable[str]) -> dict[str, NotebookResult]:
        names = sorted(keys)
        with ThreadPoolExecutor(KERNELS) as pool:
            results = pool.map(lambda name: execute_next_step(self.notebooks[name]), names)
            return dict(zip(names, results, strict=True))

    def shown(self, name: str) -> str:
        return texts_of(self.first[name]["executed_path"])

    def ask(self, query: str) -> list[tuple]:
        with psycopg.connect(self.database) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture(scope="module")
def world(server_url, template, tmp_path_factory) -> Iterator[World]:
    workflows = tmp_path_factory.mktemp("stages") / "workflows"
    with pytest.MonkeyPatch.context() as patch, MoodysStandIn(time_scale=0.001) as moodys:
        for variable, value in moodys.environment().items():
            patch.setenv(variable, value)
        name = f"stages_{uuid4().hex[:12]}"
        database = recreate_database(server_url, name, template=template)
        patch.setenv("DATABASE_URL", database)
        patch.setenv("IRP_WORKFLOWS_DIR", str(workflows))
        patch.setenv("PYTHON_DOTENV_DISABLED", "1")
        get_settings.cache_clear()
        prepare(workflows)
        moodys.script(Script((), end="FAILED", reason=FAILURE), name=FAILING_ANALYSIS, times=1)
        paths = workflows.glob("Active_*/notebooks/Stage_*/Step_*.ipynb")
        made = World(database, {key(path): path for path in paths}, moodys.submissions)
        live(made, moodys)
        close_pools()
        yield made
    get_settings.cache_clear()
    drop_database(server_url, name)


def prepare(workflows: Path) -> None:
    """Prepare the demo's cycle, with a file to extract that is missing, and a part to map too."""
    shutil.copytree(TEMPLATE.parent, workflows / "_Template")
    prepare_cycle()
    data = cycle_folder() / "data"
    (data / "exposure.csv").write_text("location,tiv\nA,100.5\nB,200\n")
    (data / "extraction.csv").write_text("file,value_column\nexposure.csv,tiv\nmissing.csv,tiv\n")
    with (data / "mappings.csv").open("a") as mappings:
        mappings.write("Odd,CA Commercial; Nowhere\n")


def live(world: World, moodys: MoodysStandIn) -> None:
    """Run the cycle."""

    def go_on(*names: str) -> None:
        world.first |= world.run(names)
        decide(moodys)

    go_on("03/01", "02/01")
    for name in ("03/02", "03/03", "03/04", "03/05", "03/06"):
        go_on(name)
    world.first |= world.run({"03/07", "04/01"})
    submitted = len(moodys.submissions)
    world.second |= world.run({"04/01"})  # while its batch is ACTIVE
    decide(moodys)
    world.first |= world.run({"04/02"})
    [(analyses,)] = world.ask("SELECT id FROM irp_batch WHERE batch_type = 'Analysis'")
    choose_batch(analyses).plan_resubmit(FAILING_ANALYSIS).apply(reason="The EDM is free again")
    assert len(moodys.submissions) == submitted + 1
    decide(moodys)
    go_on("05/01", "06/01")
    go_on("05/02")
    world.first |= world.run(SUMMARIES - {"04/02"})
    before = len(moodys.submissions)
    world.second |= world.run({"02/01", "03/02"})  # whose batches have ended
    world.submitted_by_second = len(moodys.submissions) - before


def decide(moodys: MoodysStandIn) -> None:
    """Let the jobs at Moody's end, and let a pass see it."""
    moodys.advance(60)
    monitor = Monitor()
    monitor.find_batches()
    monitor.poll_jobs()
    monitor.reconcile_batches()


def test_the_tables_of_this_test_cover_every_notebook():
    assert SUMMARIES | WORK | SUBMITTING.keys() == {key(path) for path in NOTEBOOKS}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=key)
def test_it_finds_its_step_and_runs_through_in_a_fresh_kernel(world, path):
    name = key(path)
    result = world.first[name]
    stage, step = int(name[:2]), int(name[3:])

    assert (result["error"], result["success"], result["stderr"]) == (None, True, "")
    words = [part.split("_", 2)[2].replace("_", " ") for part in (path.parent.name, path.stem)]
    where = f"{CYCLE_NAME}: stage {stage} {words[0]}, step {step} {words[1]}"
    assert where in world.shown(name)
    assert result["executed_path"].parent.name == "runs"
    assert (TEMPLATE / path).read_bytes() == world.notebooks[name].read_bytes()


@pytest.mark.parametrize("name", sorted(SUBMITTING))
def test_a_submitting_notebook_submits_its_prepared_batch(world, name):
    batch_type, jobs = SUBMITTING[name]
    [(count, requested)] = world.ask(
        "SELECT count(*), count(job.submission_response) FROM irp_job AS job "
        f"JOIN irp_batch AS batch ON batch.id = batch_id WHERE batch_type = '{batch_type}'"
    )

    resubmitted = name == "04/01"
    assert (count, requested) == (jobs + resubmitted, jobs + resubmitted)
    assert f"{counted(jobs, 'job')} submitted." in world.shown(name)


def test_each_row_of_the_lists_was_sent_to_moodys_once(world):
    names = [received.name for received in world.submissions]
    assert sorted(names.count(name) for name in set(ANALYSES) - {FAILING_ANALYSIS}) == [1] * 11
    assert names.count(FAILING_ANALYSIS) == 2  # and once more when it was resubmitted
    assert world.submitted_by_second == 0


def test_running_a_notebook_again_prepares_submits_and_does_nothing_twice(world):
    shown = {name: texts_of(result["executed_path"]) for name, result in world.second.items()}

    assert "holds these 12 already" in shown["04/01"]
    assert re.search(r"● ACTIVE +0 +0 +12\n|✔ COMPLETED +0 +0 +12\n", shown["04/01"])
    for name in ("02/01", "03/02"):
        assert "'created': False" in shown[name]
        assert "this step has no prepared batch." in shown[name]
    assert {result["error"] for result in world.second.values()} == {None}


def test_the_extraction_sums_its_files_and_fails_where_one_is_missing(world):
    assert "1 job done, 1 failed." in world.shown("02/01")
    totals = world.shown("02/02")
    assert "rows: 2" in totals
    assert "total_insured_value: 300.5" in totals
    assert "FileNotFoundError" in totals
    assert "missing.csv" in totals
    assert "1 of 2 jobs finished, 1 did not succeed." in totals


def test_the_mapping_checks_what_was_created_in_this_cycle(world):
    shown = world.shown("03/07")
    assert "2 jobs done, 1 failed." in shown
    assert "LookupError: not created in step 2: Nowhere" in shown
    totals = world.shown("03/08")
    assert "mapped: 6" in totals
    assert "✖ FAILED  Odd" in totals
    assert "not created in step 2: Nowhere" in totals


def test_the_analysis_summary_shows_what_failed_and_why_and_how_long_it_took(world):
    shown = world.shown("04/02")
    assert "11 of 12 jobs finished, 1 did not succeed." in shown
    assert re.search(
        rf"✖ FAILED  {FAILING_ANALYSIS} \(Moody's [0-9]+\)\n +{re.escape(FAILURE)}\n", shown
    )
    assert "Longest job" in shown


@pytest.mark.parametrize(("name", "jobs"), [("05/03", 4), ("06/02", 3)])
def test_the_other_summaries_show_that_all_finished(world, name, jobs):
    assert f"{jobs} of {jobs} jobs finished." in world.shown(name)


def test_each_run_is_logged_with_its_executed_copy(world):
    runs = world.ask(
        "SELECT status::text, count(*), count(output_data ->> 'executed_notebook') "
        "FROM irp_step_run GROUP BY 1"
    )
    assert runs == [("COMPLETED", 20, 20)]
    copies = world.notebooks["03/01"].parents[2] / "runs"
    assert len(list(copies.iterdir())) == 20

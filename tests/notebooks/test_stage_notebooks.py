"""The seventeen stage notebooks, each in a fresh kernel, on one cycle that they bring to its end.

The cycle is run once: the notebooks that submit or do work, then what Moody's does and a pass
that decides, then the summaries, and some notebooks a second time. The tests look at what came
of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from helpers.constants import BatchType
from helpers.database import close_pools
from helpers.monitor import Monitor
from helpers.notebook_executor import execute_next_step
from helpers.records import NotebookResult
from helpers.settings import PROJECT_DIR, get_settings
from sandbox.demo_cycle import CYCLE_NAME, FAILING_ANALYSES, prepare_cycle
from sandbox.moodys import MoodysStandIn
from sandbox.moodys_jobs import Script
from sandbox.postgres import drop_database, recreate_database
from sandbox.seeding import PreparedJob, add_batch, add_step
from tests.support.notebooks import texts_of

TEMPLATE = PROJECT_DIR / "workflows" / "_Template" / "notebooks"
NOTEBOOKS = sorted(path.relative_to(TEMPLATE) for path in TEMPLATE.glob("Stage_*/Step_*.ipynb"))
SUMMARIES = {"02/02", "03/08", "04/02", "05/03", "06/02"}
WORK = {"02/01", "03/07"}
SUBMITTING = {
    "03/01": (BatchType.EDM_CREATION, 4),
    "03/02": (BatchType.PORTFOLIO_CREATION, 6),
    "03/03": (BatchType.MRI_IMPORT, 6),
    "03/04": (BatchType.REINSURANCE_TREATIES, 4),
    "03/05": (BatchType.EDM_DB_UPGRADE, 4),
    "03/06": (BatchType.GEOHAZ, 6),
    "04/01": (BatchType.ANALYSIS, 18),
    "05/01": (BatchType.GROUPING, 4),
    "05/02": (BatchType.GROUPING_ROLLUP, 2),
    "06/01": (BatchType.EXPORT_TO_RDM, 3),
}
KERNELS = 2  # at once


def key(path: Path) -> str:
    """Return ``03/01`` for the notebook of that step."""
    return f"{path.parent.name[6:8]}/{path.name[5:7]}"


@dataclass
class World:
    """The cycle, and how its notebooks ran."""

    database: str
    notebooks: dict[str, Path]
    submissions: list[str] = field(default_factory=list)  # the paths that Moody's was sent
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
        for analysis, reason in FAILING_ANALYSES.items():
            moodys.script(Script((), end="FAILED", reason=reason), name=analysis)
        paths = workflows.glob("Active_*/notebooks/Stage_*/Step_*.ipynb")
        made = World(database, {key(path): path for path in paths})
        live(made, moodys)
        close_pools()
        yield made
    get_settings.cache_clear()
    drop_database(server_url, name)


def prepare(workflows: Path) -> None:
    """Prepare the demo's cycle, a stage 2 with data, and a mapping that misses a part."""
    prepare_cycle(TEMPLATE, workflows)
    data = workflows / f"Active_{CYCLE_NAME}" / "data"
    data.mkdir()
    (data / "exposure.csv").write_text("location,tiv\nA,100.5\nB,200\n")
    with psycopg.connect(get_settings().database_url.get_secret_value()) as connection:
        [(cycle,)] = connection.execute("SELECT id FROM irp_cycle").fetchall()
        [(mapping,)] = connection.execute(
            "SELECT id FROM irp_step WHERE step_name = 'Portfolio Mapping'"
        ).fetchall()
    names = [("Data Extraction", "Extract Data"), ("Data Extraction", "Control Totals")]
    steps = [
        add_step(cycle, stage_num=2, stage_name=stage, step_num=n, step_name=step)
        for n, (stage, step) in enumerate(names, 1)
    ]
    files = [
        PreparedJob(configuration={"file": file, "value_column": "tiv"})
        for file in ("exposure.csv", "missing.csv")
    ]
    add_batch(steps[0], BatchType.DATA_EXTRACTION, files)
    parts = {"portfolio": "Odd", "mapped_from": ["Commercial", "Nowhere"]}
    add_batch(mapping, BatchType.PORTFOLIO_MAPPING, [PreparedJob(configuration=parts)])


def live(world: World, moodys: MoodysStandIn) -> None:
    """Run the cycle."""
    world.first |= world.run({"03/02"})  # the mapping asks for what it creates
    world.first |= world.run((SUBMITTING.keys() | WORK) - {"03/02"})
    world.submissions = [received.path for received in moodys.submissions]
    before = len(moodys.submissions)
    world.second |= world.run({"04/01", "02/01"})  # while their batches are ACTIVE
    moodys.advance(60)
    monitor = Monitor()
    monitor.find_batches()
    monitor.poll_jobs()
    monitor.reconcile_batches()
    world.first |= world.run(SUMMARIES)
    world.second |= world.run({"03/02"})  # whose batch has ended
    world.submitted_by_second = len(moodys.submissions) - before


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

    assert (count, requested) == (jobs, jobs)
    assert f"{jobs} jobs submitted." in world.shown(name)


def test_every_prepared_request_was_sent_to_moodys_once(world):
    assert len(world.submissions) == sum(jobs for _, jobs in SUBMITTING.values())
    assert world.submitted_by_second == 0


def test_running_a_notebook_again_submits_and_does_nothing_twice(world):
    shown = {name: texts_of(result["executed_path"]) for name, result in world.second.items()}

    assert re.search(r"● ACTIVE +0 +0 +18\n|✔ COMPLETED +0 +0 +18\n", shown["04/01"])
    assert "0 jobs done." in shown["02/01"]
    assert "Nothing was submitted: this step has no prepared batch." in shown["03/02"]
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
    assert "3 jobs done, 1 failed." in shown
    assert "LookupError: not created in step 2: Nowhere" in shown
    totals = world.shown("03/08")
    assert "mapped: 12" in totals
    assert "✖ FAILED  Odd" in totals
    assert "not created in step 2: Nowhere" in totals


def test_the_analysis_summary_shows_what_failed_and_why_and_how_long_it_took(world):
    shown = world.shown("04/02")
    assert "16 of 18 jobs finished, 2 did not succeed." in shown
    for name, reason in FAILING_ANALYSES.items():
        assert re.search(
            rf"✖ FAILED  {re.escape(name)} \(Moody's [0-9]+\)\n +{re.escape(reason)}\n", shown
        )
    assert "Longest job" in shown


@pytest.mark.parametrize(("name", "jobs"), [("05/03", 6), ("06/02", 3)])
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

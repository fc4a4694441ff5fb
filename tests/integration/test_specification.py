"""The examples of docs/specification.md do what the document says, each and in its order."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from helpers.constants import BatchStatus, BatchType, JobStatus
from helpers.errors import JobError
from helpers.irp_integration import IRPClient
from helpers.irp_integration.client import job_reader
from helpers.settings import PROJECT_DIR, get_settings
from sandbox.moodys import MoodysStandIn
from sandbox.seeding import PreparedJob, SeededBatch, add_batch, add_cycle, add_step
from tests.support.notebooks import step_notebook

CYCLE = "Analysis-2025-Q1"
DOCUMENT = (PROJECT_DIR / "docs" / "specification.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)


@dataclass
class World:
    """What the examples find: a batch whose jobs have finished, and one that still runs."""

    done: SeededBatch
    running: SeededBatch
    notebook: Path


@pytest.fixture
def world(metastore, workflows, monkeypatch) -> World:
    with MoodysStandIn() as moodys:
        for name, value in moodys.environment().items():
            monkeypatch.setenv(name, value)
        get_settings.cache_clear()
        cycle = add_cycle(CYCLE)
        imports = [
            PreparedJob(JobStatus.RUNNING, str(moodys.add_job("import", status="FINISHED")))
            for _ in range(3)
        ]
        analyses = [PreparedJob(JobStatus.QUEUED, str(moodys.add_job("model", status="RUNNING")))]
        done = add_batch(
            add_step(cycle, stage_num=3, step_num=3),
            BatchType.MRI_IMPORT,
            imports,
            status=BatchStatus.ACTIVE,
        )
        running = add_batch(
            add_step(cycle, stage_num=4, step_num=1),
            BatchType.ANALYSIS,
            analyses,
            status=BatchStatus.ACTIVE,
        )
        add_step(cycle, stage_num=3, step_num=4)
        place = {"cycle": CYCLE, "stage_num": 3, "step_num": 4}
        notebook = step_notebook(workflows, "print('treaties created')", **place)
        yield World(done, running, notebook)


def _found(names: dict[str, Any], world: World) -> None:
    found = {batch["batch_id"]: batch for batch in names["batches"]}
    assert set(found) == {world.done.batch_id, world.running.batch_id}
    assert {"batch_id", "batch_type", "submitted_ts"} <= set(found[world.done.batch_id])


def _polled(names: dict[str, Any], world: World) -> None:
    assert [job["id"] for job in names["jobs"]] == world.done.job_ids
    assert names["new_status"] == "FINISHED"


def _reconciled(names: dict[str, Any], world: World) -> None:
    assert names["final_status"] == "COMPLETED"


def _chained(names: dict[str, Any], world: World) -> None:
    assert names["result"]["success"] is True
    assert names["result"]["stdout"] == "treaties created\n"


def _tracked(names: dict[str, Any], world: World) -> None:
    assert names["status"] == "RUNNING"


def _informed(names: dict[str, Any], world: World) -> None:
    assert names["info"] == {
        "cycle_name": CYCLE,
        "stage_num": 3,
        "step_num": 4,
        "notebook_path": world.notebook.resolve(),
    }


def _executed(names: dict[str, Any], world: World) -> None:
    result = names["result"]
    assert result["success"] is True
    assert result["notebook_path"] == world.notebook
    assert result["execution_time"] > 0
    assert (result["stdout"], result["stderr"]) == ("treaties created\n", "")
    assert result["error"] is None


def _errors_collected(names: dict[str, Any], world: World) -> None:
    assert names["errors"] == [f"Job {2**31 - 1}: There is no job {2**31 - 1} in the metastore."]


CHECKS: list[Callable[[dict[str, Any], World], None]] = [
    _found,
    _polled,
    _reconciled,
    _chained,
    _tracked,
    _informed,
    _executed,
    _errors_collected,
]


def test_every_example_of_the_specification_does_what_it_says(world):
    assert len(EXAMPLES) == len(CHECKS), "an example has no check"
    names: dict[str, Any] = {
        "batch_id": world.done.batch_id,
        "batch_type": "MRI Import",
        "job_id": world.running.job_ids[0],
        "notebook_path": world.notebook,
        "errors": [],
        "JobError": JobError,
    }
    with IRPClient() as irp_client:
        names["irp_client"] = irp_client
        for example, check in zip(EXAMPLES, CHECKS, strict=True):
            if check is _tracked:
                names["batch_type"] = "Analysis"
            if check is _errors_collected:
                names["jobs"] = [{"id": 2**31 - 1}, {"id": world.running.job_ids[0]}]
            exec(compile(example, "docs/specification.md", "exec"), names)
            check(names, world)
        if names["irp_client"] is not irp_client:
            names["irp_client"].transport.close()


def _table(heading: str) -> list[list[str]]:
    section = DOCUMENT.split(heading, 1)[1]
    lines = re.search(r"((?:^\|.*\n)+)", section, re.MULTILINE)[1].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize(("label", "call"), _table("**API Calls by Batch Type:**"))
def test_each_batch_type_is_polled_by_the_call_of_the_table(label, call):
    part, method = re.fullmatch(r"`irp_client\.(\w+)\.(\w+)\(\)`", call).groups()

    client = Mock()
    assert job_reader(client, BatchType(label).family) is getattr(getattr(client, part), method)


@pytest.mark.parametrize(
    ("signature", "module"),
    [
        (row[0], module)
        for module in ("job", "batch", "step_chain", "notebook_executor")
        for row in _table(f"(`helpers.{module}`)")
    ],
)
def test_each_key_function_has_the_parameters_of_the_table(signature, module):
    name, parameters = re.fullmatch(r"`(\w+)\((.*)\)`", signature).groups()
    function = getattr(importlib.import_module(f"helpers.{module}"), name)
    wanted = [p.strip() for p in parameters.split(",") if p.strip()]

    assert list(inspect.signature(function).parameters)[: len(wanted)] == wanted

"""docs/reference.md: its examples do what it shows, its signatures and tables are the code's."""

import doctest
import importlib
import inspect
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from helpers import errors
from helpers.constants import BatchStatus, BatchType, JobStatus
from helpers.display import Report
from helpers.irp_integration import IRPClient
from helpers.irp_integration.client import job_reader
from helpers.settings import PROJECT_DIR, get_settings
from helpers.stage import StepNotebook
from helpers.steps.execution import STEP_ID_VARIABLE
from helpers.steps.rules import CHAIN_RULES
from sandbox.moodys import MoodysStandIn
from sandbox.seeding import PreparedJob, add_batch, add_cycle, add_step
from tests.support.notebooks import write_notebook

CYCLE = "Quake-2026"
PATH = PROJECT_DIR / "docs" / "reference.md"
DOCUMENT = PATH.read_text(encoding="utf-8")
MODULES = [
    *("job", "batch", "step_chain", "notebook_executor", "stage", "cycle", "monitor", "board"),
]
GROUPING = {
    "method": "POST",
    "path": "/platform/grouping/v1/jobs",
    "json": {
        "resourceType": "analyses",
        "resourceUris": ["/platform/riskdata/v1/analyses/1"],
        "settings": {"analysisName": "All"},
    },
}


def analysis(name: str) -> dict:
    return {
        "method": "POST",
        "path": "/platform/model/v1/jobs",
        "json": {
            "resourceUri": "/platform/riskdata/v1/exposures/1/portfolios/1",
            "resourceType": "portfolio",
            "type": "DLM",
            "settings": {"name": name, "modelProfileId": 1},
        },
    }


@pytest.fixture
def world(
    metastore: str, workflows: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MoodysStandIn]:
    """The four batches that the document's first table shows."""
    shutil.copytree(
        PROJECT_DIR / "workflows" / "_Template", workflows / "_Template", dirs_exist_ok=True
    )
    with MoodysStandIn(time_scale=10_000) as moodys:  # what is submitted runs on
        for name, value in moodys.environment().items():
            monkeypatch.setenv(name, value)
        get_settings.cache_clear()
        fill(moodys, workflows, monkeypatch)
        yield moodys


def fill(moodys: MoodysStandIn, workflows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sent(family: str, here: JobStatus, there: str, configuration: dict) -> PreparedJob:
        moodys_id = str(moodys.add_job(family, status=there))
        request = analysis(configuration["analysis"]) if "analysis" in configuration else None
        return PreparedJob(here, moodys_id, request, configuration)

    edms = [
        sent("riskdata", JobStatus.RUNNING, "FINISHED", {"edm": name})
        for name in ("Coast", "Inland")
    ]
    analyses = [
        sent("model", JobStatus.QUEUED, "RUNNING", {"analysis": "Quake - Coast"}),
        sent("model", JobStatus.FAILED, "FAILED", {"analysis": "Quake - Inland"}),
    ]
    groups = [PreparedJob(request=GROUPING, configuration={"group": n}) for n in ("A", "B")]
    portfolios = [
        PreparedJob(configuration={"portfolio": name}) for name in ("Coast", "Inland", "Rivers")
    ]
    cycle = add_cycle(CYCLE)
    names = {(3, 2): "Create Portfolios", (3, 3): "Import Exposure"}
    steps = {
        location: add_step(
            cycle,
            stage_num=location[0],
            step_num=location[1],
            step_name=names.get(location, "Step"),
        )
        for location in [(3, 1), (3, 2), (3, 3), (4, 1), (5, 1)]
    }
    active = BatchStatus.ACTIVE
    add_batch(steps[3, 1], BatchType.EDM_CREATION, edms, status=active)
    add_batch(steps[4, 1], BatchType.ANALYSIS, analyses, status=active)
    add_batch(steps[5, 1], BatchType.GROUPING, groups)
    add_batch(steps[3, 2], BatchType.PORTFOLIO_CREATION, portfolios)
    folder = workflows / f"Active_{CYCLE}" / "notebooks" / "Stage_03_Data_Import"
    write_notebook(folder / "Step_02_Create_Portfolios.ipynb", "print('portfolios created')")
    write_notebook(folder / "Step_03_Import_Exposure.ipynb", "print('imported')")
    monkeypatch.setenv(STEP_ID_VARIABLE, str(steps[3, 2]))


def test_every_example_does_what_the_document_shows(world):
    parsed = doctest.DocTestParser().get_doctest(DOCUMENT, {}, PATH.name, str(PATH), 0)
    message: list[str] = []
    try:
        doctest.DocTestRunner(verbose=False).run(parsed, out=message.append, clear_globs=False)
    finally:
        parsed.globs["irp_client"].transport.close()
    assert not message, "".join(message)


def documented() -> list[str]:
    """The signatures that stand as headings."""
    return re.findall(r"^### `(\w[\w.]*\(.*\))`$", DOCUMENT, re.MULTILINE)


def public() -> list[str]:
    """The signatures of all public functions, and of the methods of what notebooks hold."""
    found = []
    for name in MODULES:
        module = importlib.import_module(f"helpers.{name}")
        for key in getattr(module, "__all__", public_names(module)):
            item = getattr(module, key)
            if inspect.isfunction(item):
                found.append(signature_of(key, item))
            if key in {"Monitor", "StepNotebook"}:
                found += methods_of(item)
    return found


def public_names(module: object) -> list[str]:
    return [
        key
        for key, item in vars(module).items()
        if inspect.isfunction(item) and item.__module__ == module.__name__ and key[0] != "_"
    ]


def methods_of(cls: type) -> list[str]:
    # A StepNotebook is made by open_step().
    own = [] if cls is StepNotebook else [signature_of(cls.__name__, cls.__init__)]
    return own + [
        signature_of(f"{cls.__name__}.{key}", item)
        for key, item in vars(cls).items()
        if inspect.isfunction(item) and not key.startswith("_") and not hasattr(Report, key)
    ]


def signature_of(name: str, function: Callable[..., object]) -> str:
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for key, parameter in inspect.signature(function).parameters.items()
        if key != "self"
    ]
    text = str(inspect.Signature(parameters))
    return name + re.sub(r"<class '[\w.]*?(\w+)'>", r"\1", text)


def test_every_public_function_is_documented_with_its_signature():
    assert sorted(documented()) == sorted(public())


def test_every_error_that_the_document_names_exists():
    named = set(re.findall(r"`(\w+Error)`", DOCUMENT))
    assert named <= set(vars(errors))


def table(heading: str) -> list[list[str]]:
    section = DOCUMENT.split(f"\n{heading}\n", 1)[1]
    lines = re.search(r"((?:^\|.*\n)+)", section, re.MULTILINE)[1].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_table_of_batch_types_is_the_codes():
    rows = table("### Batch types")
    assert [row[0] for row in rows] == [batch_type.value for batch_type in BatchType]
    polled = {BatchType(row[0]) for row in rows if row[2] != "synchronous"}
    assert polled == BatchType.polled()
    firsts = {(rule.stage_num, rule.step_num): rule.batch_type.value for rule in CHAIN_RULES}
    assert {row[0]: row[1] for row in rows} == {
        batch_type: f"{stage}, {step}" for (stage, step), batch_type in firsts.items()
    }


def test_each_call_of_the_table_is_the_one_that_reads_its_type(world):
    with IRPClient() as client:
        for label, _, call in table("### Batch types"):
            family = BatchType(label).family
            if family is not None:
                part, method = re.fullmatch(r"`irp_client\.(\w+)\.(\w+)\(\)`", call).groups()
                assert job_reader(client, family) == getattr(getattr(client, part), method)


def test_the_table_of_chain_rules_is_the_codes():
    rows = [
        [
            str(rule.stage_num),
            str(rule.step_num),
            rule.batch_type.value,
            str(rule.next_step_num),
            " or ".join(sorted(rule.fires_on)),
        ]
        for rule in CHAIN_RULES
    ]
    assert table("### Which step follows") == rows


def test_the_tables_of_the_metastore_have_the_columns_that_are_named(sql: psycopg.Connection):
    rows = sql.execute(
        "SELECT table_name, column_name FROM information_schema.columns "
        "WHERE table_schema = 'public'"
    ).fetchall()
    named = {
        (row[0].strip("`"), column)
        for row in table("## The metastore")
        for column in re.findall(r"`(\w+)`", row[2])
    }
    assert named <= set(rows)


def test_every_table_of_the_metastore_is_named(sql: psycopg.Connection):
    rows = sql.execute(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition "
        "AND relname LIKE 'irp%%' AND relnamespace = 'public'::regnamespace"
    ).fetchall()
    assert {row[0].strip("`") for row in table("## The metastore")} >= {row[0] for row in rows}

"""The notebooks as they lie in the project: thin, stripped, as the reference shows them."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

from helpers.constants import BatchStatus, ChainRunStatus, JobStatus, StepStatus
from helpers.settings import PROJECT_DIR
from helpers.steps.rules import CHAIN_RULES
from helpers.workflow_paths import _STAGE, _STEP, _number

WORKFLOWS = PROJECT_DIR / "workflows"
MONITOR = WORKFLOWS / "_Tools" / "Batch Management" / "Monitor Active Jobs.ipynb"
STAGES = sorted((WORKFLOWS / "_Template" / "notebooks").glob("Stage_*/Step_*.ipynb"))
STATUSES = {
    str(status)
    for statuses in (JobStatus, BatchStatus, StepStatus, ChainRunStatus)
    for status in statuses
}
SQL = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE)\b|\bcursor\b|\bpsycopg\b", re.IGNORECASE)
MOST_LINES = 8
START_HERE = PROJECT_DIR / "sandbox" / "Start here.ipynb"
every_notebook = pytest.mark.parametrize(
    "path", [MONITOR, *STAGES, START_HERE], ids=lambda path: path.stem
)


def cells(path: Path, kind: str) -> list[str]:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return [cell.source for cell in notebook.cells if cell.cell_type == kind]


def test_the_monitor_lies_where_the_reference_says_and_has_its_five_sections():
    document = (PROJECT_DIR / "docs" / "reference.md").read_text(encoding="utf-8")
    sections = re.findall(r"^\| (Section \d: .*) \| `(.*)` \|$", document, re.MULTILINE)
    headings = [heading for heading, _ in sections]
    assert len(headings) == 5
    assert [call for _, call in sections] == cells(MONITOR, "code")[1:]
    assert f"`{MONITOR.relative_to(PROJECT_DIR)}`" in document

    shown = [source.splitlines()[0] for source in cells(MONITOR, "markdown")]

    assert shown == ["# Monitor Active Jobs", *(f"## {heading}" for heading in headings)]


def test_each_section_of_the_monitor_is_one_call_and_nothing_else():
    sources = cells(MONITOR, "code")

    assert len(sources) == 6
    assert sources[0] == (
        "from batch_monitor import use_own_helpers\n\nuse_own_helpers()\n\n"
        "from helpers.monitor import Monitor\n\nmonitor = Monitor()"
    )
    for source in sources[1:]:
        assert re.fullmatch(r"monitor\.[a-z_]+\(\)", source)


@every_notebook
def test_a_cell_is_short_and_holds_no_machinery(path):
    for source in cells(path, "code"):
        assert len(source.splitlines()) <= MOST_LINES
        assert not SQL.search(source)
        nodes = list(ast.walk(ast.parse(source)))
        assert not [n for n in nodes if isinstance(n, ast.For | ast.While | ast.Try)]
        assert not STATUSES & set(re.findall(r"\w+", source))


@every_notebook
def test_outputs_are_stripped_and_no_other_machine_shows(path):
    notebook = nbformat.read(path, as_version=4)

    for cell in notebook.cells:
        assert cell.metadata == {}
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.metadata.language_info == {"name": "python"}


def test_every_step_of_the_workflow_has_one_notebook_and_rules_lead_to_notebooks():
    locations = [(_number(_STAGE, path.parent.name), _number(_STEP, path.name)) for path in STAGES]

    assert len(locations) == len(set(locations)) == 17
    led_to = {(rule.stage_num, rule.next_step_num) for rule in CHAIN_RULES}
    led_from = {(rule.stage_num, rule.step_num) for rule in CHAIN_RULES}
    assert led_to | led_from == set(locations)

"""Time comes from one place: ``irp_now()`` and ``irp_clock()`` in SQL, ``CLOCK`` in Python."""

import ast
import re
from pathlib import Path

import pytest

from helpers.database.named import sql_dir
from helpers.settings import PROJECT_DIR

RELEASED = "0009"  # migrations up to this one are never changed
ITS_OWN_CLOCK = {
    "0010_one_clock.sql": 2,  # the two functions themselves
    "check.sql": 1,  # is asked of a database that may not be migrated yet
}
OTHER_CLOCKS = re.compile(
    r"\b(?<!irp_)(now|clock_timestamp|statement_timestamp|transaction_timestamp|timeofday)\s*\("
    r"|\b(current_timestamp|current_date|current_time|localtimestamp|localtime)\b"
    r"|'(now|today|yesterday|tomorrow)'",
    re.IGNORECASE,
)
# These wait for real processes, whatever time it is for the rest.
BESIDE_PROCESSES = {f"notebooks/{name}.py" for name in ("watchdog", "kernel", "session")}
SQL = [
    *sorted((sql_dir() / "queries").glob("*.sql")),
    *(
        path
        for path in sorted((sql_dir() / "migrations").glob("*.sql"))
        if path.name > f"{RELEASED}~"
    ),
]
PYTHON = sorted((PROJECT_DIR / "helpers").rglob("*.py"))


def other_clocks(sql: str) -> list[str]:
    return [match[0] for match in OTHER_CLOCKS.finditer(re.sub(r"--.*", "", sql))]


@pytest.mark.parametrize("path", SQL, ids=lambda path: path.name)
def test_sql_reads_no_other_clock(path: Path):
    assert len(other_clocks(path.read_text())) == ITS_OWN_CLOCK.get(path.name, 0)


def clocks_read(source: str) -> set[str]:
    """Return what a module reads the time with, or waits with, beside ``CLOCK``."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found |= {name.name for name in names if name.name == "time"}
            case ast.ImportFrom(module="time"):
                found.add("time")
            case ast.Attribute(value=ast.Name(id="datetime" | "date"), attr=attr):
                found |= {attr} & {"now", "today", "utcnow"}
    return found


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(PROJECT_DIR)))
def test_python_reads_no_other_clock(path: Path):
    name = path.relative_to(PROJECT_DIR / "helpers").as_posix()

    assert bool(clocks_read(path.read_text())) == (name in {"clock.py", *BESIDE_PROCESSES})


@pytest.mark.parametrize(
    "sql",
    ["SELECT now()", "select NOW ( )", "DEFAULT CURRENT_TIMESTAMP", "clock_timestamp()", "'now'"],
)
def test_another_clock_in_sql_is_found(sql: str):
    assert other_clocks(sql)


@pytest.mark.parametrize("sql", ["irp_now() AS now_ts", "-- now()", "known(1)", "epoch AS now"])
def test_the_clock_itself_is_none(sql: str):
    assert not other_clocks(sql)


@pytest.mark.parametrize(
    "source",
    ["import time", "from time import sleep", "datetime.now(UTC)", "d = date.today()"],
)
def test_another_clock_in_python_is_found(source: str):
    assert clocks_read(source)

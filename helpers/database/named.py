"""The named queries of ``sql/queries``, one file per module that owns them.

SQL stands in those files and nowhere else. ``statements("batch").read_batch(connection, …)`` runs
one on a connection; everybody above this package asks ``queries`` (``querying``), which joins the
current transaction. Parameters are named, and rows are dicts.
"""

from functools import cache
from pathlib import Path
from typing import Any

import aiosql

from helpers.settings import PROJECT_DIR


def sql_dir() -> Path:
    """Return where the SQL lies: inside an installed wheel, else beside the package."""
    packaged = Path(__file__).resolve().parent.parent / "_sql"
    return packaged if packaged.is_dir() else PROJECT_DIR / "sql"


@cache
def statements(owner: str) -> Any:  # the methods are made from the SQL files
    """Return the queries of ``sql/queries/<owner>.sql`` as callables, by name."""
    return aiosql.from_path(sql_dir() / "queries" / f"{owner}.sql", "psycopg")

"""The named statements of ``statements.sql``: they fill a metastore to practise on."""

from functools import cache
from pathlib import Path
from typing import Any

import aiosql


@cache
def statements() -> Any:  # the methods are made from the SQL file
    """Return the statements as callables, by name."""
    return aiosql.from_path(Path(__file__).with_name("statements.sql"), "psycopg")

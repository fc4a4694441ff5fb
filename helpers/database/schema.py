"""Which migrations the database has: what a pass asks before it begins.

Applying them is ``helpers.database.migrations``, which an explicit command calls and nothing else.
"""

from __future__ import annotations

from helpers.database.connection import transaction
from helpers.database.named import queries, sql_dir
from helpers.errors import SchemaOutdatedError


def migration_ids() -> list[str]:
    """Return the ids of all migrations of this package, in order."""
    return sorted(path.stem for path in (sql_dir() / "migrations").glob("*.sql"))


def missing_migrations() -> list[str]:
    """Return the ids of the migrations that the database lacks, in order."""
    with transaction() as connection:
        if not queries("migrations").was_ever_migrated(connection):
            return migration_ids()
        applied = {row["migration_id"] for row in queries("migrations").applied(connection)}
    return [name for name in migration_ids() if name not in applied]


def require_migrated() -> None:
    """Make sure that the database has every migration.

    Raises:
        SchemaOutdatedError: it lacks some; the message says how to apply them.
    """
    missing = missing_migrations()
    if missing:
        raise SchemaOutdatedError(
            f"The database lacks {len(missing)} of {len(migration_ids())} migrations "
            f"({', '.join(missing)}). Apply them with `python -m helpers.database migrate`; "
            "nothing was written."
        )

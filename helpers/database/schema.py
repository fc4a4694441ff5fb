"""Is the database as the migrations leave it: what a pass asks before it begins.

The list of applied migrations alone proves little: the tables may have been made anew since, or
``search_path`` may have another schema first. So the tables themselves are looked at as well.
Applying migrations is ``helpers.database.migrations``, by an explicit command and nothing else.
"""

import re
from collections.abc import Iterator
from functools import cache

from helpers.database.connection import transaction
from helpers.database.named import sql_dir
from helpers.database.querying import queries
from helpers.errors import DatabaseError, SchemaOutdatedError
from helpers.text import listed

THE_TEAMS = "0001_metastore"
"""The migration whose objects teams have from before; what all others make is this package's."""

_NO_COLUMNS = {"CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN", "EXCLUDE"}
_COMMA_BETWEEN_COLUMNS = re.compile(r",(?![^()]*\))")


def migration_ids() -> list[str]:
    """Return the ids of all migrations of this package, in order."""
    return sorted(path.stem for path in (sql_dir() / "migrations").glob("*.sql"))


def missing_migrations() -> list[str]:
    """Return the ids of the migrations that the database lacks, in order."""
    with transaction():
        if not queries("migrations").was_ever_migrated():
            return migration_ids()
        applied = {row["migration_id"] for row in queries("migrations").applied()}
    return [name for name in migration_ids() if name not in applied]


def problem() -> str | None:
    """Return how the database differs from what its list of migrations says, and what to do."""
    tables, columns = zip(*sorted(expected_columns()), strict=True)
    with transaction():
        missing = [
            row["name"]
            for row in queries("migrations").missing_objects(
                tables=list(tables), columns=list(columns), views=own_objects()["VIEW"]
            )
        ]
        path = queries("migrations").search_path()
    if not missing:
        return None
    return (
        f"All migrations are noted as applied, but {listed(missing)} "
        f"{'is' if len(missing) == 1 else 'are'} missing in the tables that search_path ({path}) "
        "finds first: if that is the wrong schema, put the right one first (ALTER ROLE … SET "
        "search_path); if the tables were made anew, run `python -m helpers.database migrate "
        "--anew`."
    )


def require_utf8() -> None:
    """Make sure that the database can hold every text, such as an error with a sign of its own.

    Raises:
        DatabaseError: it is encoded otherwise, as one made where no locale is set is (SQL_ASCII).
    """
    with transaction() as connection:
        encoding = connection.info.parameter_status("server_encoding")
        name = connection.info.dbname
    if encoding != "UTF8":
        raise DatabaseError(
            f"The database {name} is encoded in {encoding}, and the monitor needs UTF8. Make "
            "another: `createdb --encoding UTF8 --template template0 <name>`."
        )


def require_migrated() -> None:
    """Make sure that the database has every migration, and an encoding for every text.

    Raises:
        SchemaOutdatedError: it lacks some, or is not as they left it; the message says what to do.
        DatabaseError: it is not encoded in UTF8.
    """
    require_utf8()
    missing = missing_migrations()
    if missing:
        raise SchemaOutdatedError(
            f"The database lacks {len(missing)} of {len(migration_ids())} migrations "
            f"({', '.join(missing)}). Apply them with `python -m helpers.database migrate`; "
            "nothing was written."
        )
    if found := problem():
        raise SchemaOutdatedError(found)


@cache
def expected_columns() -> frozenset[tuple[str, str]]:
    """Return (table, column) of all that the migrations leave, read from their SQL."""
    made: dict[str, set[str]] = {}
    for statement in _statements(migration_ids()):
        if match := re.match(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+) \((.*)\)", statement):
            words = [part.split()[0] for part in _COMMA_BETWEEN_COLUMNS.split(match[2])]
            made[match[1]] = {word for word in words if word.upper() not in _NO_COLUMNS}
        elif match := re.match(r"ALTER TABLE (\w+) RENAME TO (\w+)", statement):
            del made[match[1]]  # set aside, until its rows are brought over
        elif match := re.match(r"ALTER TABLE (\w+) ", statement):
            made.setdefault(match[1], set()).update(
                re.findall(r"ADD COLUMN (?:IF NOT EXISTS )?(\w+)", statement)
            )
    return frozenset((table, column) for table, columns in made.items() for column in columns)


def own_objects() -> dict[str, list[str]]:
    """Return the names of this package's own tables, types and functions, by kind."""
    own: dict[str, list[str]] = {"TABLE": [], "TYPE": [], "FUNCTION": [], "VIEW": []}
    create = rf"CREATE (?:OR REPLACE )?({'|'.join(own)}) (?:IF NOT EXISTS )?(\w+)"
    for statement in _statements([name for name in migration_ids() if name != THE_TEAMS]):
        if match := re.match(create, statement):
            own[match[1]].append(match[2])
    return own


def _statements(names: list[str]) -> Iterator[str]:
    """Give the statements of these migrations, each on one line and without comments."""
    for name in names:
        text = (sql_dir() / "migrations" / f"{name}.sql").read_text(encoding="utf-8")
        for statement in re.sub(r"--.*", "", text).split(";"):
            yield " ".join(statement.split())

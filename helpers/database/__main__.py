"""``python -m helpers.database migrate`` applies the migrations and says what it did."""

import argparse
import sys

from helpers.database.migrations import migrate
from helpers.database.schema import migration_ids, missing_migrations, problem, require_utf8
from helpers.errors import BatchMonitoringError


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return 0, or 1 if it failed or, for ``status``, something is missing."""
    parser = argparse.ArgumentParser(prog="python -m helpers.database", description=__doc__)
    parser.add_argument("command", choices=["migrate", "status"])
    parser.add_argument(
        "--anew",
        action="store_true",
        help="with migrate, after the team's tables were made anew: drop what the migrations had "
        "made beside them, and apply all of them",
    )
    given = parser.parse_args(arguments)
    try:
        return _migrate(anew=given.anew) if given.command == "migrate" else _status()
    except BatchMonitoringError as exc:
        print(exc, file=sys.stderr)
        return 1


def _migrate(*, anew: bool) -> int:
    done = migrate(
        on_progress=lambda rows: print(f"brought over {rows:,} rows of the tracking log"),
        anew=anew,
    )
    for name in done.applied:
        print(f"applied {name}")
    for remark in done.remarks:
        print(remark)
    total = len(migration_ids())
    print(f"{len(done.applied)} of {total} migrations applied; the database is up to date.")
    return 0


def _status() -> int:
    require_utf8()
    missing = missing_migrations()
    for name in missing:
        print(f"missing {name}")
    print(f"{len(missing)} of {len(migration_ids())} migrations are missing.")
    found = None if missing else problem()
    if found:
        print(found)
    return 1 if missing or found else 0


if __name__ == "__main__":
    sys.exit(main())

"""Replace the tracking log of an adopted database, with all that depends on it.

The migration sets the old table aside and makes a new one. In the same transaction the team's
views, grants, triggers and publications move to the new table, or the migration is refused with
the list of what cannot. The rows follow piece by piece.
"""

from collections.abc import Callable

import psycopg

from helpers.database.connection import Connection
from helpers.database.querying import queries
from helpers.errors import DatabaseError
from helpers.text import counted, listed

_PIECE = 20_000  # rows per transaction: about a second
_BEFORE_ANY_ID = -(2**31)
_MOST_NAMED = 8


def move_dependants(connection: Connection) -> None:
    """Move what depends on the old log to the new one; within the caller's transaction.

    Raises:
        DatabaseError: something cannot be moved; the message lists it.
    """
    hindrances = [row["description"] for row in queries("migrations").hindrances(connection)]
    if hindrances:
        raise DatabaseError(
            "irp_job_tracking_log is replaced by a table that keeps every answer, and this cannot "
            f"be moved to it: {listed(hindrances, most=_MOST_NAMED)}. Drop it, migrate, and make "
            "it anew."
        )
    _run(connection, "view_of_log_as_it_was")
    queries("migrations").act_as_superuser(connection)
    for query in ("grants_on_log", "views_on_log", "triggers_on_log", "publications_of_log"):
        _run(connection, query)
    queries("migrations").act_as_owner(connection)


def _run(connection: Connection, query: str) -> None:
    for row in list(getattr(queries("migrations"), query)(connection)):
        try:
            connection.execute(row["statement"])
        except psycopg.Error as exc:
            raise DatabaseError(
                f"Moving what depends on irp_job_tracking_log failed: {str(exc).splitlines()[0]} "
                f"in “{' '.join(row['statement'].split())}”. Drop it, migrate, and make it anew.",
                sqlstate=exc.sqlstate,
            ) from exc


def bring_over_adopted_log(
    connection: Connection, on_progress: Callable[[int], object]
) -> tuple[int, list[str]]:
    """Return how many rows were brought over, and what people should know of it."""
    if not queries("migrations").has_adopted_log(connection):
        return 0, []
    rows, undated, last_id = 0, 0, _BEFORE_ANY_ID
    while piece := _bring_over_piece(connection, after_id=last_id):
        rows, undated, last_id = rows + piece["rows"], undated + piece["undated"], piece["last_id"]
        on_progress(rows)
    remarks = []
    if undated:
        had = f"{counted(undated, 'row')} of the tracking log had no time"
        remarks.append(f"{had}, and {'is' if undated == 1 else 'are'} kept as of 1970-01-01.")
    return rows, remarks + _drop_adopted_log(connection)


def _bring_over_piece(connection: Connection, *, after_id: int) -> dict[str, int] | None:
    """Move the next rows in one transaction, unseen by triggers; None once all are moved."""
    with connection.transaction():
        triggers = list(queries("migrations").quiet_triggers(connection))
        for trigger in triggers:
            connection.execute(trigger["off"])
        piece: dict[str, int] = queries("migrations").bring_over(
            connection, after_id=after_id, most=_PIECE
        )
        for trigger in triggers:
            connection.execute(trigger["on_again"])
    return piece if piece["rows"] else None


def _drop_adopted_log(connection: Connection) -> list[str]:
    """Drop the old table, which is empty; return why it stays, if it does."""
    try:
        with connection.transaction():
            move_dependants(connection)  # an earlier version left them there
            queries("migrations").drop_adopted_log(connection)
    except (psycopg.Error, DatabaseError) as exc:
        why = str(exc).splitlines()[0].rstrip(".")
        return [f"irp_job_tracking_log_adopted is empty and was left in place: {why}."]
    return []

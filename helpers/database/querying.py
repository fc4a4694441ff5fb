"""Named queries that join the current transaction, or are one of their own."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from helpers.database.connection import Connection, transaction
from helpers.database.named import statements

_PAGE_ROWS = 1_000


class Queries:
    """The queries of one SQL file, by name.

    ``queries("batch").read_batch(batch_id=7)`` joins the current transaction, or is one of its
    own. A connection may be given before the parameters, and is then used instead.
    """

    def __init__(self, owner: str) -> None:
        self._statements = statements(owner)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        statement = getattr(self._statements, name)

        def run(connection: Connection | None = None, /, **parameters: object) -> Any:
            if connection is not None:
                return _rows(statement(connection, **parameters))
            with transaction() as current:
                return _rows(statement(current, **parameters))

        return run

    def each(self, name: str, /, **parameters: object) -> Iterator[Any]:
        """Give the rows of a query one by one, in a transaction that lasts as long.

        The server keeps those that are not read yet: no more than a page of them is held here.
        """
        statement = getattr(self._statements, name).sql
        with transaction() as current, current.cursor(name) as cursor:
            cursor.execute(statement, parameters)
            while rows := cursor.fetchmany(_PAGE_ROWS):
                yield from rows


def _rows(result: Any) -> Any:
    """Return the rows of a query of many; they are read while the transaction lasts."""
    return list(result) if isinstance(result, Iterator) else result


@cache
def queries(owner: str) -> Queries:
    """Return the queries of ``sql/queries/<owner>.sql``."""
    return Queries(owner)

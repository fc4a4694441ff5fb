"""What else the stand-in for Moody's knows: EDMs, portfolios, treaties, analyses, reference data.

Just enough for the submitting calls of the published client, which look up what they name.
Whatever is made through the API can be looked up afterwards; what a job makes, once that job
is finished. Reference data answers to any name that is not made unknown.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from helpers.constants import JobStatus
from sandbox.moodys_jobs import Job, Locked

Row: TypeAlias = dict[str, Any]

_TERM = re.compile(
    r'(\w+)\s*(?:=\s*"([^"]*)"|IN\s*\(((?:\s*"[^"]*"\s*,?)+)\)|LIKE\s*"([^"]*)")', re.IGNORECASE
)
_FIRST_ID = 1001
SERVERS = [
    {"serverId": 9001, "serverName": "databridge-1", "serverType": "PLATFORM"},
    {"serverId": 9002, "serverName": "sql-instance-1", "serverType": "PLATFORM"},
]


@dataclass(frozen=True)
class Term:
    """One condition of a filter: a field, and the values that fulfil it (``*`` ends a prefix)."""

    field: str
    values: frozenset[str]

    def holds(self, row: Row) -> bool:
        """Tell whether a row fulfils it; a field that the row does not have says nothing."""
        if self.field not in row:
            return True
        text = str(row[self.field])
        return any(
            text.startswith(value[:-1]) if value.endswith("*") else text == value
            for value in self.values
        )


def parse_filter(text: str) -> list[Term]:
    """Return the conditions of a filter such as ``a = "x" AND b IN ("y", "z")``.

    Raises:
        ValueError: something is left that is no condition.
    """
    if re.sub(r"\bAND\b|\s", "", _TERM.sub("", text)):
        raise ValueError(f"Invalid filter: {text[:200]}")
    return [
        Term(name, frozenset(re.findall(r'"([^"]*)"', many)) if many else frozenset({one or like}))
        for name, one, many, like in _TERM.findall(text)
    ]


@dataclass(frozen=True)
class _Entry:
    kind: str
    row: Row
    parent_id: int | None
    made_by: Job | None


class Catalogue(Locked):
    """The resources of a stand-in, by kind: ``exposures``, ``portfolios`` and so on."""

    def __init__(self) -> None:
        super().__init__()
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries: list[_Entry] = []
            self._next_id = _FIRST_ID

    def add(
        self,
        kind: str,
        row: Row,
        *,
        id_key: str,
        path: str = "",
        parent_id: int | None = None,
        made_by: Job | None = None,
    ) -> str:
        """Put a resource in and return its URI: the path of its collection, and its id.

        The row gets the id under ``id_key``, and the URI.
        """
        with self._lock:
            new_id = self._next_id
            self._next_id += 1
            whole = {id_key: new_id, "uri": f"{path}/{new_id}", **row}
            self._entries.append(_Entry(kind, whole, parent_id, made_by))
        return f"{path}/{new_id}"

    def search(
        self, kind: str, terms: list[Term], *, now: datetime, parent_id: int | None = None
    ) -> list[Row]:
        """Return the rows that exist by now and fulfil all terms."""
        with self._lock:
            entries = [e for e in self._entries if e.kind == kind and e.parent_id == parent_id]
        return [
            entry.row
            for entry in entries
            if (entry.made_by is None or entry.made_by.status_at(now) == JobStatus.FINISHED)
            and all(term.holds(entry.row) for term in terms)
        ]

    def name_of(self, kind: str, key: str, resource_id: int, *, name_key: str) -> str | None:
        """Return the name of a resource, whether or not the job that makes it is finished."""
        with self._lock:
            rows = (entry.row for entry in self._entries if entry.kind == kind)
            return next((str(r[name_key]) for r in rows if r.get(key) == resource_id), None)


def reference_data(table: str, asked_name: str) -> Any:
    """Return what a table of reference data answers to a name, which it always has."""
    name = asked_name or "Sandbox"
    match table:
        case "modelprofiles":
            profile = {"id": 4001, "name": name, "softwareVersionCode": "RL25"}
            return _items({**profile, "perilCode": "WS", "modelRegionCode": "NAWS"})
        case "outputprofiles":
            return [{"id": 5001, "name": name}]
        case "eventratescheme":
            scheme = {"eventRateSchemeId": 739, "eventRateSchemeName": name, "isActive": True}
            return _items({**scheme, "perilCode": "WS", "modelRegionCode": "NAWS"})
        case "currency":
            return _items({"currencyId": 1, "currencyCode": "USD", "currencyName": name})
        case "softwaremodelversionmap":
            version = {"softwareVersionCode": "RL25", "modelVersionCode": "25.0"}
            return _items({**version, "modelRegionCode": "NAWS"})
        case _:  # currencyschemevintage
            vintage = {"currencySchemeCode": "RMS", "vintage": "RL25"}
            return _items({**vintage, "effectiveDate": "2025-05-28T00:00:00.000Z"})


def _items(*items: Row) -> Row:
    return {"count": len(items), "items": list(items)}

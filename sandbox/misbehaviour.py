"""How a stand-in misbehaves: which requests are hit, and what they get in place of an answer.

A misbehaviour can be told from any thread or process while the stand-in runs. It says which
requests it hits; those of one request's misbehaviours that only delay it add up, and the
first of the others decides its answer.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any


class Fault(StrEnum):
    """What goes wrong. Each says which attributes of ``Misbehaviour`` it heeds."""

    LATENCY = "latency"  # the answer comes ``seconds`` later
    HTTP_STATUS = "http-status"  # ``http_status`` with its own body; ``retry_after``
    HTML_403 = "html-403"  # the page of the CDN in front
    HANG = "hang"  # no answer until the misbehaviour is lifted
    RESET = "reset"  # the connection is reset
    SLOW_DRIP = "slow-drip"  # a piece of the body every ``seconds``
    SLOW_HEADERS = "slow-headers"  # a byte of the headers every ``seconds``, and no end
    RATE_LIMIT = "rate-limit"  # 429 from the request on that is one too many: ``per_second``
    BUSY = "busy"  # 429 to a request beside ``at_once`` others that have no answer yet
    TRUNCATED = "truncated"  # half of the body, then the connection closes
    MALFORMED_JSON = "malformed-json"
    HUGE = "huge"  # valid JSON of ``size_bytes``
    NUL = "nul"  # a NUL character in a job's name
    LONE_SURROGATE = "lone-surrogate"  # half a character in a job's name
    NOT_AN_OBJECT = "not-an-object"  # valid JSON that is a string
    UNKNOWN_STATUS = "unknown-status"  # ``status`` in place of the job's own
    LOWER_CASE_STATUS = "lower-case-status"
    NO_STATUS = "no-status"
    WRONG_JOB_ID = "wrong-job-id"  # the body is about another job
    IDS_MISSING = "ids-missing"  # a search leaves jobs out: ``job_ids``, else every second row
    FILTER_IGNORED = "filter-ignored"  # a search answers with the newest jobs, whatever was asked


class Kind(StrEnum):
    """What a request wants."""

    BY_ID = "by-id"
    SEARCH = "search"
    SUBMIT = "submit"  # anything that makes a job or a resource
    CHANGE = "change"  # cancels a job, or changes its priority
    LOGIN = "login"
    LOOKUP = "lookup"  # everything else that submitting calls need


@dataclass(frozen=True)
class Call:
    """A request, as far as a misbehaviour cares."""

    family: str
    kind: str
    job_ids: frozenset[str] = frozenset()


@dataclass
class Misbehaviour:
    """One way of misbehaving, for the requests that it hits.

    Attributes:
        families, kinds, job_ids: which requests; None hits all. A search is hit where it asks
            for one of the ids.
        times: only for the next so many requests; None until it is lifted.
        carried_out: the request takes effect all the same, and only its answer goes wrong.
        hits: how many requests it has hit.
    """

    fault: Fault
    families: frozenset[str] | None = None
    kinds: frozenset[str] | None = None
    job_ids: frozenset[str] | None = None
    times: int | None = None
    seconds: float = 0.1
    http_status: int = 503
    retry_after: str | None = None
    status: str = "ARCHIVED"
    size_bytes: int = 8 * 1024 * 1024
    per_second: int = 20
    at_once: int = 20
    carried_out: bool = False
    hits: int = field(default=0, init=False)
    lifted: bool = field(default=False, init=False)
    _second: int = field(default=0, init=False, repr=False)
    _in_second: int = field(default=0, init=False, repr=False)
    _let_through: int = field(default=0, init=False, repr=False)  # and not answered yet

    def __post_init__(self) -> None:
        self.fault = Fault(self.fault)
        for name in ("families", "kinds", "job_ids"):
            value: Collection[str] | None = getattr(self, name)
            if isinstance(value, str):
                raise TypeError(f"{name} takes a list")
            setattr(self, name, None if value is None else frozenset(map(str, value)))

    def matches(self, call: Call) -> bool:
        """Tell whether a request is hit."""
        return (
            self.times != 0
            and (self.families is None or call.family in self.families)
            and (self.kinds is None or call.kind in self.kinds)
            and (self.job_ids is None or bool(call.job_ids & self.job_ids))
        )

    def is_due(self) -> bool:
        """Tell whether a request that is hit suffers; a limit lets some pass."""
        if self.fault is Fault.BUSY:
            return self._let_through >= self.at_once
        if self.fault is not Fault.RATE_LIMIT:
            return True
        second = int(time.monotonic())
        self._in_second = self._in_second + 1 if second == self._second else 1
        self._second = second
        return self._in_second > self.per_second

    def concerns(self, job_id: str) -> bool:
        """Tell whether one row of an answer is hit."""
        return self.job_ids is None or job_id in self.job_ids

    def as_json(self) -> dict[str, Any]:
        """Return all that it says, for the control answers."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name[0] != "_"}
        return {k: sorted(v) if isinstance(v, frozenset) else v for k, v in values.items()}


@dataclass(frozen=True)
class Fate:
    """What happens to one request."""

    delay_seconds: float
    misbehaviour: Misbehaviour | None
    let_through: list[Misbehaviour] = field(default_factory=list)  # by these, while it is answered


class Misbehaviours:
    """Those in force. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: list[Misbehaviour] = []

    def add(self, misbehaviour: Misbehaviour) -> Misbehaviour:
        """Put one in force, after those that are."""
        with self._lock:
            self._active.append(misbehaviour)
        return misbehaviour

    def lift(self, misbehaviour: Misbehaviour | None = None) -> None:
        """End one, or all; requests that hang because of it are answered."""
        with self._lock:
            for active in self._active:
                if misbehaviour is None or active is misbehaviour:
                    active.lifted = True
            self._active = [active for active in self._active if not active.lifted]

    def all(self) -> list[Misbehaviour]:
        """Return those in force, in the order in which they were put in."""
        with self._lock:
            return list(self._active)

    def fate_of(self, call: Call) -> Fate:
        """Return what happens to a request, and count it."""
        with self._lock:
            hitting = [a for a in self._active if a.matches(call) and a.is_due()]
            delays = [active for active in hitting if active.fault is Fault.LATENCY]
            others = [active for active in hitting if active.fault is not Fault.LATENCY][:1]
            _count(delays + others)
            busy = [a for a in self._active if a.fault is Fault.BUSY and a.matches(call)]
            let_through = [] if others else busy
            for limit in let_through:
                limit._let_through += 1  # noqa: SLF001 - of this module
        seconds = sum(delay.seconds for delay in delays)
        return Fate(seconds, others[0] if others else None, let_through)

    def note_end(self, fate: Fate) -> None:
        """Take in that a request is answered."""
        with self._lock:
            for limit in fate.let_through:
                limit._let_through -= 1  # noqa: SLF001 - as above


def _count(hitting: Iterable[Misbehaviour]) -> None:
    for misbehaviour in hitting:
        misbehaviour.hits += 1
        if misbehaviour.times is not None:
            misbehaviour.times -= 1


RowEdit = Callable[[dict[str, Any], Misbehaviour], dict[str, Any]]

ROW_EDITS: dict[Fault, RowEdit] = {
    Fault.NUL: lambda row, _: {**row, "name": "half a\0name"},
    Fault.LONE_SURROGATE: lambda row, _: {**row, "name": "half a character \ud83d"},
    Fault.UNKNOWN_STATUS: lambda row, how: {**row, "status": how.status},
    Fault.LOWER_CASE_STATUS: lambda row, _: {**row, "status": str(row["status"]).lower()},
    Fault.NO_STATUS: lambda row, _: {k: v for k, v in row.items() if k != "status"},
    Fault.WRONG_JOB_ID: lambda row, _: {**row, _id_key(row): _other_id(row)},
}
"""Faults that change what is said of a job."""


def _id_key(row: dict[str, Any]) -> str:
    return "jobId" if "jobId" in row else "id"


def _other_id(row: dict[str, Any]) -> Any:
    job_id = row[_id_key(row)]
    return type(job_id)(int(job_id) + 1)


def edited(value: Any, how: Misbehaviour) -> Any:
    """Return an answer's JSON with the rows that are hit changed."""
    match value:
        case list():
            return _edited_rows(value, how)
        case {"workflows": list(rows)}:
            return {**value, "workflows": _edited_rows(rows, how)}
        case {"status": _} if how.fault in ROW_EDITS and how.concerns(str(value[_id_key(value)])):
            return ROW_EDITS[how.fault](value, how)
        case _:
            return value


def _edited_rows(rows: list[Any], how: Misbehaviour) -> list[Any]:
    if how.fault is not Fault.IDS_MISSING:
        return [edited(row, how) for row in rows]
    if how.job_ids is None:
        return rows[1::2]
    return [row for row in rows if not how.concerns(str(row[_id_key(row)]))]

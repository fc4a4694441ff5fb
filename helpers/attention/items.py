"""What waits for a person: each thing by a name, as the metastore has it now, and who has seen it.

A person says that it is seen, and that they are on it; everybody sees that until it changes.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from helpers.database import queries
from helpers.display import Block, Headline, Remark, Remarks, Report, Severity, clock_and_age
from helpers.errors import BatchError
from helpers.identity import person
from helpers.redaction import printable
from helpers.text import counted, listed, one_line


class ItemKind(StrEnum):
    """Why something waits."""

    ENDED = "ended"  # a batch that ended badly
    FAILING = "failing"  # a batch of which jobs have failed so far
    LATE = "late"  # a batch of which jobs take far longer than usual
    STUCK = "stuck"  # a batch that will not end by itself
    STEP_FAILED = "failed step"  # a next step whose notebook failed
    STEP_WAITS = "waiting step"  # a next step that waits for what will not change by itself
    STEP_HELD = "held step"  # a step that a person holds
    PREPARED = "prepared"  # jobs that nobody submits
    UNRECOGNISED = "unrecognised"  # a batch or cycle with a status that is not ours


_WAS = {  # with what its state begins with
    ItemKind.ENDED: "was {}",
    ItemKind.FAILING: "had jobs that failed",
    ItemKind.LATE: "had jobs that took far longer than usual",
    ItemKind.STUCK: "did not end by itself",
    ItemKind.STEP_FAILED: "had failed",
    ItemKind.STEP_WAITS: "waited for what did not change by itself",
    ItemKind.STEP_HELD: "was held",
    ItemKind.PREPARED: "had prepared jobs of step {} that were not submitted",
    ItemKind.UNRECOGNISED: "was {}",
}


@dataclass(frozen=True)
class Item:
    """One thing that waits for a person."""

    kind: ItemKind
    subject: str  # ``batch 8``, ``step 4.2 of Q1``, ``cycle Q1``
    cycle_name: str
    about: str  # as lists name it
    text: str
    state: Sequence[object]  # an item that is another one by this has changed; not by its text
    severity: Severity = Severity.WARNING
    mend: str = ""  # the line of Python that mends it
    seen: str = ""  # by whom, when, and what they say; empty if nobody has

    @property
    def key(self) -> str:
        """What no other item has."""
        return f"{self.subject}: {self.kind}"

    @property
    def fingerprint(self) -> str:
        """What changes when the item does, and not while it only grows older."""
        state = json.dumps([self.key, *self.state], default=str)
        return hashlib.sha256(state.encode()).hexdigest()

    @property
    def was(self) -> str:
        """What it was, for those who read that it no longer waits."""
        return _WAS[self.kind].format(*self.state)

    @property
    def remark(self) -> Remark:
        """The item as a line of a list."""
        if not self.seen:
            return Remark(self.about, self.text, self.severity, code=self.mend)
        return Remark(self.about, f"{self.seen} — {self.text}", code=self.mend)


@dataclass(frozen=True, repr=False)
class Waiting(Report):
    """The first of all that waits, the urgent first, and how many things wait in all."""

    items: Sequence[Item] = ()
    total: int = 0

    @property
    def seen(self) -> int:
        """How many of them somebody has acknowledged."""
        return sum(bool(item.seen) for item in self.items)

    @property
    def open(self) -> int:
        """How many of them nobody has acknowledged."""
        return self.total - self.seen

    @property
    def headline(self) -> str:
        """How many things wait, and how many of them somebody is on."""
        seen = f" ({self.seen:,} more seen)" if self.seen else ""
        return f"{counted(self.open, 'thing waits', 'things wait')} for you{seen}"

    def blocks(self) -> Iterator[Block]:
        """Show how many things wait, and a line for each."""
        if not self.total:
            yield Headline(Severity.OK, "Nothing waits for you.")
            return
        severity = Severity.WARNING if self.open else Severity.INFO
        yield Headline(severity, f"{self.headline}.")
        yield self.list_of_items()

    def list_of_items(self, *, title: str = "") -> Remarks:
        """Return a line for each; what somebody is on comes last."""
        items = sorted(self.items, key=lambda item: bool(item.seen))
        return Remarks([item.remark for item in items], "item", title=title, total=self.total)


def named(items: Sequence[Item], name: Item | str | int) -> list[Item]:
    """Return the items that are meant: one item, all of a subject, or all of a batch by its id.

    Raises:
        BatchError: nothing that waits is called that.
    """
    if isinstance(name, Item):
        name = name.key
    wanted = f"batch {name}" if isinstance(name, int) else " ".join(name.split())
    names = {wanted.casefold(), wanted.rstrip(".").casefold()}
    found = [
        i for i in items if names & {i.key.casefold(), i.subject.casefold(), i.about.casefold()}
    ]
    if not found:
        subjects = list(dict.fromkeys(item.subject for item in items))
        waits = f"What waits is: {listed(subjects)}." if subjects else "Nothing waits."
        raise BatchError(f"Nothing that waits is called {wanted!r}. {waits}")
    return found


def put_on_record(items: Sequence[Item], note: str) -> None:
    """Put on record that this person has seen these items as they are."""
    queries("attention").acknowledge(
        items=[item.key for item in items],
        fingerprints=[item.fingerprint for item in items],
        note=one_line(printable(note), 500),
        person=person(),
    )


def with_acknowledgements(items: Sequence[Item]) -> list[Item]:
    """Return the items, each with who has seen it as it is now, if somebody has."""
    if not items:
        return []
    rows = queries("attention").acknowledgements(items=[item.key for item in items])
    seen = {(row["item"], row["fingerprint"]): _seen(row) for row in rows}
    return [replace(item, seen=seen.get((item.key, item.fingerprint), "")) for item in items]


def _seen(row: Mapping[str, Any]) -> str:
    note = f": {row['note']}" if row["note"] else ""
    return f"Seen by {row['person']} at {clock_and_age(row['created_ts'])}{note}"

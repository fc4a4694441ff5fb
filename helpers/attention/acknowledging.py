"""Seen, I am on it: a person says so of what waits, and everybody sees it until it changes."""

from collections.abc import Sequence
from dataclasses import replace

from helpers.attention.items import Acknowledgement, Item
from helpers.database import queries
from helpers.errors import BatchError
from helpers.identity import person
from helpers.redaction import shown
from helpers.text import listed

_LONGEST_NOTE = 500
_MOST_NAMED = 10


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
        waits = (
            f"What waits is: {listed(subjects, most=_MOST_NAMED)}."
            if subjects
            else "Nothing waits."
        )
        raise BatchError(f"Nothing that waits is called {wanted!r}. {waits}")
    return found


def put_on_record(items: Sequence[Item], note: str) -> None:
    """Put on record that this person has seen these items as they are."""
    queries("attention").acknowledge(
        items=[item.key for item in items],
        fingerprints=[item.fingerprint for item in items],
        note=shown(" ".join(note.split()), _LONGEST_NOTE),
        person=person(),
    )


def with_acknowledgements(items: Sequence[Item]) -> list[Item]:
    """Return the items, each with who has seen it as it is now, if somebody has."""
    if not items:
        return []
    rows = queries("attention").acknowledgements(items=[item.key for item in items])
    seen = {
        (row.pop("item"), row.pop("fingerprint")): Acknowledgement(**row) for row in map(dict, rows)
    }
    return [replace(item, seen=seen.get((item.key, item.fingerprint))) for item in items]

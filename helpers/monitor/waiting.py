"""What waits for a person, without a pass: nothing is polled, decided or sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from helpers.display import Block, Headline, Remark, Remarks, Report, Severity
from helpers.monitor.attention import what_waits_for_people
from helpers.monitor.reports import ReconReport
from helpers.notifications.failures import failing_batches
from helpers.text import counted


@dataclass(frozen=True, repr=False)
class Waiting(Report):
    """What waits for a person, the urgent first."""

    items: list[Remark]
    total: int

    def blocks(self) -> Iterator[Block]:
        """Show how many things wait, and a line for each."""
        if not self.total:
            yield Headline(Severity.OK, "Nothing waits for you.")
            return
        waits = counted(self.total, "thing waits", "things wait")
        yield Headline(Severity.WARNING, f"{waits} for you.")
        yield Remarks(self.items, "item", total=self.total)


def what_waits() -> Waiting:
    """Return what waits for a person, as the metastore has it now.

    What the last pass found stuck is in its summary; this looks at what has ended.
    """
    return Waiting(*what_waits_for_people(ReconReport(), failing_batches()))

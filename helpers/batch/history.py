"""What people did to batches: who, when, why, and with which outcome."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from helpers.clock import CLOCK
from helpers.database import queries
from helpers.display import (
    AsOf,
    Block,
    Headline,
    Report,
    Row,
    Severity,
    Table,
    badge,
    clock_and_age,
)
from helpers.records import step_in_cycle
from helpers.text import counted

_MOST = 500


@dataclass(frozen=True, repr=False)
class History(Report):
    """What people did, newest first."""

    actions: list[dict[str, Any]]
    about: str

    most_lines = _MOST

    def blocks(self) -> Iterator[Block]:
        """Show a line for each act."""
        number = counted(len(self.actions), "action")
        yield Headline(Severity.NEUTRAL, f"{number} by hand {self.about}")
        rows = [
            Row(
                [
                    clock_and_age(action["created_ts"]),
                    action["person"],
                    action["kind"].lower(),
                    _subject(action),
                    action["reason"],
                    badge(action["status"]),
                    action["outcome"] or "—",
                ]
            )
            for action in self.actions
        ]
        columns = ["When", "Who", "What", "To what", "Why", "Status", "Outcome"]
        yield Table(columns, rows, noun="action")
        yield AsOf.at(CLOCK.now())


def history(batch_id: int | None = None, *, cycle_name: str | None = None) -> History:
    """Return what people did by hand, to this batch or in this cycle, the newest 500 acts first."""
    rows = queries("actions").history(batch_id=batch_id, cycle_name=cycle_name, most=_MOST)
    actions = list(rows)
    about = f"in batch {batch_id}" if batch_id is not None else "in all batches"
    return History(actions, f"{about} of cycle {cycle_name}" if cycle_name else about)


def _subject(action: dict[str, Any]) -> str:
    parts = [
        (action["batch_id"], "batch"),
        (action["job_id"], "job"),
        (action["new_job_id"], "now job"),
    ]
    named = [f"{noun} {number}" for number, noun in parts if number is not None]
    if action["batch_id"] is None and action["step_num"] is not None:
        step = action["cycle_name"], action["stage_num"], action["step_num"]
        named = [f"step {step_in_cycle(*step)}"]
    return ", ".join(named) or f"cycle {action['cycle_name']}"

"""Section 5: the pass in numbers, and what waits for a person."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from helpers.attention import Waiting
from helpers.display import (
    AsOf,
    Block,
    Headline,
    Note,
    Remark,
    Remarks,
    Report,
    Severity,
    Tile,
    Tiles,
    clock,
    duration,
)
from helpers.pass_health import PassHealth
from helpers.text import counted, listed

T = TypeVar("T")
_NOTHING_IS_ACTIVE = "nothing is active"


@dataclass(repr=False)
class SummaryReport(Report):
    """Section 5: the pass in numbers."""

    batches_found: int
    batches_processed: int
    batches_left: int  # to other runs, which poll them at this moment
    batches_completed: int
    batches_failed: int
    jobs_polled: int
    polls_failed: int
    transitions: int
    chains_executed: int
    chains_failed: int
    cards_sent: int
    cards_waiting: int
    cards_problem: str | None
    errors: list[Remark]
    waiting: Waiting
    started_ts: datetime
    seconds: float
    next_run_ts: datetime | None  # None: nothing is active
    active_batches: int
    health: PassHealth  # of the passes before this one
    warnings: list[str] = field(default_factory=list)  # about monitoring itself
    jobs_failed_so_far: int = 0  # of batches that are still ACTIVE
    idle: str = _NOTHING_IS_ACTIVE  # why nothing is active, if nothing is

    @property
    def failed(self) -> bool:
        """Whether the pass itself met an error that a person should look at."""
        return bool(self.errors)

    @property
    def next_run(self) -> str:
        """When the next pass is worth its while."""
        if self.next_run_ts is None:
            return "not needed until a batch is submitted"
        return clock(self.next_run_ts, self.started_ts)

    @property
    def headline(self) -> str:
        """The pass in one sentence."""
        about = listed([error.about for error in self.errors], most=3)
        errors = f"{counted(len(self.errors), 'error')} ({about})"
        so_far = counted(self.jobs_failed_so_far, "job has", "jobs have")
        amiss = {
            f"{counted(self.batches_failed, 'batch', 'batches')} failed just now": (
                self.batches_failed
            ),
            f"{so_far} failed so far": self.jobs_failed_so_far,
            errors: len(self.errors),
            self.waiting.headline: self.waiting.open,
            f"{counted(self.cards_waiting, 'card')} not sent yet": self.cards_waiting,
            f"{counted(len(self.warnings), 'warning')} about monitoring itself": (
                len(self.warnings)
            ),
        }
        parts = [text for text, count in amiss.items() if count]
        if self.active_batches:
            active = counted(self.active_batches, "batch is active", "batches are active")
            return f"{', '.join(parts or ['All is well'])}; {active}."
        if parts or self.idle == _NOTHING_IS_ACTIVE:
            return f"{', '.join(parts or ['All is well'])}; {self.idle}."
        return f"Nothing to watch: {self.idle}."

    @property
    def severity(self) -> Severity:
        """How it looks."""
        if self.batches_failed or self.errors or self.jobs_failed_so_far:
            return Severity.ERROR
        if self.waiting.open or self.cards_waiting or self.warnings:
            return Severity.WARNING
        return Severity.OK if self.batches_found else Severity.NEUTRAL

    def blocks(self) -> Iterator[Block]:
        """Give what is shown, from the top: what waits for people first, and figures last."""
        yield Headline(self.severity, self.headline)
        yield self.waiting.list_of_items(title="What waits for you")
        yield Remarks(self.errors, title="Errors encountered")
        for warning in self.warnings:
            yield Note(warning, Severity.WARNING)
        yield Tiles(list(self._tiles()))
        if self.next_run_ts and not self.health.comes_by_itself:
            yield Note("The next run comes by itself only if a schedule or cron starts it.")
        if self.cards_problem:
            yield Note(f"Teams: {self.cards_problem}", Severity.WARNING)
        for line in self.health.lines():
            yield Note(line, is_quiet=True)
        yield AsOf.at(self.started_ts)

    def _tiles(self) -> Iterator[Tile]:
        found, completed, failed = self.batches_found, self.batches_completed, self.batches_failed
        left = _if(self.batches_left, f"{self.batches_left:,} left to other runs")
        yield Tile("batches found", found)
        yield Tile("batches processed", self.batches_processed, left)
        yield Tile("batches completed", completed, severity=_if(completed, Severity.OK))
        yield Tile("batches failed", failed, severity=_if(failed, Severity.ERROR))
        yield _tile("jobs polled", self.jobs_polled, self.polls_failed, "without an answer")
        yield Tile("status transitions", self.transitions)
        yield _tile("chain executions", self.chains_executed, self.chains_failed, "failed")
        yield _tile("cards sent", self.cards_sent, self.cards_waiting, "waiting")
        yield Tile("errors", len(self.errors), severity=_if(len(self.errors), Severity.ERROR))
        yield Tile("next run", self.next_run)
        yield Tile(
            "started", f"{clock(self.started_ts, self.started_ts)}, took {duration(self.seconds)}"
        )


def _tile(label: str, value: int, amiss: int, how: str) -> Tile:
    """Return a figure with how many of its kind went amiss."""
    return Tile(label, value, _if(amiss, f"{amiss:,} {how}"), _if(amiss, Severity.WARNING))


def _if(count: int, value: T) -> T | None:
    return value if count else None

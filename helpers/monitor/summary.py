"""Section 5: the pass in numbers, and what waits for a person."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from helpers.display import Report, Tone, moment
from helpers.monitor.reports import Remark
from helpers.schedule.passes import PassHealth
from helpers.text import counted, listed


@dataclass(frozen=True)
class ToDo:
    """Something that waits for a person."""

    about: str
    text: str
    tone: Tone

    @property
    def mark(self) -> str:
        """Its sign, for eyes that do not tell the colours apart."""
        return "✖" if self.tone is Tone.BAD else "▲"


@dataclass(repr=False)
class SummaryReport(Report):
    """Section 5: the pass in numbers."""

    template: ClassVar[str] = "summary"

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
    to_do: list[ToDo]
    to_do_total: int
    started_ts: datetime
    seconds: float
    next_run_ts: datetime | None  # None: nothing is active
    active_batches: int
    health: PassHealth  # of the passes before this one
    warnings: list[str] = field(default_factory=list)  # about monitoring itself

    @property
    def failed(self) -> bool:
        """Whether the pass itself met an error that a person should look at."""
        return bool(self.errors)

    @property
    def next_run(self) -> str:
        """When the next pass is worth its while."""
        if self.next_run_ts is None:
            return "not needed until a batch is submitted"
        return moment(self.next_run_ts)

    @property
    def headline(self) -> str:
        """The pass in one sentence."""
        parts = []
        if self.batches_failed:
            parts.append(f"{counted(self.batches_failed, 'batch', 'batches')} failed just now")
        if self.errors:
            about = listed([error.about for error in self.errors], most=3)
            parts.append(f"{counted(len(self.errors), 'error')} ({about})")
        if self.to_do_total:
            parts.append(counted(self.to_do_total, "thing waits", "things wait") + " for you")
        if self.cards_waiting:
            parts.append(counted(self.cards_waiting, "card") + " not sent yet")
        if self.warnings:
            parts.append(counted(len(self.warnings), "warning") + " about monitoring itself")
        return ", ".join(parts or ["All is well"]) + f"; {self._what_is_active}."

    @property
    def _what_is_active(self) -> str:
        if not self.active_batches:
            return "nothing is active"
        return counted(self.active_batches, "batch is active", "batches are active")

    @property
    def tone(self) -> Tone:
        """How it looks."""
        if self.batches_failed or self.errors:
            return Tone.BAD
        if self.to_do or self.cards_waiting or self.warnings:
            return Tone.WARN
        return Tone.GOOD if self.batches_found else Tone.CALM

"""What the live page shows, in parts, and the page around them. It reads and changes nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from helpers.board.following import Sight
from helpers.board.night import night_history
from helpers.board.reading import board
from helpers.display import Block, Note, Report, Severity, Target, live_page, parts_of
from helpers.pass_health import PassHealth, pass_health
from helpers.settings import get_settings

_PARTS = ("monitoring", "board", "night")  # from the top; the time is in its head
_MANAGE_BATCHES = "workflows/_Tools/Batch Management/Manage Batches.ipynb"
_TAB = "batch-monitoring-lab"  # where links open: one tab for all


@dataclass(frozen=True, repr=False)
class Monitoring(Report):
    """Whether the work is monitored."""

    health: PassHealth

    def blocks(self) -> Iterator[Block]:
        """Warn if it is not, and say when it last was."""
        for warning in self.health.warnings():
            yield Note(warning, Severity.WARNING)
        last, _, *error = self.health.lines()
        for line in error:
            yield Note(line, is_quiet=True)
        yield Note(f"{last} Copied lines are run in", is_quiet=True, link=_MANAGE_BATCHES)


def look(target: Target) -> dict[str, str]:
    """Return the parts of the page as HTML, by name; ``target`` says where links to files lead."""
    seconds = get_settings().monitor_interval_seconds
    reports = {
        "board": board(),
        "night": night_history(),
        "monitoring": Monitoring(pass_health(interval=timedelta(seconds=seconds))),
    }
    return parts_of(reports, target=target, tab=_TAB)


def page_of(sight: Sight, *, events: str, nonce: str, version: str) -> str:
    """Return the page with what was seen last; ``events`` is the address of what comes then.

    Its script and its style have the nonce, and nothing that it shows.
    """
    parts = sight.parts or {}
    return live_page(
        parts.get("time", ""),
        {name: parts.get(name, "") for name in _PARTS},
        problem=sight.problem,
        events=events,
        nonce=nonce,
        version=version,
    )

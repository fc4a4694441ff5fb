"""What the live page shows, in parts. It reads, and changes nothing."""

from collections.abc import Iterator
from dataclasses import dataclass

from helpers.board.night import night_history
from helpers.board.reading import board
from helpers.display import Block, Note, Report, Severity, Target, parts_of
from helpers.pass_health import PassHealth, pass_health

PARTS = ("monitoring", "board", "night")  # from the top; the time is in its head
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
    reports = {
        "board": board(),
        "night": night_history(),
        "monitoring": Monitoring(pass_health()),
    }
    return parts_of(reports, target=target, tab=_TAB)

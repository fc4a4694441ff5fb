"""What a check found, and how it is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from helpers.display import Block, Headline, Remark, Remarks, Report, Severity
from helpers.errors import BatchMonitoringError
from helpers.text import counted


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    about: str
    is_ok: bool
    text: str  # what is there or, if it is not well, what to do
    stops_passes: bool = True  # if it is not well: a pass cannot do its work

    @property
    def severity(self) -> Severity:
        """Well, in the way of a pass, or worth a look."""
        if self.is_ok:
            return Severity.OK
        return Severity.ERROR if self.stops_passes else Severity.WARNING


@dataclass(frozen=True, repr=False)
class CheckReport(Report):
    """All findings, in the order in which they build on each other."""

    findings: tuple[Finding, ...]

    @property
    def is_ok(self) -> bool:
        """Whether a pass can do its work."""
        return not self.in_the_way

    @property
    def in_the_way(self) -> list[Finding]:
        """What keeps a pass from its work."""
        return [f for f in self.findings if not f.is_ok and f.stops_passes]

    @property
    def headline(self) -> str:
        """The result in one sentence."""
        if self.in_the_way:
            return f"{counted(len(self.in_the_way), 'problem')} would keep a pass from its work."
        remarks = sum(not finding.is_ok for finding in self.findings)
        return "Everything is set up." if not remarks else f"Set up; {counted(remarks, 'remark')}."

    def blocks(self) -> Iterator[Block]:
        """Show the result, and a line for each thing."""
        worst = Severity.OK if self.is_ok else Severity.ERROR
        yield Headline(worst, self.headline)
        yield Remarks([Remark(f.about, f.text, f.severity) for f in self.findings])


def findings_of(about: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """Give what one look finds; an error of ours is a finding too, so that the others go on."""
    try:
        yield from look()
    except BatchMonitoringError as exc:
        yield Finding(about, is_ok=False, text=str(exc))

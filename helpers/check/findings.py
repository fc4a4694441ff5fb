"""What a check found, and how it is shown.

A finding is a remark: OK, ERROR for what keeps a pass from its work, or WARNING for what does not.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from helpers.display import Block, Headline, Remark, Remarks, Report, Severity
from helpers.errors import BatchMonitoringError
from helpers.text import counted


def good(about: str, text: str) -> Remark:
    """Return that something is well."""
    return Remark(about, text, Severity.OK)


def bad(about: str, text: str) -> Remark:
    """Return what keeps a pass from its work, and what to do."""
    return Remark(about, text, Severity.ERROR)


def doubtful(about: str, text: str) -> Remark:
    """Return what is not well, and what to do, though a pass can do its work."""
    return Remark(about, text, Severity.WARNING)


@dataclass(frozen=True, repr=False)
class CheckReport(Report):
    """All findings, in the order in which they build on each other."""

    findings: tuple[Remark, ...]

    def count(self, severity: Severity) -> int:
        """Return how many findings are of this severity."""
        return sum(finding.severity is severity for finding in self.findings)

    @property
    def is_ok(self) -> bool:
        """Whether a pass can do its work."""
        return not self.count(Severity.ERROR)

    @property
    def headline(self) -> str:
        """The result in one sentence."""
        if problems := self.count(Severity.ERROR):
            return f"{counted(problems, 'problem')} would keep a pass from its work."
        remarks = self.count(Severity.WARNING)
        return "Everything is set up." if not remarks else f"Set up; {counted(remarks, 'remark')}."

    def blocks(self) -> Iterator[Block]:
        """Show the result, and a line for each thing."""
        yield Headline(Severity.OK if self.is_ok else Severity.ERROR, self.headline)
        yield Remarks(self.findings)


def findings_of(about: str, look: Callable[[], Iterable[Remark]]) -> Iterator[Remark]:
    """Give what one look finds; an error of ours is a finding too, so that the others go on."""
    try:
        yield from look()
    except BatchMonitoringError as exc:
        yield bad(about, str(exc))

"""What a check found, and how it is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from html import escape

from helpers.errors import BatchMonitoringError
from helpers.redaction import redact
from helpers.text import counted


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    about: str
    is_ok: bool
    text: str  # what is there or, if it is not well, what to do
    stops_passes: bool = True  # if it is not well: a pass cannot do its work

    @property
    def sign(self) -> str:
        """The sign that is shown: well, of no use, or worth a look."""
        return "✔" if self.is_ok else "✖" if self.stops_passes else "!"


@dataclass(frozen=True)
class CheckReport:
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

    def __str__(self) -> str:
        width = max((len(finding.about) for finding in self.findings), default=0)
        lines = [f"{f.sign} {f.about:<{width}}  {f.text}" for f in self.findings]
        return "\n".join([*lines, self.headline])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{f.sign}</td><td>{escape(f.about)}</td>"
            f"<td style='text-align:left'>{escape(f.text)}</td></tr>"
            for f in self.findings
        )
        return f"<p><b>{escape(self.headline)}</b></p><table>{rows}</table>"


def findings_of(about: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """Give what one look finds; an error of ours is a finding too, so that the others go on."""
    try:
        yield from look()
    except BatchMonitoringError as exc:
        yield Finding(about, is_ok=False, text=redact(str(exc)))

"""What the benchmarks measured, as ``docs/performance.md``."""

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

PAGE = Path(__file__).resolve().parents[2] / "docs" / "performance.md"


@dataclass(frozen=True)
class Row:
    """One target, and how far it was met."""

    case: str
    target: float
    measured: float
    unit: str = "s"
    at_least: bool = False  # the target is a floor, where it usually is a ceiling
    against_baseline: float | None = None  # how many times the baseline of the same run
    cpu_seconds: float | None = None  # of the monitor's process
    note: str = ""
    why_missed: str = ""

    @property
    def ratio(self) -> float:
        """Measured over target."""
        return self.measured / self.target

    @property
    def is_met(self) -> bool:
        """Whether the target is met."""
        return self.ratio >= 1 if self.at_least else self.ratio <= 1

    @property
    def line(self) -> str:
        """What was measured, and if it misses its target, by how much."""
        cpu = f", CPU {number(self.cpu_seconds)} s" if self.cpu_seconds is not None else ""
        bound = "at least" if self.at_least else "at most"
        target = f"{bound} {number(self.target)} {self.unit}".rstrip()
        mark = "met   " if self.is_met else "MISSED"
        return (
            f"{mark} {self.case}: {number(self.measured)} {self.unit}{cpu} "
            f"({number(self.ratio)} times the target, {target})"
        )

    @property
    def remark(self) -> str:
        """What stands beside the row."""
        return self.note if self.is_met else f"**missed**: {self.why_missed} {self.note}".strip()


@dataclass
class Results:
    """Everything that one run measured."""

    rows: list[Row] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)  # measured, without a target
    machine: dict[str, str] = field(default_factory=dict)

    def write(self, page: Path = PAGE) -> None:
        """Write the page."""
        self.machine["load at the end (1, 5, 15 min)"] = load()
        templates = Environment(
            loader=FileSystemLoader(Path(__file__).parent),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            autoescape=False,  # Markdown, not HTML
        )
        text = templates.get_template("performance.md.jinja").render(
            results=self, number=number, when=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        )
        page.write_text(text, encoding="utf-8")


def number(value: float) -> str:
    """Return a number in three digits."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def machine_facts(settings: Mapping[str, str]) -> dict[str, str]:
    """Return what the numbers were measured on.

    Args:
        settings: of the PostgreSQL server, ``server_version`` among them.
    """
    return {
        "cores": f"{os.cpu_count()} ({platform.machine()}), shared by the monitor, the stand-in "
        "for Moody's and PostgreSQL",
        "Python": platform.python_version(),
        "PostgreSQL": f"{settings['server_version']}, fsync {settings['fsync']}, "
        f"shared_buffers {settings['shared_buffers']}",
        "system": f"{platform.system()} {platform.release()}",
        "load at the start (1, 5, 15 min)": load(),
    }


def load() -> str:
    """Return how many programs wanted to run, as the system counts them."""
    return ", ".join(f"{value:.1f}" for value in os.getloadavg())

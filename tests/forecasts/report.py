"""The figures as ``docs/forecasts.md``, beside their goals."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tests.forecasts.figures import Ends, Hangs, Jobs

PAGE = Path(__file__).resolve().parents[2] / "docs" / "forecasts.md"


@dataclass(frozen=True)
class Goal:
    """One goal of one data set, and how it came out."""

    data: str
    what: str
    goal: str
    measured: str
    is_met: bool


@dataclass
class Report:
    """All that one evaluation measured."""

    batches: int  # simulated, per seed
    jobs: list[Jobs] = field(default_factory=list)
    real_ends: dict[str, list[Ends]] = field(default_factory=dict)
    without_number: dict[str, int] = field(default_factory=dict)  # real batches
    simulated_ends: dict[int, list[Ends]] = field(default_factory=dict)  # by seed
    hangs: dict[int, Hangs] = field(default_factory=dict)
    standing_still: dict[int, float] = field(default_factory=dict)  # false warnings per job
    cost_seconds: float = 0.0

    def goals(self) -> Iterator[Goal]:
        """Compare everything with what it is meant to be."""
        for each in self.jobs:
            yield from _job_goals(each)
        for file, rows in self.real_ends.items():
            yield from _real_goals(file, rows)
        for seed, rows in self.simulated_ends.items():
            yield from _simulated_goals(f"simulated, seed {seed}", rows)
        for seed, hangs in self.hangs.items():
            yield from _hang_goals(f"simulated, seed {seed}", hangs)
            still = self.standing_still[seed]
            yield _false_warnings(f"simulated, seed {seed}", hangs.false + still)
        cost = f"{self.cost_seconds:.2f} s"
        yield Goal(
            "10,000 active jobs, 100,000 in history",
            "CPU of all batches, imports included",
            "≤ 0.3 s",
            cost,
            self.cost_seconds <= 0.3,
        )

    def write(self, page: Path = PAGE) -> None:
        """Write the page."""
        templates = Environment(
            loader=FileSystemLoader(Path(__file__).parent),
            undefined=StrictUndefined,
            trim_blocks=True,
            autoescape=False,
        )
        templates.globals["number"] = _number
        text = templates.get_template("forecasts.md.jinja").render(
            report=self, goals=list(self.goals()), when=datetime.now(UTC).date().isoformat()
        )
        page.write_text(text, encoding="utf-8")


def _job_goals(found: Jobs) -> Iterator[Goal]:
    score, most = found.score, 0.4 if found.sized else 0.8
    yield _between(found.file, "single jobs, coverage", 0.77, score.cover, 0.83)
    yield Goal(
        found.file,
        f"kinds covered 70 to 90 %, of {found.kinds} with 50 forecasts or more",
        "≥ 0.90",
        f"{found.kinds_share:.2f}",
        found.kinds_share >= 0.9,
    )
    yield _at_most(found.file, "single jobs, median error", score.error, most)
    yield _false_warnings(found.file, found.warned / score.count)


def _real_goals(file: str, rows: Sequence[Ends]) -> Iterator[Goal]:
    for row in rows:
        yield _between(file, f"batch ends at {row.point:.0%}", 0.73, row.score.cover, 0.85)
        most = {0.25: 0.16, 0.5: 0.10}.get(row.point)
        if most is not None:
            yield _at_most(file, f"batch ends at {row.point:.0%}, error", row.score.error, most)


def _simulated_goals(data: str, rows: Sequence[Ends]) -> Iterator[Goal]:
    for row in rows:
        at = f"batch ends at {row.point:.0%}"
        yield _between(data, at, 0.75, row.score.cover, 0.85)
        if row.point >= 0.25 and row.oracle:
            yield _at_most(data, f"{at}, error", row.score.error, 0.22)
            yield _at_most(data, f"{at}, error ÷ oracle's", row.score.error / row.oracle, 1.2)


def _hang_goals(data: str, hangs: Hangs) -> Iterator[Goal]:
    named = f"{hangs.named:.3f}"
    yield Goal(data, f"{hangs.planted} hangs named in time", "≥ 0.95", named, hangs.named >= 0.95)


def _false_warnings(data: str, share: float) -> Goal:
    return Goal(data, "false warnings per job", "≤ 0.0050", f"{share:.4f}", share <= 0.005)


def _between(data: str, what: str, low: float, measured: float, high: float) -> Goal:
    goal = f"{low:.2f} to {high:.2f}"
    return Goal(data, what, goal, f"{measured:.3f}", low <= measured <= high)


def _at_most(data: str, what: str, measured: float, most: float) -> Goal:
    return Goal(data, what, f"≤ {most:.2f}", f"{measured:.3f}", measured <= most)


def _number(value: float) -> str:
    return "∞" if math.isinf(value) else f"{value:.2f}" if value < 1_000 else f"{value:,.0f}"

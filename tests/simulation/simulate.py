"""Run a seed, and find the shortest prefix of its events that goes wrong."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.simulation.events import Event, events_of
from tests.simulation.judge import problems
from tests.simulation.world import World, settings


@dataclass(frozen=True)
class Run:
    """What a run was, and what was wrong with it."""

    world: World
    events: list[Event]
    problems: list[str]

    def figures(self) -> str:
        """Return how much happened."""
        world, scheduler = self.world, self.world.scheduler
        return (
            f"{world.passes} passes, {len(self.events)} events, {world.database.transactions} "
            f"transactions, {scheduler.switches} turns, {scheduler.kills} kills, "
            f"{scheduler.freezes} freezes, {len(world.moodys.jobs)} jobs, "
            f"{len(world.kernels.runs)} notebooks, {len(world.teams.cards)} cards"
        )


def simulate(
    url: str, folder: Path, *, seed: int, days: int, most_events: int | None = None, plant: str = ""
) -> Run:
    """Run the days of a seed on a migrated database of its own, up to so many events.

    ``plant`` is SQL that makes this database do something wrong, to test the judge.
    """
    events = events_of(seed, days)[:most_events]
    with settings(url, folder):
        world = World(seed, url, folder)
        with world.begun():
            if plant:
                world.sql.execute(plant)
            world.run(events, days)
            return Run(world, events, problems(world))


def shortest(most: int, fails: Callable[[int], bool]) -> int:
    """Return how many of so many events are enough to fail, by halving."""
    good, bad = -1, most
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (good, middle) if fails(middle) else (middle, bad)
    return bad

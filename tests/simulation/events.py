"""What happens in a team's weeks, and when: drawn from a seed."""

import random
from dataclasses import dataclass

DAY = 86_400.0
CYCLE_DAYS = 4
FAULTS = {  # and how likely each is on a day
    "cancel": 0.3,
    "hold a step": 0.4,
    "rerun a step": 0.3,
    "delete a job": 0.2,
    "delete a batch": 0.05,
    "Moody's is down": 0.3,
    "the database is down": 0.3,
    "Teams is down": 0.3,
    "the machine's clock jumps": 0.2,
    "the server's clock jumps": 0.2,
}


@dataclass(frozen=True, order=True)
class Event:
    """Something that happens at a moment; ``draw`` is its own seed."""

    at: float  # seconds since the beginning
    kind: str
    draw: int


def events_of(seed: int, days: int) -> list[Event]:
    """Draw what happens in so many days."""
    rng = random.Random(seed)
    events = []

    def add(day: float, kind: str) -> None:
        events.append(Event(day * DAY, kind, rng.getrandbits(32)))

    for week in range(0, days, CYCLE_DAYS):
        add(week + 0.15, "new cycle")
        for stage in range(2, 7):
            add(week + 0.2 + (stage - 2) * 0.6 + rng.random() * 0.3, f"stage {stage}")
        add(week + CYCLE_DAYS - 0.1, "archive")
    for day in range(days):
        for hour in (9, 13, 16, 18):
            add(day + (hour + rng.random()) / 24, "tend")
        for kind, likelihood in FAULTS.items():
            if rng.random() < likelihood:
                add(day + rng.random(), kind)
    return sorted(event for event in events if event.at < days * DAY)

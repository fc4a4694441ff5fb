"""A state of everything: the rows, the processes that act on them, and what may still strike."""

from typing import Any, NamedTuple

from tests.model.rows import Rows

NONE, ALIVE, ENDING, LATE, ORPHAN = range(5)  # a kernel; late: ended a tick ago; orphan: unwatched


class Runner(NamedTuple):
    """A process that runs steps: a monitor's pass, or a person's."""

    mode: str = "U"  # U up, F frozen, X cut off from the database, D dead
    does: str = "i"  # i idle, c claimed, b begun, r runs, e last cell ended, v verdict, x stopped,
    # w works by hand
    attempt: int = 0
    overtaken: bool = False  # another has claimed the step since: what nobody may need to know
    kernel: int = 0
    lease: int = 0  # what its watchdog knows: ticks since the last renewal was sent
    renewal: int = -1  # a confirmed beat that has not reached the watchdog: its age
    life: int = 0
    serves: int = 0  # a bit for each chain run that its claim has stamped


class Wire(NamedTuple):
    """A statement of a process that was cut off, or has died; it may arrive, late."""

    kind: str
    owner: int
    attempt: int
    overtaken: bool


IDLE_OLDER = ("i", 0)  # d: it starts the step next; k: its kernel runs; l: so, started late


class World(NamedTuple):
    """A state of everything."""

    rows: Rows
    runners: tuple[Runner, ...]
    wire: Wire | None = None
    older: tuple[str, int] = IDLE_OLDER  # and for which chain run's ending
    unserved: int = 0  # a bit for each batch that ended suitably, and one for a rerun that a person
    # wants, while no kernel has started since
    starts: tuple[int, ...] = ()  # kernels started for each chain run, while there is no fault
    down: int = 0  # the database is gone, for so many ticks and one
    budget: tuple[int, ...] = ()


class Move(NamedTuple):
    """Something that may happen."""

    by: str  # s the system itself, p a person, f a fault
    event: str
    world: World
    broken: str = ""  # the promise that it breaks
    action: tuple[Any, ...] = ()  # what the database was asked, beside the rows before


IDLE: dict[str, Any] = {
    "does": "i",
    "attempt": 0,
    "overtaken": False,
    "lease": 0,
    "renewal": -1,
    "serves": 0,
}
FAULTS = ("crash", "cut", "freeze", "outage", "interrupt")
PEOPLE = ("resubmit", "hand", "verb", "cancel", "archive", "own_run", "hold", "rerun")
SPENT = {name: i for i, name in enumerate(FAULTS + PEOPLE)}

"""A state of everything that has to do with polling one batch."""

from typing import NamedTuple

from tests.model.polling.rows import Answer, Job

FAULTS = ("cut", "freeze", "hang", "crash")
ACTS = ("restart", "cancel", "resubmit")  # of Moody's, and of people
SPENT = {name: i for i, name in enumerate(FAULTS + ACTS)}


class Workflow(NamedTuple):
    """A job at Moody's: what is true, and what a search says of it."""

    status: str = "Q"
    searched: str = "Q"


class ToAsk(NamedTuple):
    """A job that a pass has on its list."""

    job: int
    workflow: int
    known: str  # its status when it was listed; empty: a search does not say enough about it


class Pass(NamedTuple):
    """A pass, and the connection that holds its lock."""

    mode: str = "U"  # U up, F frozen, H its working thread hangs, D dead
    does: str = "i"  # i idle, p polls
    is_connected: bool = False  # so long it has the lock
    is_lost: bool = False  # what the pass knows of that
    pinged: int = 0  # ticks ago
    left: tuple[ToAsk, ...] = ()
    asked: Answer | None = None  # under way while it says -, then in hand


class World(NamedTuple):
    """A state of everything."""

    jobs: tuple[Job, ...]
    workflows: tuple[tuple[Workflow, ...], ...]  # of each job, the first and those after it
    passes: tuple[Pass, ...]
    has_ended: bool = False  # the batch
    latest: tuple[int, ...] = ()  # for each job, the latest question on record
    budget: tuple[int, ...] = ()


class Move(NamedTuple):
    """Something that may happen."""

    by: str  # s the system itself, p a person, f a fault
    event: str
    world: World
    broken: str = ""  # the promise that it breaks

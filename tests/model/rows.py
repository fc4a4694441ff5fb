"""The rows that the chain protocol rests on. Time goes in ticks."""

from typing import NamedTuple, TypeVar

MOST_TRIES = 3

_T = TypeVar("_T")


class Batch(NamedTuple):
    """A row of irp_batch."""

    status: str = "A"  # I initiated, A active, C completed, F failed, X cancelled
    activation: int = 1
    concluded: int = 0
    age: int = 0  # since it ended


class ChainRun(NamedTuple):
    """A row of irp_chain_run, of one batch and activation."""

    status: str = "-"  # - no row, P pending, R running, C completed, F failed, X cancelled
    tries: int = 0
    served_by: int = 0
    released: bool = False  # by a person, although something holds it


class StepRun(NamedTuple):
    """A row of irp_step_run."""

    status: str = "A"  # A active, C completed, F failed, S failed because it was stopped
    by: str = "claim"  # or the notebook itself, or an older monitor
    since: int = 0  # a bit for each batch that had ended when it started


class Claim(NamedTuple):
    """The row of irp_step_claim."""

    owner: int = 0  # 0: released
    attempt: int = 0  # 0: no row
    age: int = 0  # since the last beat
    run: int = 0  # which step run, counted from 1
    verdict: str = ""
    held: bool = False  # by a person, so that no pass claims it
    rerun: int = -1  # tries of the rerun that is due; -1: none is


class Rows(NamedTuple):
    """All that the protocol knows."""

    batches: tuple[Batch, ...]
    chain_runs: tuple[ChainRun, ...]
    claim: Claim = Claim()
    step_runs: tuple[StepRun, ...] = ()
    archived: bool = False


def put(items: tuple[_T, ...], i: int, item: _T) -> tuple[_T, ...]:
    """Return the tuple with one item replaced."""
    return (*items[:i], item, *items[i + 1 :])

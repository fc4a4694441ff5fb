"""Play out what is left of batches on the servers that run now, many drawn worlds at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Open:
    """The drawn seconds of one batch: a row per job, a column per world."""

    remaining: Array  # of the jobs that run
    queued: Array  # of those that wait, in the order in which they will start
    servers: int  # how many jobs can run at once; no fewer than run now


def ends(batches: Sequence[Open]) -> list[Array]:
    """Return when each batch ends, in seconds from now, in every world.

    Batches of about as many servers are played together: one step gives the next waiting job
    of each of them to the server that is free first.
    """
    found: list[Array] = [_last(batch.remaining) for batch in batches]
    groups: dict[int, list[int]] = {}
    for number, batch in enumerate(batches):
        if len(batch.queued):
            groups.setdefault(batch.servers.bit_length(), []).append(number)
    for group in groups.values():
        group.sort(key=lambda number: -len(batches[number].queued))
        for number, end in zip(group, _play([batches[n] for n in group]), strict=True):
            found[number] = end
    return found


def _last(seconds: Array) -> Array:
    return seconds.max(axis=0) if len(seconds) else np.zeros(seconds.shape[1])


def _play(batches: Sequence[Open]) -> Array:
    """Return the ends of batches that are sorted by their queues, the longest first."""
    worlds = batches[0].queued.shape[1]
    lengths = np.array([len(batch.queued) for batch in batches])
    free = np.full((len(batches), worlds, max(batch.servers for batch in batches)), np.inf)
    for number, batch in enumerate(batches):
        free[number, :, : batch.servers] = 0.0
        free[number, :, : len(batch.remaining)] = batch.remaining.T
    position = np.concatenate([np.arange(length) for length in lengths])
    draws = np.concatenate([batch.queued for batch in batches])[np.argsort(position, kind="stable")]
    at, flat = 0, free.ravel()
    first_server = np.arange(len(batches) * worlds) * free.shape[2]
    for step in range(lengths[0]):
        count = int(np.count_nonzero(lengths > step))
        chosen = free[:count].argmin(axis=2).ravel()
        flat[first_server[: count * worlds] + chosen] += draws[at : at + count].ravel()
        at += count
    free[np.isinf(free)] = 0.0
    ended: Array = free.max(axis=2)
    return ended

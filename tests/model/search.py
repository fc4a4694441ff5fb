"""Search every state that can be reached, breadth first, so that each trace is a shortest one."""

from array import array
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol


class Step(Protocol):
    """A move of a model: who makes it, its event, where it leads, and what it breaks."""

    by: str
    event: str
    world: Any
    broken: str


class Model(Protocol):
    """What a search needs to know."""

    first: Any

    def moves(self, world: Any) -> Iterator[Any]: ...
    def canonical(self, world: Any) -> Any: ...
    def broken(self, world: Any) -> str: ...
    def is_good(self, world: Any) -> bool: ...


@dataclass
class Result:
    """What a search has found."""

    states: int
    broken: str = ""  # the promise; empty if all hold
    trace: list[str] = field(default_factory=list)

    def event(self) -> str:
        """The trace in sentences."""
        return "; ".join(self.trace)


class TooLargeError(Exception):
    """There are more states than were allowed."""


def explore(
    model: Model, *, most: int = 10_000_000, see: Callable[[Any, Any], None] | None = None
) -> Result:
    """Search all states; the first broken promise ends the search.

    Args:
        model: what may happen, and what must hold.
        most: states, beyond which the search is given up.
        see: sees each world and each of its moves.
    """
    search = _Search(model, most)
    for number, world in enumerate(search.worlds):  # they grow meanwhile
        if broken := model.broken(world):
            return search.result(broken, number)
        for move in model.moves(world):
            if see is not None:
                see(world, move)
            if move.broken:
                return search.result(move.broken, number, move.event)
            search.go(number, move)
    stuck = search.edges.cannot_reach([model.is_good(world) for world in search.worlds])
    return search.result("", 0) if stuck is None else search.result("stuck", stuck)


class _Search:
    """The worlds that were found, numbered, and from which each was found first."""

    def __init__(self, model: Model, most: int) -> None:
        self._model, self._most = model, most
        first = model.canonical(model.first)
        self.worlds, self._numbers, self._parents = [first], {first: 0}, array("l", [-1])
        self.edges = _Edges()

    def go(self, number: int, move: Step) -> None:
        """Note where a move leads."""
        after = self._model.canonical(move.world)
        known = self._numbers.setdefault(after, len(self.worlds))
        if known == len(self.worlds):
            self.worlds.append(after)
            self._parents.append(number)
            if known >= self._most:
                raise TooLargeError(f"more than {self._most} states")
        if move.by == "s":
            self.edges.add(number, known)

    def result(self, broken: str, number: int, *last: str) -> Result:
        """The result, with the moves that lead to what is broken."""
        trace = [*self._trace(number), *last] if broken else []
        return Result(len(self.worlds), broken, trace)

    def _trace(self, number: int) -> list[str]:
        events: list[str] = []
        while (parent := self._parents[number]) >= 0:
            events.append(self._event(parent, number))
            number = parent
        return events[::-1]

    def _event(self, parent: int, number: int) -> str:
        moves = self._model.moves(self.worlds[parent])
        led_to = self.worlds[number]
        return next(m.event for m in moves if self._model.canonical(m.world) == led_to)


class _Edges:
    """What the system does by itself, from state to state."""

    def __init__(self) -> None:
        self._from, self._to = array("l"), array("l")

    def add(self, start: int, end: int) -> None:
        self._from.append(start)
        self._to.append(end)

    def cannot_reach(self, good: list[bool]) -> int | None:
        """Return the first state from which no good one can be reached; None if there is none."""
        before: list[list[int] | None] = [None] * len(good)
        for start, end in zip(self._from, self._to, strict=True):
            if not good[start]:
                found = before[end]
                if found is None:
                    before[end] = [start]
                else:
                    found.append(start)
        queue = deque(number for number, is_good in enumerate(good) if is_good)
        while queue:
            for start in before[queue.popleft()] or ():
                if not good[start]:
                    good[start] = True
                    queue.append(start)
        return good.index(False) if False in good else None

"""Search both protocols: ``python -m tests.model``, with ``--large`` the night's sizes as well.

Prints what was proved and how each mutant was found, and writes all shortest traces to
``traces.md`` beside this file.
"""

import sys
import textwrap
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.model import mutants, promises, scenarios
from tests.model.polling import mutants as polling_mutants
from tests.model.polling import promises as polling
from tests.model.polling import scenarios as polling_scenarios
from tests.model.search import Result, explore

TRACES = Path(__file__).with_name("traces.md")
_WIDTH = 100


class Protocol(NamedTuple):
    """A model of something, what it promises, and how it is searched."""

    name: str
    model: type[Any]
    promises: Mapping[str, str]
    small: Mapping[str, dict[str, Any]]
    large: Mapping[str, dict[str, Any]]
    mutants: tuple[type[Any], ...]


CHAIN = Protocol(
    "the chain protocol",
    promises.Checked,
    promises.PROMISES,
    scenarios.SMALL,
    scenarios.LARGE,
    mutants.MUTANTS,
)
POLLING = Protocol(
    "the polling of a batch",
    polling.Polling,
    polling.PROMISES,
    polling_scenarios.SMALL,
    polling_scenarios.LARGE,
    polling_mutants.MUTANTS,
)
PROTOCOLS = (CHAIN, POLLING)


def searched(model: type[Any], team: dict[str, Any]) -> Result:
    """Search for a broken promise; in its trace each process keeps its name."""
    named = model(**team)
    named.is_alike = False
    return explore(named)


def traces() -> str:
    """Return the shortest trace to each mutant's broken promise, and to each limit."""
    return "\n".join(_sections())


def _sections() -> Iterator[str]:
    yield "# Traces\n"
    yield "Written by `make model`; a test compares. Each is a shortest trace.\n"
    for protocol in PROTOCOLS:
        yield f"# How each mutant of {protocol.name} is found\n"
        for mutant in protocol.mutants:
            found = searched(mutant, mutant.team)
            yield from _section(protocol, mutant.__doc__ or "", found)
    yield "# What cannot be helped\n"
    for name, team in scenarios.LIMITS.items():
        title = name[0].upper() + name[1:] + "."
        yield from _section(CHAIN, title, searched(CHAIN.model, team))


def _section(protocol: Protocol, title: str, found: Result) -> Iterator[str]:
    yield f"## {title}\n"
    yield f"Breaks “{protocol.promises[found.broken]}”\n"
    yield from (f"{n}. {event[0].upper()}{event[1:]}." for n, event in enumerate(found.trace, 1))
    yield ""


def main(arguments: list[str]) -> int:
    """Search everything; return 1 if a promise is broken or a mutant is not found."""
    failed = [line for protocol in PROTOCOLS for line in _search(protocol, "--large" in arguments)]
    TRACES.write_text(traces(), encoding="utf-8")
    print("\n".join(failed) or f"Their events are in {TRACES.relative_to(Path.cwd())}.")
    return 1 if failed else 0


def _search(protocol: Protocol, is_large: bool) -> Iterator[str]:
    """Search one protocol and its mutants, and print the figures; give a line for what failed."""
    begun, states = time.process_time(), 0
    teams = {**protocol.small, **protocol.large} if is_large else protocol.small
    for name, team in teams.items():
        result = explore(protocol.model(**team))
        states += result.states
        if result.broken:
            yield f"{name}: breaks “{protocol.promises[result.broken]}”: {result.event()}"
    seconds = time.process_time() - begun
    print(
        f"{protocol.name[0].upper()}{protocol.name[1:]}: {states:,} states of {len(teams)} "
        f"scenarios in {seconds:.0f} s of CPU, {len(protocol.promises)} promises in each of them."
    )
    found = {mutant.__name__: searched(mutant, mutant.team) for mutant in protocol.mutants}
    yield from (f"{name} is not found" for name, result in found.items() if not result.broken)
    lengths = ", ".join(f"{name} {len(result.trace)}" for name, result in found.items())
    print(textwrap.fill(f"Mutants, each found after so many steps: {lengths}.", _WIDTH))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Search the chain protocol: ``python -m tests.model``, with ``--large`` the night's sizes as well.

Prints what was proved and how each mutant was found, and writes all shortest traces to
``traces.md`` beside this file.
"""

import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.model.mutants import MUTANTS
from tests.model.promises import PROMISES, Checked
from tests.model.scenarios import LARGE, LIMITS, SMALL
from tests.model.search import Result, explore

TRACES = Path(__file__).with_name("traces.md")
_WIDTH = 100


def searched(model: type[Checked], team: dict[str, Any]) -> Result:
    """Search for a broken promise; in its trace each monitor keeps its name."""
    named = model(**team)
    named.is_alike = False
    return explore(named)


def traces() -> str:
    """Return the shortest trace to each mutant's broken promise, and to each limit."""
    return "\n".join(_sections())


def _sections() -> Iterator[str]:
    yield "# How each mutant of the chain protocol is found\n"
    yield "Written by `make model`; a test compares. Each is a shortest trace.\n"
    for mutant in MUTANTS:
        yield from _section(mutant.__doc__ or "", searched(mutant, mutant.team))
    yield "# What cannot be helped\n"
    for name, team in LIMITS.items():
        yield from _section(name[0].upper() + name[1:] + ".", searched(Checked, team))


def _section(title: str, found: Result) -> Iterator[str]:
    yield f"## {title}\n"
    yield f"Breaks “{PROMISES[found.broken]}”\n"
    yield from (f"{n}. {event[0].upper()}{event[1:]}." for n, event in enumerate(found.trace, 1))
    yield ""


def main(arguments: list[str]) -> int:
    """Search everything; return 1 if a promise is broken or a mutant is not found."""
    begun, states, failed = time.process_time(), 0, []
    scenarios = SMALL | LARGE if "--large" in arguments else SMALL
    for name, team in scenarios.items():
        result = explore(Checked(**team))
        states += result.states
        if result.broken:
            failed.append(f"{name}: breaks “{PROMISES[result.broken]}”: {result.event()}")
    seconds = time.process_time() - begun
    found = {mutant: searched(mutant, mutant.team) for mutant in MUTANTS}
    failed += [f"{mutant.__name__} is not found" for mutant in found if not found[mutant].broken]
    TRACES.write_text(traces(), encoding="utf-8")
    print(f"{states:,} states of {len(scenarios)} scenarios in {seconds:.0f} s of CPU.")
    print(f"{len(PROMISES)} promises hold in each of them." if not failed else "\n".join(failed))
    lengths = ", ".join(f"{mutant.__name__} {len(found[mutant].trace)}" for mutant in found)
    print(textwrap.fill(f"Mutants, each found after so many steps: {lengths}.", _WIDTH))
    print(f"Their events are in {TRACES.relative_to(Path.cwd())}.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

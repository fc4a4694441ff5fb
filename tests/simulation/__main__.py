"""Simulate weeks of a team's life: ``python -m tests.simulation --seed 1 --days 30``.

Prints one line per seed. A seed that goes wrong is run again with fewer and fewer of its events,
and the command exits with 1.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from helpers.database import close_pools
from helpers.database.migrations import migrate
from helpers.settings import get_settings
from sandbox.postgres import embedded_postgres, recreate_database
from tests.simulation.simulate import Run, shortest, simulate

_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
_MEMORY = Path("/dev/shm")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the seeds; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds")
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--log", action="store_true", help="print what happened")
    given = parser.parse_args(arguments)
    os.environ["PYTHON_DOTENV_DISABLED"] = "1"
    folder = _MEMORY if _MEMORY.is_dir() else None
    with (
        TemporaryDirectory(prefix="simulation-", dir=folder, ignore_cleanup_errors=True) as home,
        embedded_postgres(Path(home) / "data", settings=_FAST) as server,
    ):
        os.environ["DATABASE_URL"] = recreate_database(server, "template_of_simulation")
        get_settings.cache_clear()
        migrate()
        close_pools()

        def run(seed: int, most_events: int | None = None) -> Run:
            url = recreate_database(server, "simulated", template="template_of_simulation")
            where = Path(home) / "workflows"
            return simulate(url, where, seed=seed, days=given.days, most_events=most_events)

        seeds = range(given.seed, given.seed + given.seeds)
        return max(_report(seed, run, log=given.log) for seed in seeds)


def _report(seed: int, run: Callable[..., Run], *, log: bool) -> int:
    began, used = time.monotonic(), time.process_time()
    found = run(seed)
    print(
        f"seed {seed}: {found.figures()}, {time.monotonic() - began:.0f} s "
        f"({time.process_time() - used:.0f} s of CPU, without PostgreSQL's)",
        flush=True,
    )
    if log:
        print("\n".join(found.world.log))
    if not found.problems:
        return 0
    print(f"  {'; '.join(found.problems[:10])}", flush=True)
    least = shortest(len(found.events), lambda most: bool(run(seed, most).problems))
    print(f"  SEED={seed}: the first {least} events are enough. The last of them:")
    for event in found.events[:least][-8:]:
        print(f"    day {event.at / 86_400:.2f}: {event.kind}")
    return 1


if __name__ == "__main__":
    sys.exit(main())

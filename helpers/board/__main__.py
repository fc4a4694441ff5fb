"""``python -m helpers.board`` shows where every step of the ACTIVE cycles stands.

With ``--jobs 3.6`` it shows the jobs of a step, with ``--since 18:00`` what happened since then.
It polls, decides and sends nothing.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from helpers.board import board, jobs_of, night_history
from helpers.display import Report, page, text_page
from helpers.errors import BatchMonitoringError


def main(arguments: Sequence[str] | None = None) -> int:
    """Show the board and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m helpers.board", description=__doc__)
    parser.add_argument("--since", metavar="18:00", help="what happened since then")
    parser.add_argument("--jobs", metavar="3.6", help="the jobs of this step")
    parser.add_argument("--html", metavar="FILE", type=Path, help="write a page instead")
    given = parser.parse_args(arguments)
    try:
        reports: list[Report] = [board()]
        reports += [jobs_of(given.jobs)] if given.jobs else []
        reports += [night_history(given.since)] if given.since else []
    except BatchMonitoringError as exc:
        print(exc, file=sys.stderr)
        return 1
    if given.html is None:
        print(text_page(reports))
    else:
        given.html.write_text(page("Batch monitoring", reports), encoding="utf-8")
        print(f"Wrote {given.html}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

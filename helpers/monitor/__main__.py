"""``python -m helpers.monitor`` runs one pass without a notebook, for cron.

Prints the summary as text. Exits with 0, or with 1 if the pass itself met an error. With
``--status`` it runs none, and tells whether monitoring is on: 1 if it has been silent.
"""

import argparse
import signal
import sys
from collections.abc import Sequence

from helpers.database.schema import require_migrated
from helpers.errors import BatchMonitoringError
from helpers.monitor import run_pass
from helpers.monitor.news import to_print
from helpers.pass_health import pass_health


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one pass and return the exit code."""
    given = _parser().parse_args(arguments)
    if given.status:
        return _status()
    # Like Ctrl-C, so that notebooks are stopped and claims released.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        report = run_pass()
        printed = to_print(report) if given.quiet else report
    except BatchMonitoringError as exc:
        print(f"Monitoring failed. {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; the next pass goes on from here.", file=sys.stderr)
        return 1
    if printed is not None:
        print(printed)
    return 1 if report.failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m helpers.monitor", description=__doc__)
    parser.add_argument(
        "--quiet",
        action="store_true",
        help="print what is new, and everything that waits once a day",
    )
    parser.add_argument(
        "--status", action="store_true", help="tell whether monitoring is on, and run no pass"
    )
    return parser


def _status() -> int:
    try:
        require_migrated()
        health = pass_health()
    except BatchMonitoringError as exc:
        print(exc, file=sys.stderr)
        return 1
    print("\n".join([health.headline, *health.lines(), *health.about_schedules()]))
    return 1 if health.is_silent else 0


if __name__ == "__main__":
    sys.exit(main())

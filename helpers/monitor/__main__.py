"""``python -m helpers.monitor`` runs one pass without a notebook, for cron.

Prints the summary as text. Exits with 0, or with 1 where the pass itself met an error.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from helpers.display import Severity
from helpers.errors import BatchMonitoringError
from helpers.monitor import run_pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one pass and return the exit code."""
    is_quiet = _parser().parse_args(arguments).quiet
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        report = run_pass()
    except BatchMonitoringError as exc:
        print(f"Monitoring failed. {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; the next pass goes on from here.", file=sys.stderr)
        return 1
    if not is_quiet or report.severity in {Severity.ERROR, Severity.WARNING}:
        print(report)
    return 1 if report.failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m helpers.monitor", description=__doc__)
    parser.add_argument(
        "--quiet", action="store_true", help="print only where something failed or waits"
    )
    return parser


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Treat SIGTERM like Ctrl-C, so that notebooks are stopped and claims given back."""
    del number, frame
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())

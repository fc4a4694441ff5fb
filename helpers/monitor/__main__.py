"""``python -m helpers.monitor`` runs one pass without a notebook, for cron.

Prints the summary as text. Exits with 0, or with 1 where something failed.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType

from helpers.errors import BatchMonitoringError
from helpers.monitor import run_pass


def main() -> int:
    """Run one pass and return the exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        report = run_pass()
    except BatchMonitoringError as exc:
        print(f"Monitoring failed. {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; the next pass goes on from here.", file=sys.stderr)
        return 1
    print(report)
    return 1 if report.failed else 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Treat a polite end like Ctrl-C, so that notebooks are stopped and claims given back."""
    del number, frame
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())

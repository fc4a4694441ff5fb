"""``python -m helpers.check`` tells whether everything is set up, a line each.

Exits with 1 if something would keep a pass from its work.
"""

import argparse
import sys
from collections.abc import Sequence

from helpers.check import check_system
from helpers.errors import BatchMonitoringError


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, print what was found, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m helpers.check", description=__doc__)
    parser.add_argument("--send-card", action="store_true", help="send a test card to Teams")
    report = check_system(send_card=parser.parse_args(arguments).send_card)
    try:
        print(report)
    except BatchMonitoringError as exc:  # settings that tell no secret from what may be shown
        print(exc, file=sys.stderr)
    return 0 if report.is_ok else 1


if __name__ == "__main__":
    sys.exit(main())

"""The monitor's schedule in JupyterLab, by command.

Speaks to the Jupyter server that runs here, or to the one at --url. Its token is taken from the
environment variable JUPYTER_TOKEN or from the server's own runtime file, never from an argument.
Exits with 0, or with 1 where something failed or, for status, monitoring is not on.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from helpers.errors import BatchMonitoringError
from helpers.schedule import commands
from helpers.schedule.cron import EVERY_MINUTE
from helpers.schedule.desk import Desk, open_desk
from helpers.schedule.housekeeping import prune
from helpers.schedule.status import status
from helpers.settings import get_settings

_PRUNE_SECONDS = 600.0

Command = Callable[[Desk, argparse.Namespace], int]


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit code."""
    options = _parser().parse_args(arguments)
    command: Command = options.command
    try:
        with open_desk(options.url) as desk:
            return command(desk, options)
    except BatchMonitoringError as exc:
        print(exc, file=sys.stderr)
    except KeyboardInterrupt:
        print("Interrupted; `status` shows how things stand.", file=sys.stderr)
    return 1


def _create(desk: Desk, options: argparse.Namespace) -> int:
    return _say(commands.create(desk, schedule=options.schedule, timezone=options.timezone))


def _status(desk: Desk, options: argparse.Namespace) -> int:
    del options
    found = status(desk, now=datetime.now(UTC))
    print("\n".join(found.lines))
    return 0 if found.is_on else 1


def _pause(desk: Desk, options: argparse.Namespace) -> int:
    del options
    return _say(commands.pause(desk))


def _resume(desk: Desk, options: argparse.Namespace) -> int:
    return _say(commands.resume(desk, definition_id=options.id))


def _update(desk: Desk, options: argparse.Namespace) -> int:
    del options
    return _say(commands.update(desk))


def _run_now(desk: Desk, options: argparse.Namespace) -> int:
    return _say(commands.run_now(desk, wait_seconds=options.wait))


def _delete(desk: Desk, options: argparse.Namespace) -> int:
    return _say(
        commands.delete(desk, definition_id=options.id, wait_seconds=options.wait),
    )


def _prune(desk: Desk, options: argparse.Namespace) -> int:
    settings = get_settings()
    days = settings.monitor_retention_days if options.days is None else options.days
    pruned = prune(
        desk,
        older_than=timedelta(days=days),
        keep_at_most=settings.monitor_retention_runs if options.keep is None else options.keep,
        deadline=time.monotonic() + _PRUNE_SECONDS,
    )
    print(f"Removed {pruned.runs:,} finished runs with their files.")
    if pruned.problem:
        print(pruned.problem, file=sys.stderr)
    return 1 if pruned.problem else 0


def _say(message: str) -> int:
    print(message)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m helpers.schedule", description=__doc__)
    add = parser.add_subparsers(required=True, metavar="command").add_parser
    made = [
        _with_cron(_described(add, "create", _create, "schedule the notebook, once")),
        _described(add, "status", _status, "say whether monitoring is on, and how it goes"),
        _described(add, "pause", _pause, "start no more runs; one at work goes on"),
        _with_id(_described(add, "resume", _resume, "start runs again")),
        _described(add, "update", _update, "have the schedule run the notebook of today"),
        _with_wait(_described(add, "run-now", _run_now, "run it once, now, and say how it ended")),
        _with_id(
            _with_wait(_described(add, "delete", _delete, "remove the schedule and its runs"))
        ),
        _with_retention(_described(add, "prune", _prune, "remove what finished runs left behind")),
    ]
    for command in made:
        command.add_argument("--url", help="the Jupyter server (default: the one that runs here)")
    return parser


def _described(
    add: Callable[..., argparse.ArgumentParser], name: str, command: Command, purpose: str
) -> argparse.ArgumentParser:
    parser = add(name, help=purpose, description=f"{purpose[:1].upper()}{purpose[1:]}.")
    parser.set_defaults(command=command)
    return parser


def _with_cron(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument(
        "--schedule", default=EVERY_MINUTE, help="five cron fields (default: every minute)"
    )
    parser.add_argument("--timezone", default="UTC", help="of the schedule (default: UTC)")
    return parser


def _with_id(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--id", help="of one schedule, where several run the notebook")
    return parser


def _with_wait(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument(
        "--wait",
        type=_not_negative,
        default=180.0,
        metavar="SECONDS",
        help="for a run to end, at the most (default: 180)",
    )
    return parser


def _with_retention(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument(
        "--keep",
        type=_count,
        metavar="RUNS",
        help="the newest runs to keep (default: MONITOR_RETENTION_RUNS)",
    )
    parser.add_argument(
        "--days",
        type=_not_negative,
        help="remove runs that are older (default: MONITOR_RETENTION_DAYS)",
    )
    return parser


def _not_negative(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 36_500:  # noqa: PLR2004 - a century; and no NaN
        raise ValueError(text)
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError(text)
    return value


if __name__ == "__main__":
    sys.exit(main())

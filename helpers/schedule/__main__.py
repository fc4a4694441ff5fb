"""The monitor's schedule in JupyterLab, by command.

Speaks to the Jupyter server of this user that runs here; if there are several, to the one at --url.
Exits with 0, or with 1 if something failed or, for status, monitoring is not on. JupyterLab's own
page, Notebook Jobs, pauses the schedule, resumes it, and runs it at once.
"""

import argparse
import sys
from collections.abc import Callable
from datetime import timedelta

from helpers.clock import CLOCK
from helpers.errors import BatchMonitoringError
from helpers.schedule import commands
from helpers.schedule.cron import EVERY_MINUTE
from helpers.schedule.pruning import prune
from helpers.schedule.session import SchedulerSession, open_session
from helpers.schedule.status import status
from helpers.settings import get_settings

_PRUNE_SECONDS = 600.0


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit code."""
    try:
        options = _parser().parse_args(arguments)
        with open_session(options.url) as session:
            text, code = _run(session, options)
    except BatchMonitoringError as exc:
        text, code = str(exc), 1
    except KeyboardInterrupt:
        text, code = "Interrupted; `status` shows how things stand.", 1
    else:
        print(text)
        return int(code)
    print(text, file=sys.stderr)
    return 1


def _run(session: SchedulerSession, options: argparse.Namespace) -> tuple[str, int]:
    """Return what to tell the person, and the exit code."""
    match options.command:
        case "create":
            created = commands.create(session, schedule=options.schedule, timezone=options.timezone)
            return created, 0
        case "status":
            found = status(session, now=CLOCK.now())
            return "\n".join(found.lines), 0 if found.is_on else 1
        case "update":
            return commands.update(session), 0
        case "delete":
            deleted = commands.delete(session, definition_id=options.id, wait_seconds=options.wait)
            return deleted, 0
        case _:
            return _prune(session, options)


def _prune(session: SchedulerSession, options: argparse.Namespace) -> tuple[str, int]:
    pruned = prune(
        session.client,
        [one.id for one in session.schedules()],
        older_than=timedelta(days=options.days),
        keep_at_most=options.keep,
        deadline=CLOCK.monotonic() + _PRUNE_SECONDS,
    )
    removed = f"Removed {pruned.runs:,} finished runs with their files."
    return f"{removed} {pruned.problem or ''}".strip(), 1 if pruned.problem else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m helpers.schedule", description=__doc__)
    subparsers = parser.add_subparsers(required=True, dest="command", metavar="command")

    def command(name: str, purpose: str) -> Callable[..., argparse.Action]:
        made = subparsers.add_parser(name, help=purpose, description=f"{purpose.capitalize()}.")
        made.add_argument("--url", help="the Jupyter server, if several run here")
        return made.add_argument

    add = command("create", "schedule the notebook, once")
    add("--schedule", default=EVERY_MINUTE, help="five cron fields (default: every minute)")
    add("--timezone", default="UTC", help="of the schedule (default: UTC)")
    command("status", "say whether monitoring is on, and how it goes")
    command("update", "have the schedule run the notebook of today")
    add = command("delete", "remove the schedule and its runs")
    add("--id", help="of one schedule, if several run the notebook")
    wait = "for a run to finish, at the most (default: 180)"
    add("--wait", type=_not_negative, default=180.0, metavar="SECONDS", help=wait)
    add = command("prune", "remove finished runs with their files")
    keep, days = get_settings().monitor_retention_runs, get_settings().monitor_retention_days
    add("--keep", type=_count, default=keep, metavar="RUNS", help=f"the newest (default: {keep})")
    add("--days", type=_not_negative, default=days, help=f"how old they may be (default: {days})")
    return parser


def _not_negative(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 36_500:  # noqa: PLR2004 - a century; and no NaN
        raise ValueError(text)
    return value


def _count(text: str) -> int:
    return int(_not_negative(str(int(text))))


if __name__ == "__main__":
    sys.exit(main())

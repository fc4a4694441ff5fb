"""The monitor's schedule in JupyterLab, by command.

Speaks to the Jupyter server of this user that runs here; if there are several, to the one at --url.
Exits with 0, or with 1 if something failed or, for status, monitoring is not on. JupyterLab's own
page, Notebook Jobs, pauses the schedule, resumes it, and runs it at once.
"""

import argparse
import sys
from contextlib import closing
from datetime import timedelta

from helpers.errors import BatchMonitoringError
from helpers.schedule import commands
from helpers.schedule.client import SchedulerClient
from helpers.schedule.pruning import prune
from helpers.schedule.records import EVERY_MINUTE
from helpers.schedule.servers import find_server
from helpers.schedule.status import status
from helpers.settings import get_settings


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit code."""
    try:
        options = _parser().parse_args(arguments)
        with closing(SchedulerClient(find_server(options.url))) as client:
            _ = client.started_ts  # fails if it is not a Jupyter server
            text, is_well = _run(client, options)
    except BatchMonitoringError as exc:
        print(exc, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; `status` shows how things stand.", file=sys.stderr)
        return 1
    print(text)
    return 0 if is_well else 1


def _run(client: SchedulerClient, options: argparse.Namespace) -> tuple[str, bool]:
    """Return what to tell the person, and whether all is well."""
    match options.command:
        case "create":
            schedule, timezone = options.schedule, options.timezone
            return commands.create(client, schedule=schedule, timezone=timezone), True
        case "status":
            return status(client)
        case "update":
            return commands.update(client), True
        case "delete":
            one, wait = options.id, options.wait
            return commands.delete(client, definition_id=one, wait_seconds=wait), True
        case _:
            age, number = timedelta(days=options.days), options.keep
            ids = [one.id for one in client.schedules()]
            removed = sum(prune(client, it, older_than=age, keep_at_most=number) for it in ids)
            return f"Removed {removed:,} finished runs with their files.", True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m helpers.schedule", description=__doc__)
    subparsers = parser.add_subparsers(required=True, dest="command", metavar="command")

    def command(name: str, purpose: str) -> argparse.ArgumentParser:
        shows_defaults = argparse.ArgumentDefaultsHelpFormatter
        made = subparsers.add_parser(
            name,
            help=purpose,
            description=f"{purpose.capitalize()}.",
            formatter_class=shows_defaults,
        )
        made.add_argument("--url", help="the Jupyter server, if several run here")
        return made

    it = command("create", "schedule the notebook, once")
    it.add_argument("--schedule", default=EVERY_MINUTE, help="five cron fields")
    it.add_argument("--timezone", default="UTC", help="of the schedule")
    command("status", "say whether monitoring is on, and how it goes")
    command("update", "have the schedule run the notebook of today")
    it = command("delete", "remove the schedule and its runs")
    it.add_argument("--id", help="of one schedule, if several run the notebook")
    it.add_argument("--wait", type=_count, default=180, help="seconds for a run to finish")
    it = command("prune", "remove finished runs with their files")
    keep, days = get_settings().monitor_retention_runs, get_settings().monitor_retention_days
    it.add_argument("--keep", type=_count, default=keep, help="how many stay")
    it.add_argument("--days", type=_count, default=days, help="how old they may be")
    return parser


def _count(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 36_500:  # noqa: PLR2004 - a century of days
        raise ValueError(text)
    return value


if __name__ == "__main__":
    sys.exit(main())

"""What is new since the last pass of this host that printed something: for ``--quiet``.

Cron mails whatever is printed. So a thing is printed when it appears, changes or is over, and
once a day everything that waits is.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from helpers.database import queries, transaction
from helpers.display import Block, Headline, Remark, Remarks, Report, Severity
from helpers.identity import host_name
from helpers.monitor.summary import SummaryReport
from helpers.redaction import printable
from helpers.settings import get_settings
from helpers.text import counted, shorten

_REMINDER = timedelta(days=1)
_NUMBERS = re.compile(r"\d+")
_BATCH = re.compile(r"batch (\d+)")
_LONGEST_KEY = 200


@dataclass(frozen=True)
class _Thing:
    """What is to be known: an item that waits, or what is wrong with monitoring."""

    remark: Remark
    fingerprint: str  # with another one it is news
    subject: str | None  # None: monitoring itself
    was: str  # what is printed of it once it is over

    @property
    def printed(self) -> dict[str, str | None]:
        """What is remembered of it."""
        return {
            "fingerprint": self.fingerprint,
            "subject": self.subject,
            "about": printable(self.remark.about),
            "was": printable(self.was),
        }


@dataclass(frozen=True, repr=False)
class News(Report):
    """What has appeared, has changed, and no longer waits."""

    new: list[Remark]
    changed: list[Remark]
    over: list[Remark]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to print."""
        return not (self.new or self.changed or self.over)

    def blocks(self) -> Iterator[Block]:
        """Show how much is new, and a line for each."""
        counts = [
            (self.new, "thing is new", "things are new"),
            (self.changed, "thing has changed", "things have changed"),
            (self.over, "thing no longer waits", "things no longer wait"),
        ]
        parts = [counted(len(found), one, more) for found, one, more in counts if found]
        severity = Severity.ERROR if self.new or self.changed else Severity.OK
        yield Headline(severity, f"{', '.join(parts) or 'Nothing is new'}.")
        yield Remarks(self.new, "item", title="New")
        yield Remarks(self.changed, "item", title="Changed")
        yield Remarks(self.over, "item", title="No longer waiting")


def to_print(report: SummaryReport) -> Report | None:
    """Return what this pass is to print, and remember it; None: nothing is new.

    The first pass of a host, and one each day, print the whole summary, if anything waits.
    """
    now = _things(report)
    with transaction():
        row = queries("attention").printed_last(host=host_name())
        last: Mapping[str, Mapping[str, Any]] = row["items"] if row else {}
        is_reminder = bool(now) and (row is None or row["age"] >= _REMINDER)
        kept = {key: thing for key, thing in now.items() if key in last}
        changed = [k for k, thing in kept.items() if last[k]["fingerprint"] != thing.fingerprint]
        news = News(
            [thing.remark for key, thing in now.items() if key not in last],
            [kept[key].remark for key in changed],
            _over([last[key] for key in last if key not in now], now),
        )
        if is_reminder or last.keys() != now.keys() or changed:
            queries("attention").remember_printed(
                host=host_name(),
                items=json.dumps({key: thing.printed for key, thing in now.items()}),
                is_reminder=is_reminder,
            )
    if is_reminder:
        return report
    return None if news.is_empty else news


def _over(gone: list[Mapping[str, Any]], now: Mapping[str, _Thing]) -> list[Remark]:
    """Return a line for each thing that is over, with what its batch is now.

    A batch of which jobs had failed and that has failed itself still waits, as another item.
    """
    waiting = {thing.subject for thing in now.values() if thing.subject}
    over = [thing for thing in gone if thing["subject"] not in waiting]
    ids = [int(found[1]) for each in over if (found := _BATCH.match(each["subject"] or ""))]
    rows = queries("attention").batch_statuses(batch_ids=ids) if ids else []
    statuses = {f"batch {row['batch_id']}": row["status"] for row in rows}
    lines = []
    for thing in over:
        was, status = thing["was"], statuses.get(thing["subject"])
        is_moved = status is not None and was != f"was {status}"
        is_now = f", is {status}" if is_moved else ", and no longer waits"
        text = f"{was}{is_now}" if thing["subject"] else was
        lines.append(Remark(thing["about"], text, Severity.OK))
    return lines


def _things(report: SummaryReport) -> dict[str, _Thing]:
    """Return what is to be known by its key: what waits, and what is wrong with monitoring."""
    # That no card can be sent from here is no news as long as there is none.
    is_teams_wrong = report.cards_waiting or get_settings().teams_webhook_url is not None
    wrong = [
        *report.errors,
        *(Remark("Monitoring", text, Severity.WARNING) for text in report.warnings),
        *(
            [Remark("Teams", report.cards_problem)]
            if report.cards_problem and is_teams_wrong
            else []
        ),
    ]
    things = {
        item.key: _Thing(item.remark, item.fingerprint, item.subject, item.was)
        for item in report.waiting.items
    }
    for remark in wrong:
        # Without numbers: how long, how often and when is no news.
        about, text = _NUMBERS.sub("…", remark.about), _NUMBERS.sub("…", remark.text)
        fingerprint = hashlib.sha256(text.encode()).hexdigest()
        key = shorten(f"{about}: {text}", _LONGEST_KEY)
        was = f"no longer reported: {shorten(remark.text, _LONGEST_KEY)}"
        things[key] = _Thing(remark, fingerprint, None, was)
    return things

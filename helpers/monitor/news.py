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

from helpers.database import queries, transaction
from helpers.display import Block, Headline, Remark, Remarks, Report, Severity
from helpers.identity import host_name
from helpers.monitor.summary import SummaryReport
from helpers.settings import get_settings
from helpers.text import counted, shorten

_REMINDER = timedelta(days=1)
_NUMBERS = re.compile(r"\d+")
_LONGEST_KEY = 200


@dataclass(frozen=True, repr=False)
class News(Report):
    """What has appeared, has changed, and is over."""

    new: list[Remark]
    changed: list[Remark]
    over: list[str]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to print."""
        return not (self.new or self.changed or self.over)

    def blocks(self) -> Iterator[Block]:
        """Show how much is new, and a line for each."""
        parts = [
            f"{counted(len(self.new), 'thing is', 'things are')} new" if self.new else "",
            f"{len(self.changed)} changed" if self.changed else "",
            f"{len(self.over)} over" if self.over else "",
        ]
        severity = Severity.ERROR if self.new or self.changed else Severity.OK
        yield Headline(severity, f"{', '.join(filter(None, parts)) or 'Nothing is new'}.")
        yield Remarks(self.new, "item", title="New")
        yield Remarks(self.changed, "item", title="Changed")
        over = [Remark(name, "over", Severity.OK) for name in self.over]
        yield Remarks(over, "item", title="Over")


def to_print(report: SummaryReport) -> Report | None:
    """Return what this pass is to print, and remember it; None: nothing is new.

    The first pass of a host, and one each day, print the whole summary, if anything waits.
    """
    now = _things(report)
    with transaction():
        row = queries("attention").printed_last(host=host_name())
        last: Mapping[str, str] = row["items"] if row else {}
        is_reminder = bool(now) and (row is None or row["age"] >= _REMINDER)
        news = News(
            [remark for key, (remark, _) in now.items() if key not in last],
            [remark for key, (remark, mark) in now.items() if last.get(key, mark) != mark],
            [key for key in last if key not in now],
        )
        if is_reminder or not news.is_empty:
            items = json.dumps({key: fingerprint for key, (_, fingerprint) in now.items()})
            queries("attention").remember_printed(
                host=host_name(), items=items, is_reminder=is_reminder
            )
    if is_reminder:
        return report
    return None if news.is_empty else news


def _things(report: SummaryReport) -> dict[str, tuple[Remark, str]]:
    """Return what is to be known by its key: what waits, and what is wrong with monitoring.

    Each with a fingerprint: with another one it is news.
    """
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
    things = {item.key: (item.remark, item.fingerprint) for item in report.waiting.items}
    for remark in wrong:
        # Without numbers: how long, how often and when is no news.
        about, text = _NUMBERS.sub("…", remark.about), _NUMBERS.sub("…", remark.text)
        fingerprint = hashlib.sha256(text.encode()).hexdigest()
        things[shorten(f"{about}: {text}", _LONGEST_KEY)] = remark, fingerprint
    return things

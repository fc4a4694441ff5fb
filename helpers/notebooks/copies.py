"""The executed copies of notebooks in ``runs`` folders: pruned by age and by number.

Only files are touched whose names are of the form that ``executed_copy_path`` gives, or gave in
0.1.0: ``Stage_03_Data_Import Step_05_EDM_DB_Upgrade 2026-11-26T15-51-07-000123.ipynb``.
"""

import contextlib
import re
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

from helpers.clock import CLOCK
from helpers.workflow_paths import copy_name, workflows_dir

_COPY = re.compile(
    r"(?P<name>.+) \d{1,2} (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d\d\.\d\d"
    r"(?: \(\d+\))?\.ipynb"
)
_OLD_COPY = re.compile(
    r"(?:(?P<stage>Stage_\d+.*) (?=Step_\d))?(?P<stem>.+)"
    r" (?P<stamp>\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-\d{6})\.ipynb",
    re.DOTALL,
)
_STAMP_FORMAT = "%Y-%m-%dT%H-%M-%S-%f"


def prune_copies(*, older_than: timedelta, keep_at_most: int) -> int:
    """Remove the copies that are too old or too many, and return how many were removed.

    The newest copy of each notebook stays, however old it is.

    Args:
        older_than: how old a copy may become.
        keep_at_most: how many copies of one notebook stay.
    """
    oldest = CLOCK.now() - older_than
    removed = 0
    for runs in (*workflows_dir().glob("runs"), *workflows_dir().glob("*/runs")):
        for copies in _copies_by_notebook(runs).values():
            newest_first = sorted(copies, reverse=True)
            for rank, (taken_ts, path) in enumerate(newest_first):
                if rank > 0 and (rank >= keep_at_most or taken_ts < oldest):
                    with contextlib.suppress(OSError):  # somebody else's, or gone already
                        path.unlink()
                        removed += 1
    return removed


def _copies_by_notebook(folder: Path) -> dict[str, list[tuple[datetime, Path]]]:
    copies: dict[str, list[tuple[datetime, Path]]] = defaultdict(list)
    for path in folder.iterdir():
        if (found := _COPY.fullmatch(path.name)) is not None:
            with contextlib.suppress(OSError):  # gone meanwhile
                written_ts = datetime.fromtimestamp(path.stat().st_mtime, UTC)
                copies[found["name"]].append((written_ts, path))
        elif (found := _OLD_COPY.fullmatch(path.name)) is not None:
            taken_ts = datetime.strptime(found["stamp"], _STAMP_FORMAT).replace(tzinfo=UTC)
            copies[copy_name(found["stage"] or "", found["stem"])].append((taken_ts, path))
    return copies

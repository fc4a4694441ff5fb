"""What people see: reports of a few blocks, as HTML if HTML is shown, and as text elsewhere.

Rendering only: it decides nothing and reads nothing.
"""

from helpers.display.blocks import (
    Block,
    Cell,
    Fold,
    Headline,
    Lane,
    Mark,
    Note,
    Remark,
    Remarks,
    Row,
    Span,
    Table,
    Tile,
    Tiles,
    Timeline,
    Value,
    badge,
)
from helpers.display.formats import (
    ago,
    as_of,
    clock,
    clock_and_age,
    duration,
    ids,
    labels,
    local,
    moment,
    tally,
    time_of_day,
    zone,
)
from helpers.display.links import Target, file_of
from helpers.display.progress import Progress, progress
from helpers.display.rendering import Report, fragment, page
from helpers.display.severity import Severity, severity_of

__all__ = [
    "Block",
    "Cell",
    "Fold",
    "Headline",
    "Lane",
    "Mark",
    "Note",
    "Progress",
    "Remark",
    "Remarks",
    "Report",
    "Row",
    "Severity",
    "Span",
    "Table",
    "Target",
    "Tile",
    "Tiles",
    "Timeline",
    "Value",
    "ago",
    "as_of",
    "badge",
    "clock",
    "clock_and_age",
    "duration",
    "file_of",
    "fragment",
    "ids",
    "labels",
    "local",
    "moment",
    "page",
    "progress",
    "severity_of",
    "tally",
    "time_of_day",
    "zone",
]

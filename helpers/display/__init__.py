"""What people see: reports of a few blocks, as HTML if HTML is shown, and as text elsewhere.

Rendering only: it decides nothing and reads nothing.
"""

from helpers.display.blocks import (
    Block,
    Cell,
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
from helpers.display.formats import clock, duration, ids, labels, moment, tally, zone
from helpers.display.progress import Progress, progress
from helpers.display.rendering import Report, page
from helpers.display.severity import Severity, severity_of

__all__ = [
    "Block",
    "Cell",
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
    "Tile",
    "Tiles",
    "Timeline",
    "Value",
    "badge",
    "clock",
    "duration",
    "ids",
    "labels",
    "moment",
    "page",
    "progress",
    "severity_of",
    "tally",
    "zone",
]

"""What people see: reports of a few blocks, as HTML if HTML is shown, and as text elsewhere.

Rendering only: it decides nothing and reads nothing.
"""

from helpers.display.blocks import (
    Block,
    Cell,
    Headline,
    Note,
    Remark,
    Remarks,
    Row,
    Table,
    Tile,
    Tiles,
    Value,
    badge,
)
from helpers.display.formats import duration, ids, labels, moment, tally
from helpers.display.progress import Progress, progress
from helpers.display.rendering import Report
from helpers.display.severity import Severity, severity_of

__all__ = [
    "Block",
    "Cell",
    "Headline",
    "Note",
    "Progress",
    "Remark",
    "Remarks",
    "Report",
    "Row",
    "Severity",
    "Table",
    "Tile",
    "Tiles",
    "Value",
    "badge",
    "duration",
    "ids",
    "labels",
    "moment",
    "progress",
    "severity_of",
    "tally",
]

"""What each section of a pass found and did. Facts, and the one sentence that sums them up."""

from helpers.display import Remark
from helpers.monitor.reports.batches import FoundReport, ReconciledBatch, ReconReport
from helpers.monitor.reports.chaining import ChainedStep, ChainReport
from helpers.monitor.reports.polling import PollReport, grouped_by_text

__all__ = [
    "ChainReport",
    "ChainedStep",
    "FoundReport",
    "PollReport",
    "ReconReport",
    "ReconciledBatch",
    "Remark",
    "grouped_by_text",
]

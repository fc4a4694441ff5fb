"""How good or bad a thing is: the colours and signs of all reports."""

from enum import StrEnum
from typing import Self

from helpers.constants import (
    ActionStatus,
    BatchStatus,
    ConfigurationStatus,
    CycleStatus,
    JobStatus,
    NotificationStatus,
    StepStatus,
)


class Severity(StrEnum):
    """How something looks: the style sheet's class, and a sign for eyes that see no colours."""

    OK = "ok", "✔"
    ERROR = "error", "✖"
    WARNING = "warning", "▲"
    INFO = "info", "●"  # in progress
    NEUTRAL = "neutral", "○"

    sign: str

    def __new__(cls, label: str, sign: str) -> Self:
        """Make a member."""
        severity = str.__new__(cls, label)
        severity._value_, severity.sign = label, sign
        return severity


# By label, because jobs, batches, steps, cards and the rest share theirs.
_SEVERITIES: dict[str, Severity] = {
    JobStatus.FINISHED: Severity.OK,
    BatchStatus.COMPLETED: Severity.OK,
    ConfigurationStatus.VALID: Severity.OK,
    NotificationStatus.SENT: Severity.OK,
    JobStatus.FAILED: Severity.ERROR,
    JobStatus.ERROR: Severity.ERROR,
    NotificationStatus.ABANDONED: Severity.ERROR,
    JobStatus.CANCEL_REQUESTED: Severity.WARNING,
    JobStatus.CANCELLING: Severity.WARNING,
    JobStatus.CANCELLED: Severity.WARNING,
    BatchStatus.ACTIVE: Severity.INFO,
    JobStatus.SUBMITTED: Severity.INFO,
    JobStatus.PENDING: Severity.INFO,
    JobStatus.QUEUED: Severity.INFO,
    JobStatus.RUNNING: Severity.INFO,
    JobStatus.INITIATED: Severity.NEUTRAL,
    StepStatus.SKIPPED: Severity.NEUTRAL,
    NotificationStatus.SUPPRESSED: Severity.NEUTRAL,
    ConfigurationStatus.NEW: Severity.NEUTRAL,
    CycleStatus.ARCHIVED: Severity.NEUTRAL,
    ActionStatus.DONE: Severity.OK,
    ActionStatus.FAILED: Severity.ERROR,
    ActionStatus.REJECTED: Severity.ERROR,
    ActionStatus.UNKNOWN: Severity.WARNING,
    ActionStatus.PLANNED: Severity.NEUTRAL,
}


def severity_of(status: str) -> Severity:
    """Return the severity of a status, whatever it is of; a foreign word warns."""
    return _SEVERITIES.get(status, Severity.WARNING)

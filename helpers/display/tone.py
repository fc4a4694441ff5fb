"""Which of five tones a thing is shown in: the colours of all reports."""

from __future__ import annotations

from enum import StrEnum

from helpers.constants import (
    BatchStatus,
    ConfigurationStatus,
    CycleStatus,
    JobStatus,
    NotificationStatus,
    StepStatus,
)


class Tone(StrEnum):
    """How something looks; the names of the style sheet's classes."""

    GOOD = "good"
    BAD = "bad"
    WARN = "warn"
    BUSY = "busy"
    CALM = "calm"


# By label, because jobs, batches, steps, cards and the rest share theirs.
_TONES: dict[str, Tone] = {
    JobStatus.FINISHED: Tone.GOOD,
    BatchStatus.COMPLETED: Tone.GOOD,
    ConfigurationStatus.VALID: Tone.GOOD,
    NotificationStatus.SENT: Tone.GOOD,
    JobStatus.FAILED: Tone.BAD,
    JobStatus.ERROR: Tone.BAD,
    NotificationStatus.ABANDONED: Tone.BAD,
    JobStatus.CANCEL_REQUESTED: Tone.WARN,
    JobStatus.CANCELLING: Tone.WARN,
    JobStatus.CANCELLED: Tone.WARN,
    BatchStatus.ACTIVE: Tone.BUSY,
    JobStatus.SUBMITTED: Tone.BUSY,
    JobStatus.PENDING: Tone.BUSY,
    JobStatus.QUEUED: Tone.BUSY,
    JobStatus.RUNNING: Tone.BUSY,
    JobStatus.INITIATED: Tone.CALM,
    StepStatus.SKIPPED: Tone.CALM,
    NotificationStatus.SUPPRESSED: Tone.CALM,
    ConfigurationStatus.NEW: Tone.CALM,
    CycleStatus.ARCHIVED: Tone.CALM,
}


def tone_of(status: str) -> Tone:
    """Return the tone of a status, whatever it is of; a foreign word warns."""
    return _TONES.get(status, Tone.WARN)

"""Which of five tones a thing is shown in: the colours of all reports."""

from __future__ import annotations

from enum import StrEnum

from helpers.constants import BatchStatus, JobStatus, StepStatus


class Tone(StrEnum):
    """How something looks; the names of the style sheet's classes."""

    GOOD = "good"
    BAD = "bad"
    WARN = "warn"
    BUSY = "busy"
    CALM = "calm"


# By label, because jobs, batches, steps and chain runs share theirs.
_TONES: dict[str, Tone] = {
    JobStatus.FINISHED: Tone.GOOD,
    BatchStatus.COMPLETED: Tone.GOOD,
    JobStatus.FAILED: Tone.BAD,
    JobStatus.ERROR: Tone.BAD,
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
}


def tone_of(status: str) -> Tone:
    """Return the tone of a status of a job, batch, step or chain run; a foreign word warns."""
    return _TONES.get(status, Tone.WARN)

"""The vocabulary of the metastore: statuses, their legal moves, batch types and where they run.

Every status in the project is a member of one of these enums, and their labels are the
labels of the database's enum types. Groups of statuses are derived from the tables of
moves and never listed a second time. This module decides nothing and imports nothing of ours.
"""

from difflib import get_close_matches
from enum import StrEnum
from functools import cache
from typing import Self


class JobStatus(StrEnum):
    """Where one job stands."""

    INITIATED = "INITIATED"  # prepared here, not sent to Moody's
    SUBMITTED = "SUBMITTED"  # Moody's accepted it and gave it an id
    PENDING = "PENDING"  # Moody's: accepted, waiting
    QUEUED = "QUEUED"  # Moody's: waiting for a worker
    RUNNING = "RUNNING"  # Moody's: running
    FINISHED = "FINISHED"  # done, with a result
    FAILED = "FAILED"  # Moody's gave up on it
    CANCEL_REQUESTED = "CANCEL_REQUESTED"  # somebody asked Moody's to stop
    CANCELLING = "CANCELLING"  # Moody's is stopping it
    CANCELLED = "CANCELLED"  # stopped before it was done
    ERROR = "ERROR"  # ours: it could not be submitted

    @classmethod
    @cache
    def terminal(cls) -> "frozenset[JobStatus]":
        """Return the statuses that no answer changes any more: polling stops there."""
        return frozenset(status for status, moves in JOB_MOVES.items() if not moves)

    @classmethod
    @cache
    def of_moodys(cls) -> "frozenset[JobStatus]":
        """Return the statuses that Moody's sends; the others exist only here."""
        return frozenset(cls) - {cls.INITIATED, cls.SUBMITTED, cls.ERROR}


_ENDS = frozenset({JobStatus.FINISHED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.ERROR})
_CANCELS = frozenset({JobStatus.CANCEL_REQUESTED, JobStatus.CANCELLING})
_WAITS = frozenset({JobStatus.PENDING, JobStatus.QUEUED})

JOB_MOVES: dict[JobStatus, frozenset[JobStatus]] = {
    JobStatus.INITIATED: _ENDS | _CANCELS | _WAITS | {JobStatus.RUNNING, JobStatus.SUBMITTED},
    JobStatus.SUBMITTED: _ENDS | _CANCELS | _WAITS | {JobStatus.RUNNING},
    JobStatus.PENDING: _ENDS | _CANCELS | {JobStatus.QUEUED, JobStatus.RUNNING},
    JobStatus.QUEUED: _ENDS | _CANCELS | {JobStatus.PENDING, JobStatus.RUNNING},
    JobStatus.RUNNING: _ENDS | _CANCELS | _WAITS,
    JobStatus.CANCEL_REQUESTED: _ENDS | _WAITS | {JobStatus.RUNNING, JobStatus.CANCELLING},
    JobStatus.CANCELLING: _ENDS | _WAITS | {JobStatus.RUNNING},
    JobStatus.FINISHED: frozenset(),
    JobStatus.FAILED: frozenset(),
    JobStatus.CANCELLED: frozenset(),
    JobStatus.ERROR: frozenset(),
}
"""From each status to those that may follow it; those in ``BACKWARD_MOVES`` only if read by id."""

BACKWARD_MOVES: frozenset[tuple[JobStatus, JobStatus]] = frozenset(
    (old, new)
    for old in _CANCELS | {JobStatus.RUNNING}
    for new in _WAITS | {JobStatus.RUNNING}
    if new != old
)
"""Moody's has restarted a job, or refused to cancel it. A search may be of yesterday, and is not
believed about such a move."""


class StartedBy(StrEnum):
    """What started a pass of the monitor."""

    COMMAND = "command"  # cron, or something else without a terminal
    TERMINAL = "terminal"  # a person in a shell
    NOTEBOOK = "notebook"  # a person, in JupyterLab
    SCHEDULED_NOTEBOOK = "scheduled notebook"  # JupyterLab's scheduler


class BatchStatus(StrEnum):
    """Where one batch stands."""

    INITIATED = "INITIATED"  # prepared, nothing submitted
    ACTIVE = "ACTIVE"  # being submitted or watched
    COMPLETED = "COMPLETED"  # every configuration has a finished job
    FAILED = "FAILED"  # every job is terminal, and a job failed at Moody's
    CANCELLED = "CANCELLED"  # every job is terminal, and every job was cancelled
    ERROR = "ERROR"  # every job is terminal, and a job could not be submitted

    @classmethod
    @cache
    def terminal(cls) -> "frozenset[BatchStatus]":
        """Return the statuses in which a batch is no longer watched."""
        return frozenset(cls) - {cls.INITIATED, cls.ACTIVE}

    @classmethod
    def announced(cls) -> "frozenset[BatchStatus]":
        """Return the terminal statuses that people are told about."""
        return cls.terminal() - {cls.COMPLETED}


class CycleStatus(StrEnum):
    """Where one cycle stands; at most one is ACTIVE."""

    ACTIVE = "ACTIVE"  # its batches are watched
    ARCHIVED = "ARCHIVED"  # left alone


class StepStatus(StrEnum):
    """How one run of a step's notebook stands."""

    ACTIVE = "ACTIVE"  # running
    COMPLETED = "COMPLETED"  # every cell ran
    FAILED = "FAILED"  # it raised, timed out or was stopped
    SKIPPED = "SKIPPED"  # left out by a person


class ConfigurationStatus(StrEnum):
    """Where one cycle configuration stands."""

    NEW = "NEW"  # loaded, not checked
    VALID = "VALID"  # checked
    ACTIVE = "ACTIVE"  # in use
    ERROR = "ERROR"  # refused


class ChainRunStatus(StrEnum):
    """Where one chain run, from a finished batch to the next step, stands."""

    PENDING = "PENDING"  # due; any monitor may claim it
    RUNNING = "RUNNING"  # a monitor runs the notebook and renews its heartbeat
    COMPLETED = "COMPLETED"  # the notebook ran to its end
    FAILED = "FAILED"  # it failed, or could not be started: a person looks first
    CANCELLED = "CANCELLED"  # overtaken: its batch became active again


class NotificationStatus(StrEnum):
    """Where one card for Teams stands."""

    PENDING = "PENDING"  # due, or waiting for its next try
    SENT = "SENT"  # the webhook accepted it
    SUPPRESSED = "SUPPRESSED"  # notifications are off or not configured
    ABANDONED = "ABANDONED"  # a day of tries was not enough


class NotificationKind(StrEnum):
    """What a card tells."""

    BATCH_FAILED = "BATCH_FAILED"  # a batch ended as FAILED, ERROR or CANCELLED
    BATCH_RECOVERED = "BATCH_RECOVERED"  # a batch that was announced as failed is COMPLETED
    CHAIN_FAILED = "CHAIN_FAILED"  # the next step's notebook failed or could not be started
    JOBS_FAILED = "JOBS_FAILED"  # jobs have failed while their batch is still ACTIVE
    JOBS_LATE = "JOBS_LATE"  # jobs of an ACTIVE batch take far longer than usual
    MORNING_REPORT = "MORNING_REPORT"  # where an ACTIVE cycle stands, once a day


class ActionKind(StrEnum):
    """What a person does by hand."""

    ARCHIVE = "ARCHIVE"  # a cycle is over
    RESUBMIT = "RESUBMIT"  # a job is replaced by a new one
    SKIP = "SKIP"  # a job, and what it was made for, is done without
    ACTIVATE = "ACTIVATE"  # a batch is watched and decided anew
    RESOLVE = "RESOLVE"  # a person says what became of a submission
    CANCEL = "CANCEL"  # Moody's is asked to stop a job
    PRIORITY = "PRIORITY"  # Moody's is asked to run a job sooner or later
    RERUN = "RERUN"  # a step is made due again
    HOLD = "HOLD"  # a step is not started for now
    RELEASE = "RELEASE"  # a step that was held, or waits for its siblings, may start


class ActionStatus(StrEnum):
    """How an action of a person ended."""

    PLANNED = "PLANNED"  # on record, and what it asks for has no outcome yet
    DONE = "DONE"  # done, or accepted by Moody's
    FAILED = "FAILED"  # done, and the step that was run again failed
    REJECTED = "REJECTED"  # Moody's has rejected it
    UNKNOWN = "UNKNOWN"  # Moody's may have accepted it: repeating it is safe


class Family(StrEnum):
    """A part of Moody's API that runs jobs. Values are what messages call it.

    ``irp_integration.client.job_reader`` says how each is read; the type checker asks for it.
    """

    RISK_DATA = "risk data", "/platform/riskdata/v1/jobs"
    IMPORT = "import", "/platform/import/v1/jobs"
    GEOHAZ = "geohaz", "/platform/geohaz/v1/jobs"
    MODEL = "model", "/platform/model/v1/jobs"
    GROUPING = "grouping", "/platform/grouping/v1/jobs"
    EXPORT = "export", "/platform/export/v1/jobs"

    jobs_path: str

    def __new__(cls, label: str, *jobs_path: str) -> Self:
        """Make a member; a row without its path fails at import."""
        family = str.__new__(cls, label)
        family._value_ = label
        [family.jobs_path] = jobs_path
        return family

    @property
    def search_is_proven(self) -> bool:
        """Whether real answers have shown that jobs of this family can be searched for."""
        return self in {Family.RISK_DATA, Family.MODEL}

    def job_path(self, workflow_id: str) -> str:
        """Return the path of one job."""
        return f"{self.jobs_path}/{workflow_id}"


class BatchType(StrEnum):
    """What the jobs of a batch do, and where they run; values stand in ``irp_batch.batch_type``.

    The family is None for a synchronous type, whose jobs finish as they are submitted. A team may
    have types of its own there: ask ``known``, and never take an unknown type for a synchronous
    one.
    """

    DATA_EXTRACTION = "Data Extraction", None
    EDM_CREATION = "EDM Creation", Family.RISK_DATA
    PORTFOLIO_CREATION = "Portfolio Creation", None
    MRI_IMPORT = "MRI Import", Family.IMPORT
    REINSURANCE_TREATIES = "Create Reinsurance Treaties", None
    EDM_DB_UPGRADE = "EDM DB Upgrade", Family.RISK_DATA
    GEOHAZ = "GeoHaz", Family.GEOHAZ
    PORTFOLIO_MAPPING = "Portfolio Mapping", None
    ANALYSIS = "Analysis", Family.MODEL
    GROUPING = "Grouping", Family.GROUPING
    GROUPING_ROLLUP = "Grouping Rollup", Family.GROUPING
    EXPORT_TO_RDM = "Export to RDM", Family.EXPORT

    family: Family | None

    def __new__(cls, label: str, *family: Family | None) -> Self:
        """Make a member; a row that does not say where its jobs run fails at import."""
        batch_type = str.__new__(cls, label)
        batch_type._value_ = label
        [batch_type.family] = family
        return batch_type

    @classmethod
    def known(cls, label: object) -> "BatchType | None":
        """Return the type with exactly this label; None if nobody knows it."""
        try:
            return cls(label) if isinstance(label, str) else None
        except ValueError:
            return None

    @classmethod
    def polled(cls) -> "frozenset[BatchType]":
        """Return the types whose jobs run at Moody's."""
        return frozenset(batch_type for batch_type in cls if batch_type.family is not None)


def unknown_batch_type(label: object) -> str:
    """Return what people should know of a batch type that nobody knows: the ones that are known."""
    spelled = {batch_type.casefold(): batch_type.value for batch_type in BatchType}
    nearest = get_close_matches(str(label).strip().casefold(), spelled)
    hint = f"; did you mean {spelled[nearest[0]]!r}?" if nearest else "."
    known = ", ".join(sorted(spelled.values()))
    return f"{label!r} is not a known batch type{hint} Known are: {known}."

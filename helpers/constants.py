"""The vocabulary of the metastore: statuses, their legal moves, and the batch types.

Every status in the project is a member of one of these enums, and their labels are the
labels of the database's enum types. Groups of statuses are derived from the tables of
moves and never listed a second time. This module decides nothing and imports nothing of ours.
"""

from __future__ import annotations

from enum import StrEnum


class JobStatus(StrEnum):
    """Where one job stands."""

    INITIATED = "INITIATED"  # prepared here, not sent to Moody's
    SUBMITTED = "SUBMITTED"  # Moody's has taken it and given it an id
    PENDING = "PENDING"  # Moody's: accepted, waiting
    QUEUED = "QUEUED"  # Moody's: waiting for a worker
    RUNNING = "RUNNING"  # Moody's: at work
    FINISHED = "FINISHED"  # done, with a result
    FAILED = "FAILED"  # Moody's gave up on it
    CANCEL_REQUESTED = "CANCEL_REQUESTED"  # somebody asked Moody's to stop
    CANCELLING = "CANCELLING"  # Moody's is stopping it
    CANCELLED = "CANCELLED"  # stopped before it was done
    ERROR = "ERROR"  # ours: it could not be submitted

    @classmethod
    def terminal(cls) -> frozenset[JobStatus]:
        """Return the statuses that no answer changes any more: polling stops there."""
        return frozenset(status for status, moves in JOB_MOVES.items() if not moves)

    @classmethod
    def of_moodys(cls) -> frozenset[JobStatus]:
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
    JobStatus.RUNNING: _ENDS | _CANCELS,
    JobStatus.CANCEL_REQUESTED: _ENDS | {JobStatus.CANCELLING},
    JobStatus.CANCELLING: _ENDS,
    JobStatus.FINISHED: frozenset(),
    JobStatus.FAILED: frozenset(),
    JobStatus.CANCELLED: frozenset(),
    JobStatus.ERROR: frozenset(),
}
"""From each status to those that may follow it. Moves lead forward only."""


class BatchStatus(StrEnum):
    """Where one batch stands."""

    INITIATED = "INITIATED"  # prepared, nothing submitted
    ACTIVE = "ACTIVE"  # being submitted or watched
    COMPLETED = "COMPLETED"  # every configuration has a finished job
    FAILED = "FAILED"  # settled, and a job failed at Moody's
    CANCELLED = "CANCELLED"  # settled, and every job was cancelled
    ERROR = "ERROR"  # settled, and a job could not be submitted

    @classmethod
    def terminal(cls) -> frozenset[BatchStatus]:
        """Return the statuses in which a batch is no longer watched."""
        return frozenset(cls) - {cls.INITIATED, cls.ACTIVE}

    @classmethod
    def announced(cls) -> frozenset[BatchStatus]:
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
    """Where one hand-over from a finished batch to the next step stands."""

    PENDING = "PENDING"  # due; any monitor may claim it
    RUNNING = "RUNNING"  # a monitor runs the notebook and renews its heartbeat
    COMPLETED = "COMPLETED"  # the notebook ran to its end
    FAILED = "FAILED"  # it failed, or could not be started: a person looks first
    CANCELLED = "CANCELLED"  # overtaken: its batch became active again


class NotificationStatus(StrEnum):
    """Where one card for Teams stands."""

    PENDING = "PENDING"  # due, or waiting for its next try
    SENT = "SENT"  # the webhook has taken it
    SUPPRESSED = "SUPPRESSED"  # notifications are off or not configured
    ABANDONED = "ABANDONED"  # a day of tries was not enough


class NotificationKind(StrEnum):
    """What a card tells."""

    BATCH_FAILED = "BATCH_FAILED"  # a batch ended as FAILED, ERROR or CANCELLED
    BATCH_RECOVERED = "BATCH_RECOVERED"  # a batch that was announced as failed is COMPLETED
    CHAIN_FAILED = "CHAIN_FAILED"  # the next step's notebook failed or could not be started


class BatchType(StrEnum):
    """What the jobs of a batch do. Values are the labels in ``irp_batch.batch_type``."""

    DATA_EXTRACTION = "Data Extraction"
    EDM_CREATION = "EDM Creation"
    PORTFOLIO_CREATION = "Portfolio Creation"
    MRI_IMPORT = "MRI Import"
    REINSURANCE_TREATIES = "Create Reinsurance Treaties"
    EDM_DB_UPGRADE = "EDM DB Upgrade"
    GEOHAZ = "GeoHaz"
    PORTFOLIO_MAPPING = "Portfolio Mapping"
    ANALYSIS = "Analysis"
    GROUPING = "Grouping"
    GROUPING_ROLLUP = "Grouping Rollup"
    EXPORT_TO_RDM = "Export to RDM"

    @classmethod
    def polled(cls) -> frozenset[BatchType]:
        """Return the types whose jobs run at Moody's; the others end as they are submitted."""
        return frozenset(API_CALLS)

    @property
    def api_call(self) -> tuple[str, str] | None:
        """Return (part of ``IRPClient``, method) that reads a job; None for a synchronous type."""
        return API_CALLS.get(self)


API_CALLS: dict[BatchType, tuple[str, str]] = {
    BatchType.EDM_CREATION: ("job", "get_risk_data_job"),
    BatchType.MRI_IMPORT: ("mri_import", "get_import_job"),
    BatchType.EDM_DB_UPGRADE: ("job", "get_risk_data_job"),
    BatchType.GEOHAZ: ("geohaz", "get_geohaz_job"),
    BatchType.ANALYSIS: ("analysis", "get_analysis_job"),
    BatchType.GROUPING: ("analysis", "get_analysis_grouping_job"),
    BatchType.GROUPING_ROLLUP: ("analysis", "get_analysis_grouping_job"),
    BatchType.EXPORT_TO_RDM: ("rdm", "get_rdm_export_job"),
}
"""Which call of ``IRPClient`` reads the jobs of each polled batch type."""

"""What can go wrong, by whose side it lies on.

::

    BatchMonitoringError
    ├── SettingsError                  ours: a setting is missing or wrong
    ├── JobError                       ours: a job cannot be read, polled or submitted
    │   └── OutcomeUnknownError        nobody knows whether Moody's accepted it: try again
    ├── BatchError                     ours: a batch cannot be read, reconciled or submitted
    ├── CycleError                     ours: a cycle cannot be created, read or archived
    ├── PlanOvertakenError             ours: what a plan saw has changed; nothing was done
    ├── DatabaseError                  the database refused a statement
    │   ├── DatabaseUnavailableError   it cannot be reached, or the connection broke
    │   └── SchemaOutdatedError        its migrations are behind this package
    ├── MoodysError                    Moody's did not answer with what was asked for
    │   └── MoodysCredentialsError     Moody's refuses who we are: no answer will come
    ├── BuildError                     ours: no request can be made of a row
    ├── NotebookError                  a notebook cannot be found, read or started
    ├── ScheduleError                  the schedule in JupyterLab cannot be read or changed
    └── NotificationError              Teams cannot be reached, or accepts nothing now
        └── MessageRejectedError       Teams rejects this one message

Facts are attributes, the message is for people and says what to do. No message holds a secret.
"""


class BatchMonitoringError(Exception):
    """Anything that this package raises on purpose."""

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows of it: the message, which says what to do, and no traceback."""
        return [f"{type(self).__name__}: {self}"]


class SettingsError(BatchMonitoringError):
    """A setting is missing or wrong; the message names it and says what to do."""


class JobError(BatchMonitoringError):
    """A job cannot be read, polled or submitted."""

    def __init__(self, message: str, *, job_id: object = None) -> None:
        super().__init__(message)
        self.job_id = job_id


class OutcomeUnknownError(JobError):
    """It is not known whether Moody's accepted a job; a repeat with the same key is safe."""


class BatchError(BatchMonitoringError):
    """A batch cannot be read, reconciled or submitted."""

    def __init__(self, message: str, *, batch_id: object = None) -> None:
        super().__init__(message)
        self.batch_id = batch_id


class CycleError(BatchMonitoringError):
    """A cycle cannot be created, read or archived."""


class PlanOvertakenError(BatchMonitoringError):
    """What a plan saw has changed since; nothing was done. Make the plan again, and look at it."""


class DatabaseError(BatchMonitoringError):
    """The database refused a statement.

    ``sqlstate`` is PostgreSQL's code for why, empty if it gave none.
    """

    def __init__(self, message: str, *, sqlstate: str | None = None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate or ""


class DatabaseUnavailableError(DatabaseError):
    """The database cannot be reached, or the connection broke."""


class SchemaOutdatedError(DatabaseError):
    """The database lacks migrations of this package; nothing was written."""


class MoodysError(BatchMonitoringError):
    """Moody's did not answer with what was asked for.

    ``http_status`` is None if no HTTP answer arrived at all.
    """

    def __init__(self, message: str, *, http_status: int | None = None) -> None:
        super().__init__(message)
        self.http_status = http_status


class MoodysCredentialsError(MoodysError):
    """Moody's refuses the credentials, so that every further question is pointless."""


class BuildError(BatchMonitoringError):
    """No request can be made of a row; ``problems`` has a line for each thing that is wrong."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(" ".join(problems))
        self.problems = problems


class NotebookError(BatchMonitoringError):
    """A notebook cannot be found, read or started."""


class ScheduleError(BatchMonitoringError):
    """The schedule in JupyterLab cannot be read or changed; the message says what to do next."""


class NotificationError(BatchMonitoringError):
    """Teams cannot be reached, or accepts no message at this time."""


class MessageRejectedError(NotificationError):
    """Teams rejects this one message; it may accept others."""

"""``IRPClient``: the only code that speaks to Moody's.

It stands on the published ``irp-integration`` package, whose authentication, session and
submission calls it uses; ours are the names under which stage notebooks poll, and the
polling itself.
"""

import uuid
from collections.abc import Callable
from typing import Any, Self, assert_never

from helpers.constants import BatchType, Family
from helpers.irp_integration.answers import Raw
from helpers.irp_integration.asking import read_by
from helpers.irp_integration.bodies import Body
from helpers.irp_integration.endpoints import required_id
from helpers.irp_integration.login import published_client
from helpers.irp_integration.prepared import MADE_ID, PreparedRequest
from helpers.irp_integration.questions import Question
from helpers.irp_integration.submissions import Outcome, Submission, job_id_in_location, judge
from helpers.irp_integration.transport import Transport
from helpers.settings import get_settings


class _Jobs:
    """Reads one job by id, in each family; every call raises ``MoodysError``."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def get_risk_data_job(self, job_id: int | str) -> Body:
        """Return an EDM creation or upgrade."""
        return self._read(Family.RISK_DATA, job_id, BatchType.EDM_DB_UPGRADE)

    def get_import_job(self, job_id: int | str) -> Body:
        """Return an MRI import."""
        return self._read(Family.IMPORT, job_id, BatchType.MRI_IMPORT)

    def get_geohaz_job(self, job_id: int | str) -> Body:
        """Return a GeoHaz job."""
        return self._read(Family.GEOHAZ, job_id)

    def get_analysis_job(self, job_id: int | str) -> Body:
        """Return an analysis."""
        return self._read(Family.MODEL, job_id)

    def get_analysis_grouping_job(self, job_id: int | str) -> Body:
        """Return a grouping."""
        return self._read(Family.GROUPING, job_id)

    def get_rdm_export_job(self, job_id: int | str) -> Body:
        """Return an export to an RDM."""
        return self._read(Family.EXPORT, job_id)

    def _read(self, family: Family, job_id: int | str, batch_type: BatchType | None = None) -> Body:
        """Read a job; if its family does not know it, where other tools submit such jobs."""
        question = Question(0, required_id(job_id), family, "", batch_type=batch_type)
        return read_by(self._transport.get, question).body


class IRPClient:
    """Moody's Intelligent Risk Platform, as the batches need it; closes as a context manager.

    Attributes:
        job, mri_import, geohaz, analysis, rdm: read one job by id.
        published: the published client, unmodified in what it offers, for everything else.
        transport: one connection pool, which threads may share.
    """

    def __init__(self, *, connections: int | None = None) -> None:
        """Authenticate with what the settings hold.

        Args:
            connections: concurrent requests; None takes ``MONITOR_POLL_WORKERS``.

        Raises:
            SettingsError: the settings lack something; the message says what.
            MoodysCredentialsError: Moody's refuses the login.
        """
        self.published = published_client()
        pool = connections or get_settings().monitor_poll_workers
        self.transport = Transport(self.published.client, connections=pool)
        # The names under which notebooks poll; behind each is the same.
        self.job = self.mri_import = self.geohaz = self.analysis = self.rdm = _Jobs(self.transport)

    def submit(self, method: str, path: str, *, body: Any, request_id: str) -> Raw:
        """Send a prepared request; see ``Transport.send``."""
        return self.transport.send(method, path, body=body, request_id=request_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.transport.close()


def job_reader(client: IRPClient, family: Family) -> Callable[[int], Body]:
    """Return the call that reads a job of this family by id."""
    match family:
        case Family.RISK_DATA:
            return client.job.get_risk_data_job
        case Family.IMPORT:
            return client.mri_import.get_import_job
        case Family.GEOHAZ:
            return client.geohaz.get_geohaz_job
        case Family.MODEL:
            return client.analysis.get_analysis_job
        case Family.GROUPING:
            return client.analysis.get_analysis_grouping_job
        case Family.EXPORT:
            return client.rdm.get_rdm_export_job
        case _:
            assert_never(family)


def send_prepared(
    client: IRPClient, request: PreparedRequest, request_id: str, *, is_polled: bool
) -> Submission:
    """Send a request, and those that complete what it made, with keys derived from its own.

    If one of those is not accepted, the outcome is unknown: the key is kept, because with another
    one what was made would be made again.

    Raises:
        MoodysError: an answer did not arrive.
    """
    raw = client.submit(request.method, request.path, body=request.json, request_id=request_id)
    judged = judge(raw, is_polled=is_polled)
    if judged.outcome is not Outcome.ACCEPTED or not request.then:
        return judged
    made_id = job_id_in_location(raw)
    if made_id is None:
        problem = "Moody's accepted the request but named nothing in its Location header."
        return Submission(Outcome.UNKNOWN, None, problem, judged.response)
    for number, item in enumerate(request.then):
        path = item.path.replace(MADE_ID, made_id)
        key = str(uuid.uuid5(uuid.UUID(request_id), str(number)))
        raw = client.submit(item.method, path, body=item.json, request_id=key)
        after = judge(raw, is_polled=False)
        if after.outcome is not Outcome.ACCEPTED:
            problem = f"Moody's made {made_id}, but did not complete it. {after.problem}"
            return Submission(Outcome.UNKNOWN, None, problem, after.response)
    return judged

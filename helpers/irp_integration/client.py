"""``IRPClient``: the only code that speaks to Moody's.

It stands on the published ``irp-integration`` package, whose authentication, session and
submission calls it uses; ours are the names under which stage notebooks poll, and the
polling itself.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, assert_never

from helpers.constants import Family
from helpers.irp_integration.answers import job_body
from helpers.irp_integration.bodies import Body
from helpers.irp_integration.endpoints import required_id
from helpers.irp_integration.login import published_client, require_settings
from helpers.irp_integration.transport import Raw, Transport
from helpers.settings import get_settings

_LOGIN_SECONDS = 30.0


class _Reads:
    """Reads the jobs of one family by id."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def _read(self, family: Family, job_id: int | str) -> Body:
        workflow_id = required_id(job_id)
        raw = self._transport.get(family.job_path(workflow_id))
        location = raw.headers.get("Location", "")
        return job_body(
            raw.content, http_status=raw.http_status, workflow_id=workflow_id, location=location
        )


class _RiskDataJobs(_Reads):
    def get_risk_data_job(self, job_id: int | str) -> Body:
        """Return an EDM creation or upgrade; raises ``MoodysError``."""
        return self._read(Family.RISK_DATA, job_id)


class _MriImportJobs(_Reads):
    def get_import_job(self, job_id: int | str) -> Body:
        """Return an MRI import; raises ``MoodysError``."""
        return self._read(Family.IMPORT, job_id)


class _GeohazJobs(_Reads):
    def get_geohaz_job(self, job_id: int | str) -> Body:
        """Return a GeoHaz job; raises ``MoodysError``."""
        return self._read(Family.GEOHAZ, job_id)


class _AnalysisJobs(_Reads):
    def get_analysis_job(self, job_id: int | str) -> Body:
        """Return an analysis; raises ``MoodysError``."""
        return self._read(Family.MODEL, job_id)

    def get_analysis_grouping_job(self, job_id: int | str) -> Body:
        """Return a grouping; raises ``MoodysError``."""
        return self._read(Family.GROUPING, job_id)


class _RdmJobs(_Reads):
    def get_rdm_export_job(self, job_id: int | str) -> Body:
        """Return an export to an RDM; raises ``MoodysError``."""
        return self._read(Family.EXPORT, job_id)


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
        settings = get_settings()
        require_settings(settings)
        patience = min(_LOGIN_SECONDS, settings.monitor_poll_budget_seconds)
        self.published = published_client(patience)
        pool = connections or settings.monitor_poll_workers
        self.transport = Transport(self.published.client, connections=pool)
        self.job = _RiskDataJobs(self.transport)
        self.mri_import = _MriImportJobs(self.transport)
        self.geohaz = _GeohazJobs(self.transport)
        self.analysis = _AnalysisJobs(self.transport)
        self.rdm = _RdmJobs(self.transport)

    def submit(self, method: str, path: str, *, body: Any, request_id: str) -> Raw:
        """Send a prepared request; see ``Transport.send``."""
        return self.transport.send(method, path, body=body, request_id=request_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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

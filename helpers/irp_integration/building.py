"""Build the requests of jobs from the names that analysts know: EDMs, portfolios, profiles.

The published client resolves names and knows the request of each batch type. It is used for
building alone: ``submit_job`` sends what is built here, with the job's own key. A request is built
when its step starts, because ids exist only after earlier steps, and never again once it may have
been sent.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID, uuid4

from helpers.constants import BatchType, unknown_batch_type
from helpers.errors import BuildError, MoodysError
from helpers.irp_integration.columns import Column, arguments, columns_of
from helpers.irp_integration.grouping import Grouping
from helpers.irp_integration.prepared import (
    PreparedRequest,
    UnexpectedWriteError,
    WriteReachedError,
    Writes,
)
from helpers.irp_integration.searching import Searches, missing_files
from helpers.redaction import shown

if TYPE_CHECKING:
    from irp_integration import IRPClient as PublishedIRPClient

_LOOKUP_SECONDS = 20
_LOOKUPS_AT_ONCE = 8
_LONGEST_PROBLEM = 500
_EXPOSURE = "/platform/riskdata/v1/exposures/{}"


@dataclass(frozen=True)
class _Call:
    """How the published client builds the request of a batch type."""

    method: "Callable[[PublishedIRPClient], Callable[..., Any]]"
    writes: Writes
    always: Mapping[str, Any] = field(default_factory=dict)  # parameters that are no column


_GROUPING = _Call(lambda client: Grouping(client).submit, Writes("/platform/grouping/v1/jobs"))
_CALLS: dict[BatchType, _Call] = {
    BatchType.EDM_CREATION: _Call(
        lambda client: client.edm.submit_create_edm_job,
        Writes(
            "/platform/riskdata/v1/exposuresets/{}/exposures",
            before=("/platform/riskdata/v1/exposuresets",),
        ),
    ),
    BatchType.EDM_DB_UPGRADE: _Call(
        lambda client: client.edm.submit_upgrade_edm_data_version_job,
        Writes(f"{_EXPOSURE}/data-upgrade"),
    ),
    BatchType.PORTFOLIO_CREATION: _Call(
        lambda client: client.portfolio.create_portfolio, Writes(f"{_EXPOSURE}/portfolios")
    ),
    BatchType.MRI_IMPORT: _Call(
        lambda client: client.mri_import.submit_mri_import_job,
        Writes("/platform/import/v1/jobs", before=("/platform/import/v1/folders",)),
    ),
    BatchType.REINSURANCE_TREATIES: _Call(
        lambda client: client.treaty.create_treaty,
        Writes(f"{_EXPOSURE}/treaties", after=f"{_EXPOSURE}/treaties/{{}}/lob"),
    ),
    BatchType.GEOHAZ: _Call(
        lambda client: client.portfolio.submit_geohaz_job, Writes("/platform/geohaz/v1/jobs")
    ),
    BatchType.ANALYSIS: _Call(
        lambda client: client.analysis.submit_portfolio_analysis_job,
        Writes("/platform/model/v1/jobs", before=("/platform/referencedata/v1/tags",)),
    ),
    BatchType.GROUPING: _GROUPING,
    BatchType.GROUPING_ROLLUP: _GROUPING,
    # A member that is missing is the row's mistake, and not to be left out without a word.
    BatchType.EXPORT_TO_RDM: _Call(
        lambda client: client.rdm.submit_rdm_export_job,
        Writes("/platform/export/v1/jobs"),
        {"skip_missing": False},
    ),
}
"""The types whose requests can be built; the others are work of the notebook's own."""


def can_be_built(batch_type: object) -> bool:
    """Tell whether the jobs of a type have requests that are built from names."""
    return BatchType.known(batch_type) in _CALLS


def row_columns(batch_type: str) -> tuple[Column, ...]:
    """Return the columns of a batch type's rows: the parameters of its call. Moody's is not asked.

    Raises:
        BuildError: nobody knows this type, or its jobs have no request.
    """
    call = _call_of(batch_type)
    return columns_of(call.method(_unconnected()), without=call.always)


@cache
def _unconnected() -> Any:
    """Return a published client that can be asked for the signatures of its calls only."""
    # Imported late, because they bring boto3.
    from irp_integration.analysis import AnalysisManager  # noqa: PLC0415
    from irp_integration.edm import EDMManager  # noqa: PLC0415
    from irp_integration.mri_import import MRIImportManager  # noqa: PLC0415
    from irp_integration.portfolio import PortfolioManager  # noqa: PLC0415
    from irp_integration.rdm import RDMManager  # noqa: PLC0415
    from irp_integration.treaty import TreatyManager  # noqa: PLC0415

    nobody: Any = SimpleNamespace(client=None)
    return SimpleNamespace(
        edm=EDMManager(nobody),
        portfolio=PortfolioManager(nobody),
        mri_import=MRIImportManager(nobody),
        treaty=TreatyManager(nobody),
        analysis=AnalysisManager(nobody),
        rdm=RDMManager(nobody),
    )


class NotChecked(str):
    """A problem that says nothing of the row: Moody's did not answer."""

    __slots__ = ()


class RequestBuilder:
    """Builds the requests of one batch; closes as a context manager.

    What has been looked up is not looked up again, so that forty analyses of one EDM ask for it
    once. One thread at a time.
    """

    def __init__(self) -> None:
        """Log in at Moody's.

        Raises:
            SettingsError: the settings lack something; the message says what.
            MoodysCredentialsError: Moody's rejected the login.
        """
        # Imported when something is built: they bring requests, and passes only ask what can be.
        from helpers.irp_integration.catching import CatchingAdapter  # noqa: PLC0415
        from helpers.irp_integration.login import LOGIN_PATH, published_client  # noqa: PLC0415

        self._published = published_client()
        client = self._published.client
        client.timeout = _LOOKUP_SECONDS
        self._adapter = CatchingAdapter(base_url=client.base_url, login_path=LOGIN_PATH)
        for scheme in ("https://", "http://"):
            client.session.mount(scheme, self._adapter)

    def build(
        self, batch_type: str, row: Mapping[str, Any], *, key: UUID | None = None
    ) -> PreparedRequest:
        """Return the request that a row asks for; what it needs before it is made at Moody's.

        Args:
            batch_type: what the request starts.
            row: by column, as ``row_columns`` names them.
            key: keys of earlier writes are derived from it; None takes a new one.

        Raises:
            BuildError: what is wrong with the row.
            MoodysError: a look-up failed, so that nothing can be said about the row.
        """
        self._run(batch_type, row, key=key or uuid4())
        request = self._adapter.caught
        if request is None:
            raise BuildError(["The published client made no request of it."])
        return request

    def check(self, batch_type: str, row: Mapping[str, Any]) -> None:
        """Build a request up to its first write, so that nothing is made; raises like ``build``."""
        self._run(batch_type, row, key=None)

    def problems(self, batch_type: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
        """Give for each row, in order, all that keeps Moody's from accepting it; nothing is made.

        Each name is searched for by itself, several at a time, and then each row is built up to its
        first write. A build stops at the first name that it does not find, which a search has named
        already, so that its word counts if no search found anything, or it came before them.
        """
        self._adapter.expect(_call_of(batch_type).writes, key=None)
        with ThreadPoolExecutor(_LOOKUPS_AT_ONCE, thread_name_prefix="look up") as pool:
            searched = list(pool.map(partial(self._searched, batch_type), rows))
        for row, found in zip(rows, searched, strict=True):
            missing = list(missing_files(row))
            built = self._unbuilt(batch_type, row)
            if (found and self._adapter.has_looked_up) or missing:
                built = []
            yield list(dict.fromkeys([*missing, *found, *built]))

    def _searched(self, batch_type: str, row: Mapping[str, Any]) -> list[str]:
        try:
            given = arguments(row_columns(batch_type), row)
        except BuildError as exc:
            return exc.problems
        try:
            return list(Searches(self._published).problems(BatchType(batch_type), given))
        except Exception as exc:  # noqa: BLE001 - the client's own
            return [self._not_checked(exc)]

    def _unbuilt(self, batch_type: str, row: Mapping[str, Any]) -> list[str]:
        try:
            self.check(batch_type, row)
        except BuildError as exc:
            return exc.problems
        except MoodysError as exc:
            return [self._not_checked(exc)]
        return []

    def _not_checked(self, exc: Exception) -> NotChecked:
        why = shown(str(self._adapter.trouble or exc), _LONGEST_PROBLEM) or type(exc).__name__
        return NotChecked(f"it could not be checked: {why}")

    def _run(self, batch_type: str, row: Mapping[str, Any], *, key: UUID | None) -> None:
        given = arguments(row_columns(batch_type), row)
        call = _call_of(batch_type)
        self._adapter.expect(call.writes, key=key)
        problem = None
        try:
            call.method(self._published)(**given, **call.always)
        except WriteReachedError:
            pass
        except UnexpectedWriteError as exc:
            problem = f"The published client has changed: {exc}."
        except Exception as exc:  # noqa: BLE001 - the client's own, and what boto3 raises in it
            problem = shown(str(exc), _LONGEST_PROBLEM) or type(exc).__name__
        if self._adapter.trouble is not None:
            raise self._adapter.trouble
        if problem is not None:
            raise BuildError([problem])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._published.client.session.close()


def _call_of(batch_type: str) -> _Call:
    known = BatchType.known(batch_type)
    if known is None:
        raise BuildError([unknown_batch_type(batch_type)])
    if known not in _CALLS:
        raise BuildError([f"{known.value} is work of the notebook's own: it has no request."])
    return _CALLS[known]

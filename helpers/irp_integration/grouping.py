"""Submit a grouping by the names of its members, as the published client's own calls do by ids."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from helpers.errors import BuildError

if TYPE_CHECKING:
    from irp_integration import IRPClient as PublishedIRPClient
    from irp_integration.grouping import GroupingSettings


class Grouping:
    """Groups analyses and groups of one published client."""

    def __init__(self, published: "PublishedIRPClient") -> None:
        self._published = published

    def submit(
        self,
        *,
        group_name: str,
        member_names: list[str],
        member_edm_names: dict[str, str] | None = None,
        currency: dict[str, str] | None = None,
        description: str | None = None,
        num_of_simulations: int = 50_000,
        propagate_detailed_losses: bool = False,
    ) -> None:
        """Inspect the members and submit the group.

        Args:
            group_name: of the new group, which no group may have.
            member_names: analyses or groups.
            member_edm_names: by name, the EDM of an analysis whose name occurs in several.
            currency: code, scheme, vintage and asOfDate; None takes the newest US dollar.
            description: of the group.
            num_of_simulations: as Moody's asks for.
            propagate_detailed_losses: as Moody's asks for.

        Raises:
            BuildError: a name is unknown or ambiguous, or the group exists.
            IRPGroupingValidationError: the members cannot be grouped, or need a choice.
        """
        search = self._published.analysis.search_analyses
        if search(filter=f'analysisName = "{group_name}" AND engineType = "Group"'):
            raise BuildError([f"A group {group_name!r} exists already."])
        edms = member_edm_names or {}
        members = [self._id_of(name, edms.get(name)) for name in member_names]
        settings = _settings(
            group_name,
            currency or self._published.reference_data.get_analysis_currency(),
            propagate_detailed_losses=propagate_detailed_losses,
            num_of_simulations=num_of_simulations,
        )
        inspection = self._published.grouping.inspect(analysis_ids=members)
        self._published.grouping.submit(
            analysis_ids=members,
            settings=replace(settings, description=description) if description else settings,
            event_rate_selections=(),
            expected_inspection_fingerprint=inspection.fingerprint,
        )

    def _id_of(self, name: str, edm_name: str | None) -> int:
        of_edm = f' AND exposureName = "{edm_name}"' if edm_name else ""
        found = self._published.analysis.search_analyses(filter=f'analysisName = "{name}"{of_edm}')
        if len(found) != 1:
            problem = (
                "There is no analysis or group" if not found else "Several analyses are called"
            )
            raise BuildError([f"{problem} {name!r}{f' in EDM {edm_name!r}' if edm_name else ''}."])
        return int(found[0]["analysisId"])


def _settings(group_name: str, money: Mapping[str, str], **more: Any) -> "GroupingSettings":
    from irp_integration.grouping import (  # noqa: PLC0415 - boto3, see login.py
        GroupingCurrency,
        GroupingSettings,
    )

    currency = GroupingCurrency(money["code"], money["scheme"], money["vintage"], money["asOfDate"])
    return GroupingSettings(analysis_name=group_name, currency=currency, **more)

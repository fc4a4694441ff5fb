"""The cycle of the demo: stages 03 to 06 of a small portfolio, prepared but not submitted.

The requests are those that the published client would send; the ids in them need not exist at
the stand-in.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from helpers.constants import BatchType
from helpers.workflow_paths import ACTIVE_PREFIX
from sandbox.seeding import PreparedJob, add_batch, add_cycle, add_step

CYCLE_NAME = "Demo-2025-Q1"
FAILING_ANALYSES = {
    "CAL EQ - Commercial": "Vulnerability curve missing: construction class 999 of account A-1187 "
    "is not in the model.",
    "FLA WS - Industrial": "The hazard lookup returned no data for 1,204 of 1,204 locations: run "
    "GeoHaz for portfolio Industrial again.",
}
"""The analyses that fail, and what Moody's says of them."""

_RISK_DATA = "/platform/riskdata/v1"
_EDMS = ["Demo_CA", "Demo_FL", "Demo_TX", "Demo_NE"]
_PORTFOLIOS = ["Commercial", "Industrial", "Residential", "Mobile Homes", "Marine", "Fine Art"]
_PERILS = ["CAL EQ", "FLA WS", "TEX SCS"]

Request: TypeAlias = dict[str, Any]


def _job(path: str, body: Request, **configuration: object) -> PreparedJob:
    return PreparedJob(
        request={"method": "POST", "path": path, "json": body}, configuration=configuration
    )


def _exposure_uri(number: int) -> str:
    return f"{_RISK_DATA}/exposures/{1001 + number}"


def _portfolio_uri(number: int) -> str:
    return f"{_exposure_uri(number % len(_EDMS))}/portfolios/{2001 + number}"


def _create_edms() -> list[PreparedJob]:
    path = f"{_RISK_DATA}/exposuresets/501/exposures"
    return [_job(path, {"exposureName": edm, "serverId": 9001}, edm=edm) for edm in _EDMS]


def _create_portfolios() -> list[PreparedJob]:
    return [
        _job(
            f"{_exposure_uri(i % len(_EDMS))}/portfolios",
            {"portfolioName": name, "portfolioNumber": name},
            portfolio=name,
        )
        for i, name in enumerate(_PORTFOLIOS)
    ]


def _import_exposure() -> list[PreparedJob]:
    return [
        _job(
            "/platform/import/v1/jobs",
            {
                "importType": "MRI",
                "resourceUri": _portfolio_uri(i),
                "settings": {"folderId": 700 + i, "currency": "USD"},
            },
            portfolio=name,
        )
        for i, name in enumerate(_PORTFOLIOS)
    ]


def _create_treaties() -> list[PreparedJob]:
    names = ["Cat XL 1", "Cat XL 2", "Quota Share", "Surplus"]
    return [
        _job(f"{_exposure_uri(i)}/treaties", {"treatyName": name}, treaty=name)
        for i, name in enumerate(names)
    ]


def _upgrade_edms() -> list[PreparedJob]:
    return [
        _job(f"{_exposure_uri(i)}/data-upgrade", {"edmDataVersion": "22"}, edm=edm)
        for i, edm in enumerate(_EDMS)
    ]


def _geocode() -> list[PreparedJob]:
    layers = [{"type": "geocode", "name": "geocode", "engineType": "RL", "version": "22.0"}]
    return [
        _job(
            "/platform/geohaz/v1/jobs",
            {
                "resourceUri": _portfolio_uri(i),
                "resourceType": "portfolio",
                "settings": {"layers": layers},
            },
            portfolio=name,
        )
        for i, name in enumerate(_PORTFOLIOS)
    ]


def _map_portfolios() -> list[PreparedJob]:
    """Work that the notebook does itself: jobs without a request."""
    groups = {
        "Property": ["Commercial", "Industrial", "Residential", "Mobile Homes"],
        "Specialty": ["Marine", "Fine Art"],
        "All lines": _PORTFOLIOS,
    }
    return [
        PreparedJob(configuration={"portfolio": name, "mapped_from": parts})
        for name, parts in groups.items()
    ]


def _analyses() -> list[PreparedJob]:
    return [
        _analysis(f"{peril} - {portfolio}", _portfolio_uri(i))
        for peril in _PERILS
        for i, portfolio in enumerate(_PORTFOLIOS)
    ]


def _analysis(name: str, portfolio_uri: str) -> PreparedJob:
    body = {
        "resourceUri": portfolio_uri,
        "resourceType": "portfolio",
        "type": "DLM",
        "settings": {"name": name, "modelProfileId": 4001, "outputProfileId": 5001},
    }
    return _job("/platform/model/v1/jobs", body, analysis=name)


def _group(names: Sequence[str]) -> list[PreparedJob]:
    return [
        _job(
            "/platform/grouping/v1/jobs",
            {
                "resourceType": "analyses",
                "resourceUris": [f"{_RISK_DATA}/analyses/{3001 + i}"],
                "settings": {"analysisName": name},
            },
            group=name,
        )
        for i, name in enumerate(names)
    ]


def _export() -> list[PreparedJob]:
    return [
        _job(
            "/platform/export/v1/jobs",
            {
                "exportType": "RDM",
                "resourceType": "analyses",
                "resourceUris": [f"{_RISK_DATA}/analyses/{3001 + i}"],
                "settings": {"serverId": 9001, "rdmName": f"Demo_RDM_{region}"},
            },
            rdm=f"Demo_RDM_{region}",
        )
        for i, region in enumerate(["CA", "FL", "TX"])
    ]


def _batches() -> dict[tuple[int, int], tuple[BatchType, list[PreparedJob]]]:
    """Return the batch of each step that has one."""
    return {
        (3, 1): (BatchType.EDM_CREATION, _create_edms()),
        (3, 2): (BatchType.PORTFOLIO_CREATION, _create_portfolios()),
        (3, 3): (BatchType.MRI_IMPORT, _import_exposure()),
        (3, 4): (BatchType.REINSURANCE_TREATIES, _create_treaties()),
        (3, 5): (BatchType.EDM_DB_UPGRADE, _upgrade_edms()),
        (3, 6): (BatchType.GEOHAZ, _geocode()),
        (3, 7): (BatchType.PORTFOLIO_MAPPING, _map_portfolios()),
        (4, 1): (BatchType.ANALYSIS, _analyses()),
        (5, 1): (BatchType.GROUPING, _group(["CAL EQ", "FLA WS", "TEX SCS", "All perils"])),
        (5, 2): (BatchType.GROUPING_ROLLUP, _group(["Property", "All lines"])),
        (6, 1): (BatchType.EXPORT_TO_RDM, _export()),
    }


def prepare_cycle(template: Path, workflows: Path) -> list[Path]:
    """Copy the stage notebooks, and put the cycle with its prepared batches into the metastore.

    Returns:
        The notebooks of each stage's first step, in order.
    """
    notebooks = workflows / f"{ACTIVE_PREFIX}{CYCLE_NAME}" / "notebooks"
    shutil.copytree(template, notebooks)
    cycle_id = add_cycle(CYCLE_NAME)
    batches = _batches()
    first_steps = []
    for path in sorted(notebooks.glob("Stage_0[3-6]_*/Step_*.ipynb")):
        (stage_num, stage_name), (step_num, step_name) = _split(path.parent.name), _split(path.stem)
        batch = batches.get((stage_num, step_num))
        step_id = add_step(
            cycle_id,
            stage_num=stage_num,
            stage_name=stage_name,
            step_num=step_num,
            step_name=step_name,
            requires_batch=batch is not None,
        )
        if batch is not None:
            add_batch(step_id, *batch)
        if step_num == 1:
            first_steps.append(path)
    return first_steps


def _split(name: str) -> tuple[int, str]:
    """Return the number and the words of ``Stage_03_Data_Import``."""
    _, number, words = name.split("_", 2)
    return int(number), words.replace("_", " ")

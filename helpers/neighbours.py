"""Which package ``helpers`` the kernels of steps import: this one, or one of the team's own."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from helpers.settings import get_settings

_OWN = Path(__file__).resolve().parent
_OF_HELPERS = re.compile(r"(No module named|cannot import name .* from) '?helpers\b")


def step_environment() -> dict[str, str]:
    """Return what decides which ``helpers`` the kernel of a step imports, if a setting does."""
    path = get_settings().irp_step_pythonpath
    return {} if path is None else {"PYTHONPATH": path}


def team_helpers(environment: Mapping[str, str]) -> Path | None:
    """Return the folder of another package ``helpers`` that comes before what is installed.

    Args:
        environment: of the kernel.
    """
    for folder in filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)):
        package = Path(folder, "helpers").resolve()
        if package == _OWN:
            return None
        if (package / "__init__.py").is_file():
            return package
    return None


def explain_import_error(error: str, environment: Mapping[str, str]) -> str:
    """Add to an error which ``helpers`` the kernel found, if it lacks something of that name."""
    if not _OF_HELPERS.search(error):
        return error
    team = team_helpers(environment)
    if team is None:
        return (
            f"{error}. The kernel looked in the helpers of the monitor, {_OWN}. If the notebook "
            "needs your team's own, name their folder in IRP_STEP_PYTHONPATH."
        )
    return (
        f"{error}. The kernel looked in {team}, which comes first on PYTHONPATH. If the notebook "
        f"needs the monitor's, {_OWN}, set IRP_STEP_PYTHONPATH to {_OWN.parent}."
    )

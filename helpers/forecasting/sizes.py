"""How large a job is, if its configuration or its request says so."""

import re
from collections.abc import Mapping

from helpers.text import snake_case

_COLUMNS = ("location_count", "locations", "risk_count", "risks", "row_count", "rows", "file_size")
_NUMBER_OF = re.compile(r"^(number|num|no)_(of_)?")
_TOO_LARGE = 10**15  # for a count or for bytes: it is an id or nonsense


def job_size(configuration: object, members: object = None) -> float | None:
    """Return the first size that a configuration names, or else how many members a job has.

    Args:
        configuration: ``job_configuration_data``; ``Location Count`` is ``locationCount``.
        members: of how many resources the request speaks, such as the analyses of a group.
    """
    columns = {}
    if isinstance(configuration, Mapping):
        columns = {
            _NUMBER_OF.sub("", snake_case(key)): value for key, value in configuration.items()
        }
    for value in [*(columns.get(name) for name in _COLUMNS), members]:
        if (size := _number(value)) is not None:
            return size
    return None


def _number(value: object) -> float | None:
    if isinstance(value, str) and re.fullmatch(r"\s*\d{1,15}(\.\d{1,9})?\s*", value):
        return float(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _TOO_LARGE:
        return float(value)
    return None

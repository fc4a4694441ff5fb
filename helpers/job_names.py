"""What people call a job. Pure.

A job is known by the name that its configuration or its request gives to what it makes, and by
nothing else; an id says nothing to the people who prepared it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from helpers.text import clean, one_line, snake_case

# The more particular one first: an analysis also has a portfolio, and a portfolio an EDM.
_COLUMNS = (
    "job_name",
    "analysis_name",
    "analysis",
    "group_name",
    "rdm_name",
    "treaty_name",
    "portfolio_name",
    "portfolio",
    "edm_name",
    "edm",
    "name",
    "database_name",
    "file",
)


def job_name(configuration: object, request: object) -> str | None:
    """Return the name that people know a job by; None if neither of the two holds one.

    Args:
        configuration: ``job_configuration_data``.
        request: ``submission_request``, with the body under ``json`` or by itself.
    """
    for source in _sources(configuration, request):
        columns = {snake_case(key): value for key, value in source.items()}
        for name in _COLUMNS:
            value = columns.get(name)
            if isinstance(value, str) and clean(value).strip():
                return one_line(value, 120)
    return None


def _sources(configuration: object, request: object) -> Iterator[Mapping[str, Any]]:
    body = request.get("json", request) if isinstance(request, Mapping) else None
    settings = body.get("settings") if isinstance(body, Mapping) else None
    for source in (configuration, settings, body):
        if isinstance(source, Mapping):
            yield source

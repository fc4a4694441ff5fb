"""Look at the settings: what is missing, a placeholder, or has a name that nobody reads."""

import os
import re
from collections.abc import Iterator
from dataclasses import fields
from difflib import get_close_matches
from urllib.parse import urlsplit

from helpers.check.findings import bad, doubtful, good
from helpers.display import Remark
from helpers.settings import SecretStr, Settings, get_settings

_NEEDED = ("database_", "risk_modeler_", "irp_")  # without which no pass can do its work
_PREFIXES = ("MONITOR_", "TEAMS_", "RISK_MODELER_", "IRP_")
_OTHERS = frozenset(  # read elsewhere than in the settings
    {"IRP_NOTEBOOK_PATH", "IRP_STEP_ID", "IRP_STEP_CLAIM", "MONITOR_USER"}
)
_PLACEHOLDER = re.compile(
    r"\.{2,}|…|<[^<>]*>|\[[^\[\]]*\]|x{3,}|change.?me|todo|(your|my)[-_ ].*|.*placeholder.*",
    re.IGNORECASE,
)
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def look_at_settings() -> Iterator[Remark]:
    """Give what is wrong with the settings; one good finding if nothing is.

    Raises:
        SettingsError: a value cannot be used.
    """
    settings = get_settings()
    problems = [*_placeholders(settings), *_addresses(settings), *_unknown_names()]
    yield from problems
    if not problems:
        yield good("settings", "no placeholder, and no unknown name")


def _placeholders(settings: Settings) -> Iterator[Remark]:
    for field in fields(settings):
        value = getattr(settings, field.name)
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if isinstance(text, str) and is_placeholder(text):
            judged = bad if field.name.startswith(_NEEDED) else doubtful
            yield judged("settings", f"{field.name.upper()} is a placeholder. Set its value.")


def is_placeholder(text: str) -> bool:
    """Tell whether a value is what an example has in place of one."""
    return _PLACEHOLDER.fullmatch(text.strip()) is not None


def _addresses(settings: Settings) -> Iterator[Remark]:
    webhook = settings.teams_webhook_url
    addresses = {
        "RISK_MODELER_BASE_URL": settings.risk_modeler_base_url,
        "TEAMS_WEBHOOK_URL": webhook.get_secret_value() if webhook else None,
        "TEAMS_DEFAULT_DASHBOARD_URL": settings.teams_default_dashboard_url,
        "TEAMS_DEFAULT_JUPYTERLAB_URL": settings.teams_default_jupyterlab_url,
    }
    for name, address in addresses.items():
        if address and not is_placeholder(address) and not _is_usable(address):
            is_secret_sent = name in {"RISK_MODELER_BASE_URL", "TEAMS_WEBHOOK_URL"}
            judged = bad if is_secret_sent else doubtful
            yield judged("settings", f"{name} should be an address that begins with https://.")


def _is_usable(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return bool(parts.hostname) and (
            parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
        )
    except ValueError:
        return False


def _unknown_names() -> Iterator[Remark]:
    known = {field.name.upper() for field in fields(Settings)} | _OTHERS
    for name in sorted(os.environ):
        if name.startswith(_PREFIXES) and name not in known:
            nearest = get_close_matches(name, known, n=1)
            hint = f" Did you mean {nearest[0]}?" if nearest else ""
            yield doubtful("settings", f"{name} is not a setting, and nobody reads it.{hint}")

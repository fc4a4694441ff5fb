"""Settings, from the environment or a ``.env`` file, read on first use and never at import.

Secrets are ``SecretStr`` and leave this module only to open a connection. ``redact`` takes
them out of any text that is about to be stored, logged or shown, because the outside world
repeats what it was sent.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from functools import cache
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from dotenv import find_dotenv, load_dotenv
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from helpers.errors import SettingsError

PROJECT_DIR = Path(__file__).resolve().parent.parent
_SHORTEST_SECRET = 6  # a shorter value would blank out ordinary words
_SHORTEST_GIVEN = 16  # of what a URL's query gives: versions and names are shorter
_DAY_SECONDS = 86_400
_PASSWORD_AS_WRITTEN = re.compile(r"password\s*=\s*(?:'((?:\\.|[^'\\])*)'|'?([^\s&']+))")


class Settings(BaseSettings):
    """All settings; each is the environment variable of the same name in capitals."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    database_url: SecretStr | None = None
    risk_modeler_base_url: str | None = None
    risk_modeler_resource_group_id: str | None = None
    risk_modeler_api_key: SecretStr | None = None
    risk_modeler_tenant_name: str | None = None
    risk_modeler_username: str | None = None
    risk_modeler_password: SecretStr | None = None
    irp_workflows_dir: Path = PROJECT_DIR / "workflows"
    teams_webhook_url: SecretStr | None = None
    teams_notification_enabled: bool = True
    teams_default_dashboard_url: str | None = None
    teams_default_jupyterlab_url: str | None = None
    monitor_poll_workers: int = Field(default=32, ge=1, le=256)
    monitor_poll_budget_seconds: float = Field(default=45, gt=0, le=_DAY_SECONDS)
    monitor_step_timeout_seconds: float = Field(default=3600, gt=0, le=7 * _DAY_SECONDS)
    monitor_step_workers: int = Field(default=4, ge=1, le=64)
    monitor_interval_seconds: float = Field(default=60, gt=0, le=7 * _DAY_SECONDS)
    monitor_retention_days: float = Field(default=30, ge=1, le=36_500)
    monitor_retention_runs: int = Field(default=100, ge=1)

    def secrets(self) -> tuple[str, ...]:
        """Return every secret value in use, longest first, for ``redact``."""
        given = (
            self.risk_modeler_api_key,
            self.risk_modeler_password,
            self.teams_webhook_url,
            self.database_url,
        )
        values = {secret.get_secret_value() for secret in given if secret is not None}
        return _spellings(frozenset(values | {os.environ.get("PGPASSWORD", "")}))


@cache
def _spellings(values: frozenset[str]) -> tuple[str, ...]:
    """Return these secrets and what is secret inside them, in each way they may be written."""
    spellings = values | _parts_of_urls(values)
    spellings |= {  # as it stands inside JSON
        json.dumps(value, ensure_ascii=ascii_only)[1:-1]
        for value in spellings
        for ascii_only in (True, False)
    }
    return tuple(sorted((v for v in spellings if len(v) >= _SHORTEST_SECRET), key=len)[::-1])


def _parts_of_urls(values: frozenset[str]) -> set[str]:
    """Return what is secret in a URL by itself: its password, and its path with query."""
    parts: set[str] = set()
    for value in values:
        try:
            url = urlsplit(value)
        except ValueError:
            continue
        if url.scheme in {"http", "https"}:
            parts |= {value.partition(url.netloc)[2] if url.netloc else "", url.path, url.query}
            given = {text for _, text in parse_qsl(url.query)}  # such as a signature
            parts |= {text for text in given if len(text) >= _SHORTEST_GIVEN}
        parts |= _passwords(value, url.password or "")
    return parts


def _passwords(value: str, in_user_info: str) -> set[str]:
    """Return the passwords in a URL or a libpq string, as they are written and as they are meant.

    What cannot be parsed is still searched: a message about it may repeat it.
    """
    written = {in_user_info} | {a or b for a, b in _PASSWORD_AS_WRITTEN.findall(value)}
    meant = {unquote(password) for password in written}
    with suppress(ProgrammingError):
        meant.add(str(conninfo_to_dict(value).get("password") or ""))
    return written | meant | {quote(password, safe="") for password in meant}


@cache
def get_settings() -> Settings:
    """Return the settings of this process.

    A ``.env`` file in the working directory or above it, else beside the package, adds to the
    environment what is not set there, so that libpq's own variables may stand in it as well.

    Raises:
        SettingsError: a value cannot be used; the message names it without showing it.
    """
    try:
        load_dotenv(find_dotenv(usecwd=True) or PROJECT_DIR / ".env")
    except (OSError, UnicodeDecodeError):
        raise SettingsError(
            "The file .env cannot be read: is it text, and yours to read?"
        ) from None
    try:
        return Settings()
    except ValidationError as exc:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in error['loc']).upper()}: {error['msg']}"
            for error in exc.errors(include_input=False, include_url=False, include_context=False)
        )
        # The cause would repeat the rejected value, which may be a secret.
        raise SettingsError(
            f"A setting cannot be used. {problems}. Correct it in the environment or in .env."
        ) from None


def redact(text: str) -> str:
    """Return the text with every configured secret replaced by ``***``."""
    for secret in get_settings().secrets():
        text = text.replace(secret, "***")
    return text

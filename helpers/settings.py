"""Settings, from the environment or a ``.env`` file, read on first use and never at import.

Secrets are ``SecretStr``: they leave this module to open a connection, and for
``helpers.redaction``, which takes them out of any text that is stored, logged or shown.
"""

from __future__ import annotations

import logging
import os
import stat
from contextlib import suppress
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from dotenv import find_dotenv, load_dotenv
from pydantic import Field, PlainValidator, SecretStr, ValidationError
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from helpers.errors import SettingsError

log = logging.getLogger(__name__)

PROJECT_DIR = Path(__file__).resolve().parent.parent
_DAY_SECONDS = 86_400
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


def _time_zone(name: object) -> ZoneInfo | None:
    """Return a zone by its IANA name."""
    try:
        return None if name is None else ZoneInfo(str(name))
    except (LookupError, ValueError, OSError):  # unknown, outside the folder of zones, a folder
        raise PydanticCustomError(
            "time_zone", "is not a time zone's name, such as Europe/Berlin"
        ) from None


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
    irp_step_pythonpath: str | None = None
    teams_webhook_url: SecretStr | None = None
    teams_notification_enabled: bool = True
    teams_default_dashboard_url: str | None = None
    teams_default_jupyterlab_url: str | None = None
    monitor_poll_workers: int = Field(default=256, ge=1, le=256)
    monitor_poll_budget_seconds: float = Field(default=45, gt=0, le=_DAY_SECONDS)
    monitor_step_timeout_seconds: float = Field(default=3600, gt=0, le=7 * _DAY_SECONDS)
    monitor_step_workers: int = Field(default=4, ge=1, le=64)
    monitor_interval_seconds: float = Field(default=60, gt=0, le=7 * _DAY_SECONDS)
    monitor_retention_days: float = Field(default=30, ge=1, le=36_500)
    monitor_retention_runs: int = Field(default=100, ge=1)
    monitor_copies_mode: str | None = Field(default=None, pattern="^0?[0-7]{3}$")
    monitor_heartbeat_url: SecretStr | None = None
    monitor_time_zone: Annotated[ZoneInfo | None, PlainValidator(_time_zone)] = None

    def secrets(self) -> frozenset[str]:
        """Return every secret value in use, for ``helpers.redaction``."""
        of_environment = {_credentials(os.environ.get(name, "")) for name in _PROXIES}
        of_environment.add(os.environ.get("PGPASSWORD", ""))
        return self._own_secrets | (of_environment - {""})

    @cached_property
    def _own_secrets(self) -> frozenset[str]:
        values = [value for _, value in self if value is not None]
        secret = {value.get_secret_value() for value in values if isinstance(value, SecretStr)}
        addresses = {_credentials(value) for value in values if isinstance(value, str)}
        return frozenset(secret | addresses) - {""}


@lru_cache(maxsize=32)
def _credentials(address: str) -> str:
    """Return the password in an address, or the token that stands in its place; or nothing."""
    with suppress(ValueError):
        parts = urlsplit(address)
        return parts.password or (parts.username or "" if parts.password is None else "")
    return ""


@cache
def get_settings() -> Settings:
    """Return the settings of this process.

    A ``.env`` file in the working directory or above it, else beside the package, adds to the
    environment what is not set there, so that libpq's own variables may stand in it as well. One
    above that belongs to another account, or that others may write to, is ignored: it could send
    the credentials elsewhere.

    Raises:
        SettingsError: a value cannot be used; the message names it without showing it.
    """
    try:
        load_dotenv(_dot_env())
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


def _dot_env() -> Path:
    found = Path(find_dotenv(usecwd=True) or PROJECT_DIR / ".env")
    if found.parent in {Path.cwd(), PROJECT_DIR} or not found.exists():
        return found
    status = found.stat()
    may_be_shared = status.st_gid == os.getgid()  # a group of its own is an account's default
    others = stat.S_IWOTH if may_be_shared else stat.S_IWOTH | stat.S_IWGRP
    if status.st_uid == os.getuid() and not status.st_mode & others:
        return found
    log.warning(
        "%s is ignored: it belongs to another account, or others may write to it. Make it yours "
        "with mode 600, or copy it beside the package.",
        found,
    )
    return PROJECT_DIR / ".env"

"""Settings, from the environment or a ``.env`` file, read on first use and never at import.

Secrets are ``SecretStr``: they leave this module to open a connection, and for
``helpers.redaction``, which takes them out of any text that is stored, logged or shown.
"""

# ruff: noqa: RUF009 - what _read returns is a field, as of dataclasses

import logging
import os
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, fields
from datetime import time, timedelta
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from dotenv import find_dotenv, load_dotenv

from helpers.errors import SettingsError

log = logging.getLogger(__name__)

PROJECT_DIR = Path(__file__).resolve().parent.parent
_DAY_SECONDS = 86_400
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
_TRANSPORTS = {"dask": "tcp", "dask+tls": "tls"}
_SCHEDULER_PORT = 8786  # Dask's own
_YES = frozenset({"1", "true", "t", "yes", "y", "on"})
_NO = frozenset({"0", "false", "f", "no", "n", "off"})


class SecretStr:
    """A text that does not show itself."""

    def __init__(self, value: str) -> None:
        self._value = value

    def get_secret_value(self) -> str:
        """Return the text."""
        return self._value

    def __repr__(self) -> str:
        return "SecretStr('**********')"


class _UnusableError(ValueError):
    """What a value should be; the value is not in it."""


def _boolean(text: str) -> bool:
    if text.strip().lower() not in _YES | _NO:
        raise _UnusableError("should be true or false")
    return text.strip().lower() in _YES


def _number(
    kind: type[int | float], least: float, most: float = float("inf")
) -> Callable[[str], float]:
    """Return what reads a number; a fraction whose least is 0 has to be above it."""

    def read(text: str) -> float:
        with suppress(ValueError):
            value = kind(text)
            if least <= value <= most and (value or least):
                return value
        name = "whole number" if kind is int else "number"
        raise _UnusableError(
            f"should be a {name} {'above' if not least else 'from'} {least}"
            + (f" up to {most:,}" if most < float("inf") else "")
        )

    return read


def _mode(text: str) -> str:
    if not re.fullmatch("0?[0-7]{3}", text):
        raise _UnusableError("should be an octal mode, such as 640")
    return text


def _scheduler(text: str) -> str:
    """Return the address of a Dask scheduler as Dask has it: ``tcp://host:port``, or ``tls://``."""
    with suppress(ValueError):
        parts = urlsplit(text.strip())
        transport = _TRANSPORTS.get(parts.scheme)
        is_plain = not (parts.username or parts.path.strip("/") or parts.query or parts.fragment)
        if transport and parts.hostname and is_plain:
            host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
            return f"{transport}://{host}:{parts.port or _SCHEDULER_PORT}"
    raise _UnusableError(
        "should be the address of a Dask scheduler, such as dask://scheduler:8786, "
        "or dask+tls://scheduler:8786"
    )


def _time_zone(name: str) -> ZoneInfo:
    """Return a zone by its IANA name."""
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):  # unknown, outside the folder of zones, a folder
        raise _UnusableError("is not a time zone's name, such as Europe/Berlin") from None


@dataclass(frozen=True)
class ReportTime:
    """A time of each day, in a zone; None: where this machine stands."""

    at: time
    zone: ZoneInfo | None


def _report_time(text: str) -> ReportTime:
    """Return ``07:00`` or ``07:00 Europe/Berlin``; without a zone it is that of people here."""
    clock, _, zone = text.strip().partition(" ")
    if not re.fullmatch(r"([01]?\d|2[0-3]):[0-5]\d", clock):
        raise _UnusableError("should be a time of day, such as 07:00 or 07:00 Europe/Berlin")
    hour, minute = clock.split(":")
    name = zone.strip() or os.environ.get("MONITOR_TIME_ZONE", "")
    return ReportTime(time(int(hour), int(minute)), _time_zone(name) if name else None)


def _read(read: Callable[[str], Any], default: object = None) -> Any:
    return field(default=default, metadata={"read": read})


@dataclass(frozen=True)
class Settings:
    """All settings; each is the environment variable of the same name in capitals.

    Read by hand: the import of a library for it costs more CPU than a pass with nothing to do.
    """

    database_url: SecretStr | None = _read(SecretStr)
    risk_modeler_base_url: str | None = _read(str)
    risk_modeler_resource_group_id: str | None = _read(str)
    risk_modeler_api_key: SecretStr | None = _read(SecretStr)
    risk_modeler_tenant_name: str | None = _read(str)
    risk_modeler_username: str | None = _read(str)
    risk_modeler_password: SecretStr | None = _read(SecretStr)
    irp_workflows_dir: Path = _read(Path, PROJECT_DIR / "workflows")
    irp_step_pythonpath: str | None = _read(str)
    teams_webhook_url: SecretStr | None = _read(SecretStr)
    teams_notification_enabled: bool = _read(_boolean, default=True)
    teams_default_dashboard_url: str | None = _read(str)
    teams_default_jupyterlab_url: str | None = _read(str)
    monitor_poll_workers: int = _read(_number(int, 1, 256), 256)
    monitor_poll_budget_seconds: float = _read(_number(float, 0, _DAY_SECONDS), 45)
    monitor_step_timeout_seconds: float = _read(_number(float, 0, 7 * _DAY_SECONDS), 3600)
    monitor_step_workers: int = _read(_number(int, 1, 64), 4)
    monitor_step_executor: str | None = _read(_scheduler)
    monitor_interval_seconds: float = _read(_number(float, 0, 7 * _DAY_SECONDS), 60)
    monitor_retention_days: float = _read(_number(float, 1, 36_500), 30)
    monitor_retention_runs: int = _read(_number(int, 1), 100)
    monitor_copies_mode: str | None = _read(_mode)
    monitor_heartbeat_url: SecretStr | None = _read(SecretStr)
    monitor_time_zone: ZoneInfo | None = _read(_time_zone)
    monitor_report_at: ReportTime | None = _read(_report_time)

    @classmethod
    def of_environment(cls) -> "Settings":
        """Read the environment; a variable that is set to nothing is not set.

        Raises:
            SettingsError: values cannot be used; the message names them without showing them.
        """
        given = {name.upper(): value for name, value in os.environ.items() if value}
        values: dict[str, Any] = {}
        problems: list[str] = []
        for each in fields(cls):
            name = each.name.upper()
            if name in given:
                try:
                    values[each.name] = each.metadata["read"](given[name])
                except _UnusableError as exc:
                    problems.append(f"{name}: {exc}")
        if problems:
            raise SettingsError(
                f"A setting cannot be used. {'; '.join(problems)}. Correct it in the environment "
                "or in .env."
            ) from None
        return cls(**values)

    def secrets(self) -> frozenset[str]:
        """Return every secret value in use, for ``helpers.redaction``."""
        of_environment = {_credentials(os.environ.get(name, "")) for name in _PROXIES}
        of_environment.add(os.environ.get("PGPASSWORD", ""))
        return self._own_secrets | (of_environment - {""})

    @cached_property
    def _own_secrets(self) -> frozenset[str]:
        values = [getattr(self, each.name) for each in fields(self)]
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
    return Settings.of_environment()


def monitor_interval() -> timedelta:
    """Return how often the monitor is meant to run."""
    return timedelta(seconds=get_settings().monitor_interval_seconds)


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

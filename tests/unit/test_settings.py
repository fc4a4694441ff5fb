import os
from dataclasses import asdict
from pathlib import Path

import pytest

from helpers.errors import SettingsError
from helpers.settings import PROJECT_DIR, Settings, get_settings


def use(monkeypatch: pytest.MonkeyPatch, **values: str) -> Settings:
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    return get_settings()


def test_without_any_variable_the_defaults_hold():
    settings = get_settings()

    assert settings.database_url is None
    assert settings.irp_workflows_dir == PROJECT_DIR / "workflows"
    assert settings.teams_notification_enabled is True
    assert (settings.monitor_poll_workers, settings.monitor_poll_budget_seconds) == (256, 45)
    assert (settings.monitor_step_workers, settings.monitor_step_timeout_seconds) == (4, 3600)
    assert settings.monitor_interval_seconds == 60


def test_each_setting_is_the_variable_of_its_name(monkeypatch):
    settings = use(
        monkeypatch,
        IRP_WORKFLOWS_DIR="/data/workflows",
        TEAMS_NOTIFICATION_ENABLED="false",
        MONITOR_POLL_WORKERS="8",
        MONITOR_INTERVAL_SECONDS="300",
    )

    assert settings.irp_workflows_dir == Path("/data/workflows")
    assert settings.teams_notification_enabled is False
    assert settings.monitor_poll_workers == 8
    assert settings.monitor_interval_seconds == 300


def test_a_variable_that_is_set_to_nothing_is_not_set(monkeypatch):
    settings = use(monkeypatch, DATABASE_URL="", MONITOR_POLL_WORKERS="")

    assert settings.database_url is None
    assert settings.monitor_poll_workers == 256


@pytest.mark.parametrize(
    ("name", "value"),
    [
        # no number, and what may be a secret in the wrong variable
        ("MONITOR_POLL_WORKERS", "hunter2-hunter2"),
        # out of range
        ("MONITOR_POLL_WORKERS", "0"),
        ("MONITOR_POLL_WORKERS", "100000"),
        ("MONITOR_POLL_BUDGET_SECONDS", "-1"),
        ("MONITOR_POLL_BUDGET_SECONDS", "inf"),
        ("MONITOR_POLL_BUDGET_SECONDS", "nan"),
        ("MONITOR_STEP_TIMEOUT_SECONDS", "1e300"),
        ("MONITOR_INTERVAL_SECONDS", "inf"),
        ("TEAMS_NOTIFICATION_ENABLED", "hunter2-hunter2"),
        # no scheme, another, no host, no port's number, credentials, which Dask has not, and a path
        ("MONITOR_STEP_EXECUTOR", "scheduler:8786"),
        ("MONITOR_STEP_EXECUTOR", "tcp://scheduler:8786"),
        ("MONITOR_STEP_EXECUTOR", "ray://scheduler:8786"),
        ("MONITOR_STEP_EXECUTOR", "dask://"),
        ("MONITOR_STEP_EXECUTOR", "dask://scheduler:port"),
        ("MONITOR_STEP_EXECUTOR", "dask://me:hunter2@scheduler:8786"),
        ("MONITOR_STEP_EXECUTOR", "dask://scheduler:8786/hunter2"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_and_not_shown(monkeypatch, name, value):
    with pytest.raises(SettingsError, match=name) as caught:
        use(monkeypatch, **{name: value})

    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("dask://scheduler:8786", "tcp://scheduler:8786"),
        ("dask://scheduler", "tcp://scheduler:8786"),
        ("dask+tls://scheduler:1234/", "tls://scheduler:1234"),
        ("dask://[::1]:8786", "tcp://[::1]:8786"),
    ],
)
def test_the_address_of_a_scheduler_becomes_what_dask_calls_it(monkeypatch, value, address):
    assert use(monkeypatch, MONITOR_STEP_EXECUTOR=value).monitor_step_executor == address


def test_several_wrong_values_are_named_at_once(monkeypatch):
    with pytest.raises(SettingsError) as caught:
        use(monkeypatch, MONITOR_POLL_WORKERS="x", MONITOR_STEP_WORKERS="y")

    assert "MONITOR_POLL_WORKERS" in str(caught.value)
    assert "MONITOR_STEP_WORKERS" in str(caught.value)


def test_a_dot_env_file_adds_what_the_environment_lacks(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("MONITOR_POLL_WORKERS=5\nMONITOR_STEP_WORKERS=6\nPGHOST=db\n")
    below = tmp_path / "notebooks"
    below.mkdir()
    monkeypatch.chdir(below)
    monkeypatch.delenv("PYTHON_DOTENV_DISABLED")
    for name in ("MONITOR_POLL_WORKERS", "PGHOST"):  # so that what the file sets is undone
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)

    settings = use(monkeypatch, MONITOR_STEP_WORKERS="2")

    assert (settings.monitor_poll_workers, settings.monitor_step_workers) == (5, 2)
    assert os.environ["PGHOST"] == "db"


def test_a_dot_env_file_that_is_not_text_is_named(monkeypatch, tmp_path):
    (tmp_path / ".env").write_bytes(b"A=\xff\xfe\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHON_DOTENV_DISABLED")

    with pytest.raises(SettingsError, match=r"\.env"):
        use(monkeypatch)


@pytest.mark.parametrize(
    "name",
    ["RISK_MODELER_API_KEY", "RISK_MODELER_PASSWORD", "TEAMS_WEBHOOK_URL", "DATABASE_URL"],
)
def test_a_secret_does_not_show_in_the_settings(monkeypatch, name):
    settings = use(monkeypatch, **{name: "hunter2-hunter2"})

    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(asdict(settings))


@pytest.mark.parametrize(
    ("mode", "owner", "is_read"),
    [
        (0o600, None, True),
        (0o640, None, True),
        (0o602, None, False),
        (0o666, None, False),
        (0o600, 65534, False),
    ],
    ids=["own", "readable by the group", "writable by others", "by all", "of another account"],
)
def test_a_dot_env_file_above_is_read_only_if_nobody_else_may_write_it(
    monkeypatch, tmp_path, caplog, mode, owner, is_read
):
    file = tmp_path / ".env"
    file.write_text("MONITOR_POLL_WORKERS=5\n")
    file.chmod(mode)
    if owner is not None:
        if os.getuid() != 0:
            pytest.skip("only root may give a file away")
        os.chown(file, owner, -1)
    below = tmp_path / "notebooks"
    below.mkdir()
    monkeypatch.chdir(below)
    monkeypatch.delenv("PYTHON_DOTENV_DISABLED")
    monkeypatch.setenv("MONITOR_POLL_WORKERS", "")  # so that what the file sets is undone
    monkeypatch.delenv("MONITOR_POLL_WORKERS")

    get_settings.cache_clear()
    assert get_settings().monitor_poll_workers == (5 if is_read else 256)
    get_settings()
    assert caplog.text.count(f"{file} is ignored") == (0 if is_read else 1)

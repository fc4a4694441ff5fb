"""What waits for a person, without a pass: nothing is polled, decided or sent."""

from __future__ import annotations

from helpers import attention
from helpers.settings import get_settings


def what_waits() -> attention.Waiting:
    """Return what waits for a person, as the metastore has it now."""
    return attention.what_waits(pass_seconds=get_settings().monitor_interval_seconds)

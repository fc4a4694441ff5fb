"""The watch itself: batches that nobody polls, nothing to watch, and who watches the monitor."""

from collections.abc import Mapping
from typing import Any

from helpers.constants import BatchType, JobStatus
from helpers.database import queries
from helpers.display import clock, duration
from helpers.pass_health import MISSED_INTERVALS
from helpers.redaction import register_secret
from helpers.settings import SecretStr, monitor_interval
from helpers.text import listed

_HEARTBEAT_SECONDS = 5


def why_idle() -> str:
    """Say why nothing is active, if nothing is."""
    row = queries("attention").cycles()
    if not row["cycles"]:
        return "there is no cycle yet"
    if not row["active"]:
        return "no cycle is active"
    if row["without_batch"] is not None:
        return f"cycle {row['without_batch']} has no batch yet"
    return "nothing is active"


def unpolled_batches(holders: Mapping[int, str]) -> list[str]:
    """Return a warning if there are watched batches that nobody has polled for three intervals.

    Args:
        holders: who polls the batches that this pass left alone, by batch.
    """
    unwatched = MISSED_INTERVALS * monitor_interval()
    rows = queries("attention").unpolled(
        polled_types=list(BatchType.polled()),
        terminal=list(JobStatus.terminal()),
        for_longer_than=unwatched,
    )
    batches = [_unpolled_batch(row, holders.get(row["batch_id"])) for row in rows]
    if not batches:
        return []
    warning = (
        f"Not polled for over {duration(unwatched)}: "
        f"{listed(batches)}. A process that holds one may be frozen: end it, and the "
        "next pass polls that batch."
    )
    return [warning]


def _unpolled_batch(row: dict[str, Any], holder: str | None) -> str:
    never = row["last_polled_ts"] is None
    last = "never" if never else f"last at {clock(row['last_polled_ts'])}"
    held = f", held by {holder}" if holder else ""
    return f"batch {row['batch_id']} ({row['batch_type']}; {last}{held})"


def call_heartbeat(url: SecretStr | None) -> str | None:
    """Tell an outside watch, if there is one, that a pass was completed.

    It notices when the monitor itself is dead. Returns a warning if it did not accept the call.
    """
    if url is None:
        return None
    import requests  # noqa: PLC0415 - a tenth of a second of CPU, and few have such an address

    address = url.get_secret_value()
    register_secret(address)
    try:
        with requests.get(address, timeout=_HEARTBEAT_SECONDS, stream=True) as response:
            if response.ok:
                return None
            problem = f"answered {response.status_code}"
    except (requests.RequestException, ValueError) as exc:
        problem = f"could not be called ({type(exc).__name__})"
    return f"The address in MONITOR_HEARTBEAT_URL {problem}: the outside watch will raise an alarm."

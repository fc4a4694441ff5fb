"""Tell an outside watch that a pass was completed: it notices when the monitor itself is dead."""

from helpers.redaction import register_secret
from helpers.settings import SecretStr

_TIMEOUT_SECONDS = 5


def call_heartbeat(url: SecretStr | None) -> str | None:
    """Call the address, if there is one; return a warning if it did not accept the call."""
    if url is None:
        return None
    import requests  # noqa: PLC0415 - a tenth of a second of CPU, and few have such an address

    address = url.get_secret_value()
    register_secret(address)
    try:
        with requests.get(address, timeout=_TIMEOUT_SECONDS, stream=True) as response:
            if response.ok:
                return None
            problem = f"answered {response.status_code}"
    except (requests.RequestException, ValueError) as exc:
        problem = f"could not be called ({type(exc).__name__})"
    return f"The address in MONITOR_HEARTBEAT_URL {problem}: the outside watch will raise an alarm."

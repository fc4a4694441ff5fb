"""Tell why no response of Moody's arrived, by the types of the exceptions and never by their words.

What people read is the same for every job, names no job and no address, and says which setting to
look at.
"""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import requests
from urllib3 import exceptions as urllib3

from helpers.errors import MoodysError, SettingsError


class PublishedClient(Protocol):
    """What we use of ``irp_integration.client.Client``; ``login`` is ours."""

    auth_mode: str
    base_url: str
    session: requests.Session
    timeout: float

    def login(self) -> None:
        """Get a new bearer token; raises ``irp_integration.exceptions.IRPAuthenticationError``."""


def as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Authenticate with the session's headers alone: a ``.netrc`` would replace them."""
    return request


class NoResponseError(MoodysError):
    """No response arrived. ``again``: asking at once a second time may help."""

    def __init__(self, message: str, *, again: bool = False) -> None:
        super().__init__(message)
        self.again = again


CLOSED = "Moody's closed the connection before its answer was complete."
_CAUSES: dict[str, tuple[type[BaseException], ...]] = {
    "The certificate of Moody's is not trusted{detail}. If a proxy of your company opens TLS, set "
    "REQUESTS_CA_BUNDLE to the file with its certificates.": (
        ssl.SSLCertVerificationError,
        ssl.CertificateError,
    ),
    "The address of the proxy cannot be used. Check HTTPS_PROXY and HTTP_PROXY.": (
        requests.exceptions.InvalidProxyURL,
        urllib3.ProxySchemeUnknown,
    ),
    "Moody's cannot be reached: the proxy does not answer, or does not let us through. Check "
    "HTTPS_PROXY, HTTP_PROXY and NO_PROXY.": (requests.exceptions.ProxyError, urllib3.ProxyError),
    CLOSED: (ssl.SSLEOFError, ssl.SSLZeroReturnError),
    "Moody's cannot be reached: TLS failed{detail}. Check RISK_MODELER_BASE_URL and HTTPS_PROXY.": (
        ssl.SSLError,
    ),
    "Moody's cannot be reached: the host name of RISK_MODELER_BASE_URL is unknown.": (
        urllib3.NameResolutionError,
        socket.gaierror,
    ),
    "Moody's cannot be asked: a header holds what HTTP cannot send. Check RISK_MODELER_API_KEY "
    "and RISK_MODELER_RESOURCE_GROUP_ID.": (requests.exceptions.InvalidHeader, UnicodeError),
    "Moody's cannot be asked: RISK_MODELER_BASE_URL is not the address of a host.": (
        requests.exceptions.InvalidURL,
        requests.exceptions.MissingSchema,
        requests.exceptions.InvalidSchema,
        urllib3.LocationValueError,
    ),
    "Moody's cannot be reached: the connection was refused.": (ConnectionRefusedError,),
    # urllib3 takes it for a timeout as well
    "Moody's cannot be reached: there is no way to its host.": (urllib3.NewConnectionError,),
    "Moody's cannot be reached: no connection in time.": (
        requests.exceptions.ConnectTimeout,
        urllib3.ConnectTimeoutError,
    ),
    "Moody's did not answer in time.": (
        requests.exceptions.Timeout,
        urllib3.TimeoutError,
        TimeoutError,
    ),
    "Moody's answered with something that cannot be decompressed.": (
        requests.exceptions.ContentDecodingError,
        urllib3.DecodeError,
    ),
}
"""The first of which anything occurs in the chain of an exception."""


def no_response(exc: BaseException) -> NoResponseError:
    """Return what people should know of an exception that came in place of a response."""
    chain = list(_chain(exc))
    for message, types in _CAUSES.items():
        cause = next((item for item in chain if isinstance(item, types)), None)
        if cause is not None:
            # What OpenSSL says: a text of its own, in which there is nothing of ours.
            text = getattr(cause, "verify_message", None) or getattr(cause, "reason", None)
            detail = f" ({text})" if isinstance(text, str) and text else ""
            return NoResponseError(message.format(detail=detail), again=message == CLOSED)
    return NoResponseError(CLOSED, again=True)


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """Yield an exception and all that it wraps, each once."""
    seen: set[int] = set()
    waiting: list[object] = [exc]
    while waiting:
        item = waiting.pop(0)
        if isinstance(item, BaseException) and id(item) not in seen:
            seen.add(id(item))
            yield item
            waiting += [*item.args, getattr(item, "reason", None), item.__cause__, item.__context__]


_HEADERS = {
    "Authorization": "RISK_MODELER_API_KEY",
    "x-rms-resource-group-id": "RISK_MODELER_RESOURCE_GROUP_ID",
}


def require_sendable(client: PublishedClient) -> None:
    """Raise ``SettingsError`` if a setting holds what no request can be sent with."""
    for header, setting in _HEADERS.items():
        value = client.session.headers.get(header, "")
        try:
            requests.utils.check_header_validity((header, str(value)))
            str(value).encode("latin-1")
        except (requests.exceptions.InvalidHeader, UnicodeError):
            raise SettingsError(
                f"{setting} holds a character that HTTP cannot send, such as a line break or a "
                "space at its beginning. Correct it in the environment or in .env."
            ) from None
    try:
        client.session.get_adapter(client.base_url)
        requests.Request("GET", client.base_url, auth=as_it_is).prepare()
    except (requests.RequestException, UnicodeError, ValueError):
        raise SettingsError(
            "RISK_MODELER_BASE_URL is not the address of a host: its form is "
            "https://api-euw1.rms.com. Correct it in the environment or in .env."
        ) from None
    bundle = client.session.merge_environment_settings(client.base_url, {}, None, None, None)
    if isinstance(bundle["verify"], str) and not Path(bundle["verify"]).exists():
        raise SettingsError(
            "REQUESTS_CA_BUNDLE (or CURL_CA_BUNDLE) names a file that does not exist. Correct it "
            "in the environment or in .env."
        )

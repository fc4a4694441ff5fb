"""Send one message to the Teams webhook: the only code that knows its address.

The address is the secret, and everybody else repeats it: the exceptions of requests, the log
of urllib3, and perhaps the answer. Nothing that leaves this module holds it.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pymsteams
import requests
from urllib3.exceptions import HTTPError

from helpers.clock import CLOCK
from helpers.errors import MessageRejectedError, NotificationError
from helpers.redaction import redact, register_secret, shown
from helpers.settings import SecretStr

_TIMEOUT_SECONDS = 10
_MOST_OF_A_REPLY = 2_000
_MOST_SHOWN = 300
_SUCCESS, _REDIRECT, _CLIENT_ERROR = 2, 3, 4  # by the first digit of an HTTP status
_DOWN = frozenset({408, 429})  # of the 4xx, those that say nothing about the message
_UNKNOWN_REJECTION = 400
_DELIVERY_FAILED = re.compile(r"delivery failed|failed with error|^{\s*\"error\"", re.IGNORECASE)
_INNER_STATUS = re.compile(r"HTTP error (\d{3})")
_ADDRESS = re.compile(r"https?://[^\s\"'<>]+", re.IGNORECASE)
_LOGGERS = ("urllib3.connection", "urllib3.connectionpool", "urllib3.util.retry")


def send(message: dict[str, Any], *, webhook_url: SecretStr) -> None:
    """Hand a message to Teams; a 2xx means that it is accepted, not that anybody saw it.

    Raises:
        MessageRejectedError: Teams accepts others, but not this message.
        NotificationError: Teams cannot be reached, or accepts nothing now. The text of both says
            why, without the address.
    """
    url = webhook_url.get_secret_value()
    register_secret(url)
    card = _Card(message, url=url)
    with _kept_out_of_logs():
        error = _post(card)
    # Not raised inside the block: the context of the error would hold the address.
    if error is not None:
        raise error


class _Card(pymsteams.connectorcard):
    """A message that is not posted on to where a webhook redirects, as pymsteams would do it."""

    def __init__(self, message: dict[str, Any], *, url: str) -> None:
        super().__init__(url, http_timeout=_TIMEOUT_SECONDS)  # type: ignore[no-untyped-call]  # its
        self.payload = message
        self.reply = ""

    def send(self) -> None:
        """Post the message and read the beginning of the reply, in bounded time."""
        deadline = CLOCK.monotonic() + self.http_timeout
        with requests.post(
            self.hookurl,
            json=self.payload,
            timeout=self.http_timeout,
            allow_redirects=False,
            stream=True,
        ) as response:
            self.last_http_response = response
            reply = bytearray()
            for byte in response.iter_content(1):
                reply += byte
                if len(reply) == _MOST_OF_A_REPLY or CLOCK.monotonic() > deadline:
                    break
        self.reply = shown(reply.decode(errors="replace"))


def _post(card: _Card) -> NotificationError | None:
    """Send, and return why Teams did not accept the card."""
    try:
        card.send()
    except (requests.RequestException, HTTPError, UnicodeError) as exc:
        return NotificationError(_shown(_describe(exc)))
    return error_in(card.last_http_response.status_code, card.reply)


def error_in(http_status: int, reply: str) -> NotificationError | None:
    """Return what is wrong according to a webhook's HTTP response; None: it accepts the message.

    The older webhooks say in a 200 that Teams did not accept the message, and with which status
    (https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using,
    "Rate limiting for connectors").
    """
    problem = f"Teams answered HTTP {http_status}: {_shown(reply) or 'without a word'}"
    if http_status // 100 == _REDIRECT:
        return NotificationError(
            "The webhook redirects elsewhere: set TEAMS_WEBHOOK_URL to where it leads."
        )
    if http_status // 100 == _SUCCESS:
        if reply.startswith("<"):  # a proxy's page, or a login's
            return NotificationError(problem)
        if not _DELIVERY_FAILED.search(reply):
            return None
        inner = _INNER_STATUS.search(reply)
        http_status = int(inner[1]) if inner else _UNKNOWN_REJECTION
    is_about_the_message = http_status // 100 == _CLIENT_ERROR and http_status not in _DOWN
    return MessageRejectedError(problem) if is_about_the_message else NotificationError(problem)


def _describe(exc: Exception) -> str:
    if isinstance(exc, requests.Timeout):
        return f"Teams did not answer within {_TIMEOUT_SECONDS} s."
    if isinstance(exc, ValueError):  # what requests raises of an address that is none
        return "TEAMS_WEBHOOK_URL is not an http or https address, or the proxy's is not."
    return f"Teams cannot be reached: {_cause(exc)}."


def _cause(exc: BaseException) -> str:
    """Return the operating system's words for it, or else what kind it is."""
    inner: BaseException | None = exc
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return str(inner.strerror)
        inner = inner.__cause__ or inner.__context__
    return type(exc).__name__


def _shown(text: str) -> str:
    return shown(_ADDRESS.sub("(address)", text), _MOST_SHOWN)


@contextmanager
def _kept_out_of_logs() -> Iterator[None]:
    """Keep the address out of what urllib3 logs meanwhile, at whatever level."""

    def hide(record: logging.LogRecord) -> bool:
        record.msg = redact(_ADDRESS.sub("(address)", record.getMessage()))
        record.args = ()
        return True

    loggers = [logging.getLogger(name) for name in _LOGGERS]
    for logger in loggers:
        logger.addFilter(hide)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(hide)

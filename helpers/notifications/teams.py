"""Send one message to the Teams webhook: the only code that knows its address.

The address is the secret, and everybody else repeats it: the exceptions of requests, the log
of urllib3, and perhaps the answer. Nothing that leaves this module holds it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pymsteams
import requests
from pydantic import SecretStr
from urllib3.exceptions import HTTPError

from helpers.errors import NotificationError
from helpers.redaction import redact
from helpers.text import clean, shorten

_TIMEOUT_SECONDS = 10
_MOST_OF_AN_ANSWER = 300
_SHORTEST_SECRET = 12  # of a path's parts: the words of the API around it are shorter
_ADDRESS = re.compile(r"https?://[^\s\"'<>]+", re.IGNORECASE)
_LOGGERS = ("urllib3.connection", "urllib3.connectionpool", "urllib3.util.retry")


def send(message: dict[str, Any], *, webhook_url: SecretStr) -> None:
    """Hand a message to Teams; any 2xx means that it is accepted, not that anybody saw it.

    Raises:
        NotificationError: Teams did not take it; the text says why, without the address.
    """
    url = webhook_url.get_secret_value()
    card = pymsteams.connectorcard(url, http_timeout=_TIMEOUT_SECONDS)
    card.payload = message
    with _kept_out_of_logs(url):
        problem = _post(card)
    # Raised here and not where it was caught: the context of the error would hold the address.
    if problem is not None:
        raise NotificationError(_without_address(problem, url))


def _post(card: pymsteams.connectorcard) -> str | None:
    """Send, and return why Teams did not take the card."""
    try:
        card.send()
    except pymsteams.TeamsWebhookException as exc:
        answer = shorten(redact(clean(str(exc))).strip(), _MOST_OF_AN_ANSWER)
        status = card.last_http_response.status_code
        return f"Teams answered HTTP {status}: {answer or 'without a word'}"
    except (requests.RequestException, HTTPError, UnicodeError) as exc:
        return _in_words(exc)
    if card.last_http_response.history:
        # Followed with a GET, the card is not delivered; and the answer is somebody else's.
        return "The webhook redirects elsewhere: set TEAMS_WEBHOOK_URL to where it leads."
    return None


def _in_words(exc: Exception) -> str:
    if isinstance(exc, requests.Timeout):
        return f"Teams did not answer within {_TIMEOUT_SECONDS} s."
    if isinstance(exc, ValueError):  # what requests raises of an address that is none
        return "TEAMS_WEBHOOK_URL is no http or https address, or the proxy's is none."
    return f"Teams cannot be reached: {_cause(exc)}."


def _cause(exc: BaseException) -> str:
    """Return the operating system's words for it where there are any, else what kind it is."""
    inner: BaseException | None = exc
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return str(inner.strerror)
        inner = inner.__cause__ or inner.__context__
    return type(exc).__name__


def _without_address(text: str, url: str) -> str:
    text = _ADDRESS.sub("(address)", text)
    for part in _secret_parts(url):
        text = text.replace(part, "***")
    return redact(text)


def _secret_parts(url: str) -> list[str]:
    """Return the address and what is secret of it by itself, longest first."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return [url]
    found = {url, parts.path, parts.query, f"{parts.path}?{parts.query}"}
    found |= {value for _, value in parse_qsl(parts.query)} | set(parts.path.split("/"))
    found |= {unquote(part) for part in found}
    return sorted((part for part in found if len(part) >= _SHORTEST_SECRET), key=len)[::-1]


@contextmanager
def _kept_out_of_logs(url: str) -> Iterator[None]:
    """Keep the address out of what urllib3 logs meanwhile, at whatever level."""

    def hide(record: logging.LogRecord) -> bool:
        record.msg = _without_address(record.getMessage(), url)
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

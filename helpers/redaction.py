"""Keep secrets out of what is stored, logged, shown and raised.

The outside world repeats what it was sent: libpq a password, a gateway a token, an HTTP library
the whole address. A secret is known from the settings, or registered when it is obtained at run
time. Whoever passes foreign text on, calls ``shown`` or ``redact`` where the text leaves the
process, and nowhere before.
"""

import html
import json
import re
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from helpers.errors import BatchMonitoringError
from helpers.settings import get_settings
from helpers.text import clean, shorten

_SHORTEST_SECRET = 3  # what is shorter cannot be told from ordinary text
_SHORTEST_ANYWHERE = 6  # a shorter secret is taken out only where it stands by itself
_SHORTEST_OF_ADDRESS = 12  # a part of a path or a query; the words of the API are shorter
_PASSWORD_AS_WRITTEN = re.compile(r"password\s*=\s*(?:'((?:\\.|[^'\\])*)'|'?([^\s&']+))")

_ESCAPE = re.compile(r"%[0-9A-F]{2}")

_SCHEME_ALONE = re.compile(r"https?:?/*")  # an address without a host begins all others

_registered: set[str] = set()


def register_secret(value: str) -> None:
    """Take this value out of every text from now on, such as a token that a login returned."""
    _registered.add(value)


def redact(text: str) -> str:
    """Return the text with every known secret replaced by ``***``."""
    secrets = _spellings(get_settings().secrets() | _registered)
    if any(part in text for part in secrets.shortest):
        for secret in secrets.anywhere:
            text = text.replace(secret, "***")
    return secrets.alone.sub("***", text) if secrets.alone else text


def redact_json(text: str) -> str:
    """Return JSON without secrets, and JSON still: a secret may be a number or a bracket."""
    if redact(text) == text:
        return text
    return json.dumps(_redacted(json.loads(text)), ensure_ascii=False)


def _redacted(value: Any) -> Any:
    match value:
        case dict():
            return {redact(key): _redacted(item) for key, item in value.items()}
        case list():
            return [_redacted(item) for item in value]
        case str():
            return redact(value)
        case _:
            text = json.dumps(value)
            return value if redact(text) == text else "***"


def describe(exc: Exception) -> str:
    """Return an error as people read it; a foreign one with its type, or it may say nothing."""
    ours = isinstance(exc, BatchMonitoringError)
    return redact(str(exc) if ours else f"{type(exc).__name__}: {exc}")


def printable(text: str) -> str:
    """Return foreign text without what cannot be seen and without secrets.

    A terminal sequence may stand in the midst of a secret, or end with the beginning of one.
    """
    return redact(clean(redact(text)))


def shown(text: str, limit: int = 2_000) -> str:
    """Return foreign text fit for people: printable, without secrets, in ``limit`` characters.

    Secrets go before the text is cut, because half a secret would not be found any more.
    """
    return shorten(printable(text).strip(), limit)


class _Spellings(NamedTuple):
    """How secrets may be written."""

    anywhere: tuple[str, ...]  # longest first, because one may hold another
    shortest: tuple[str, ...]  # of these, those that hold no other: most texts hold none of them
    alone: re.Pattern[str] | None  # those that are found only where they stand by themselves


@lru_cache(maxsize=8)
def _spellings(secrets: frozenset[str]) -> _Spellings:
    meant = [secret for secret in secrets if not _SCHEME_ALONE.fullmatch(secret)]
    parts = {part for secret in meant for part in (secret, *_parts(secret))}
    parts |= {unquote(part) for part in parts}
    spellings = {spelling for part in parts for spelling in _written(part)}
    longest_first = sorted((s for s in spellings if len(s) >= _SHORTEST_SECRET), key=len)[::-1]
    short = [re.escape(s) for s in longest_first if len(s) < _SHORTEST_ANYWHERE]
    alone = re.compile(rf"(?<!\w)(?:{'|'.join(short)})(?!\w)") if short else None
    anywhere = tuple(s for s in longest_first if len(s) >= _SHORTEST_ANYWHERE)
    shortest = tuple(s for s in anywhere if not any(t != s and t in s for t in anywhere))
    return _Spellings(anywhere, shortest, alone)


def _written(value: str) -> set[str]:
    """Return the value as JSON, addresses and pages of HTML spell it."""
    as_json = {json.dumps(value, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    encoded = {quote(value, safe=""), quote(value), quote_plus(value)}
    in_lower_case = {_ESCAPE.sub(lambda found: found[0].lower(), text) for text in encoded}
    return {value, html.escape(value), *as_json, *encoded, *in_lower_case}


def _parts(secret: str) -> set[str]:
    """Return what is secret inside a URL or a libpq string by itself.

    What cannot be parsed is still searched: a message about it may repeat it.
    """
    written = {first or second for first, second in _PASSWORD_AS_WRITTEN.findall(secret)}
    with suppress(ProgrammingError):
        written.add(str(conninfo_to_dict(secret).get("password") or ""))
    with suppress(ValueError):
        written |= _parts_of_address(secret)
    return written


def _parts_of_address(url: str) -> set[str]:
    """Return the password of a URL, and of a web address its path, its query and their values."""
    address = urlsplit(url)
    parts = {address.password or ""}
    if address.scheme not in {"http", "https"}:
        return parts
    values = [*address.path.split("/"), *(value for _, value in parse_qsl(address.query))]
    long = {value for value in values if len(value) >= _SHORTEST_OF_ADDRESS}
    after_host = url.partition(address.netloc)[2] if address.netloc else ""
    whole = {part for part in (after_host, address.path, address.query) if part != "/"}
    return parts | long | {part for part in whole if len(part) >= _SHORTEST_ANYWHERE}

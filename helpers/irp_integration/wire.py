"""Read over kept connections, with no more work than HTTP needs.

A pass may read ten thousand jobs, and ``requests`` takes five times the CPU of the bytes on the
wire. So a read takes a connection of the session's own pool, which knows proxies, certificates and
host names, writes its few lines, and has the standard library parse the answer. Cookies are not
kept. Logins and submissions, a handful, go through the session.
"""

import threading
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from functools import lru_cache
from http.client import HTTPException, HTTPResponse, IncompleteRead
from ssl import SSLContext
from typing import Any, cast
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import DecodeError, HTTPError, ProxyError
from urllib3.util.ssl_ import create_urllib3_context

from helpers.clock import CLOCK
from helpers.irp_integration.answers import Raw
from helpers.irp_integration.bodies import MAX_BODY_BYTES, MAX_READ_BYTES
from helpers.irp_integration.causes import NoResponseError, as_it_is
from helpers.irp_integration.deadlines import LATE, Call

_PIECE_BYTES = 64 * 1024
_large_answers = threading.BoundedSemaphore(2)  # that are read at once


class Host:
    """Where a session finds one address: looked up once, because it costs more than a request."""

    def __init__(self, session: requests.Session, base_url: str) -> None:
        self._session = session
        request = session.prepare_request(requests.Request("GET", base_url, auth=as_it_is))
        way = session.merge_environment_settings(base_url, {}, stream=True, verify=None, cert=None)
        adapter = session.get_adapter(base_url)
        assert isinstance(adapter, HTTPAdapter)  # noqa: S101 - we mounted it
        proxies, verify, cert = way["proxies"], way["verify"], way["cert"]
        pool = adapter.get_connection_with_tls_context(request, verify, proxies=proxies, cert=cert)
        self._pool = cast("Any", pool)  # its connections have a socket that their type lacks
        adapter.cert_verify(self._pool, base_url, verify, cert)  # type: ignore[no-untyped-call]
        self._trusted = _trusted(self._pool)
        self._base = adapter.request_url(request, proxies).rstrip("/")
        self._name = urlsplit(request.url or "").netloc.rpartition("@")[2]
        self._needs_tunnel = self._pool.proxy is not None and self._pool.scheme == "https"
        self._proxy_headers = {} if self._needs_tunnel else self._pool.proxy_headers
        self._head = lru_cache(maxsize=2)(self._written_head)

    def get(self, target: str, call: Call, *, timeouts: tuple[float, float]) -> Raw:
        """Read what is at a path and query; whatever goes wrong on the way is raised as it is.

        Args:
            target: the path, and the query if there is one.
            call: knows the connection from now on, and when it is late.
            timeouts: seconds to connect, and for each piece.
        """
        connection = call.connection = self._pool._get_conn()  # noqa: SLF001 - the pool's only door
        try:
            connection.timeout, read_seconds = timeouts
            if connection.is_closed:
                self._connect(connection)
            connection.sock.settimeout(read_seconds)
            head = self._head(self._session.headers["Authorization"])
            connection.sock.sendall(
                f"GET {self._base}{target} HTTP/1.1\r\n{head}".encode("latin-1")
            )
            with HTTPResponse(connection.sock, method="GET") as response:
                response.begin()
                content = _complete(response, body(_decoded(response), call.until))
                is_kept = response.isclosed() and not response.will_close
            headers = {name.title(): value for name, value in response.headers.items()}
            return Raw(response.status, content, headers)
        except BaseException:
            is_kept = False
            raise
        finally:
            if not is_kept:
                connection.close()
            self._pool._put_conn(connection)  # noqa: SLF001 - as above

    def _connect(self, connection: Any) -> None:
        if self._trusted is not None:
            connection.ssl_context, connection.ca_certs = self._trusted, None
            connection.ca_cert_dir = None
        try:
            if self._needs_tunnel:
                self._pool._prepare_proxy(connection)  # noqa: SLF001 - as above
            else:
                connection.connect()
        except (HTTPError, HTTPException, OSError) as exc:
            if connection.proxy and not connection.has_connected_to_proxy:
                raise ProxyError("", exc) from exc
            raise

    def _written_head(self, authorization: str) -> str:
        """Return the headers as they are sent; they change only with the token."""
        headers = {
            "Host": self._name,
            **self._session.headers,
            "Authorization": authorization,
            "Accept-Encoding": "gzip",
            **self._proxy_headers,
        }
        return "".join(f"{name}: {value!s}\r\n" for name, value in headers.items()) + "\r\n"


def _trusted(pool: Any) -> SSLContext | None:
    """Return the certificates that are trusted; read once, because each connection would anew."""
    if pool.scheme != "https" or not (pool.ca_certs or pool.ca_cert_dir):
        return None
    trusted = create_urllib3_context()
    trusted.load_verify_locations(pool.ca_certs, pool.ca_cert_dir)
    return trusted


def body(read: Callable[[int], bytes], until: float) -> bytes:
    """Read a body, but no more than a job can be and, piece by piece, no longer than the deadline.

    Raises:
        NoResponseError: the deadline passed.
    """
    with ExitStack() as large:
        pieces: list[bytes] = []
        size = 0
        while piece := read(_PIECE_BYTES):
            pieces.append(piece)
            if size <= MAX_BODY_BYTES < size + len(piece):  # the memory for it is shared by all
                if not _large_answers.acquire(timeout=max(until - CLOCK.monotonic(), 0)):
                    raise NoResponseError(LATE)
                large.callback(_large_answers.release)
            size += len(piece)
            if size > MAX_READ_BYTES:
                break
            if CLOCK.monotonic() > until:
                raise NoResponseError(LATE)
        return b"".join(pieces)


def _complete(response: HTTPResponse, content: bytes) -> bytes:
    """Return a body that has all that was announced, or as much as is read at the most."""
    if response.length and len(content) <= MAX_READ_BYTES:
        raise IncompleteRead(content, response.length)
    return content


def _decoded(response: HTTPResponse) -> Callable[[int], bytes]:
    """Return what reads so many bytes of a body at the most, decompressed."""
    if response.headers.get("Content-Encoding", "identity").lower() == "identity":
        return response.read
    inflating = zlib.decompressobj(wbits=47)  # gzip or zlib, whichever it is

    def read(most: int) -> bytes:
        try:
            return inflating.decompress(inflating.unconsumed_tail or response.read(most), most)
        except zlib.error as exc:
            raise DecodeError(str(exc)) from exc

    return read

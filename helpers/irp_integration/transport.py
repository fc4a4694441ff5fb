"""One connection pool to Moody's: asking with our own patience.

The published client makes up to six tries of 200 seconds each, so that one dead host blocks a
call for twenty minutes. Here a question gets at most two tries, its own timeouts, and a
deadline that covers the whole answer, however slowly it drips in.
"""

from __future__ import annotations

import math
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import requests
from urllib3.exceptions import HTTPError as Urllib3Error

from helpers.irp_integration.answers import is_down
from helpers.irp_integration.bodies import MAX_BODY_BYTES, MAX_READ_BYTES
from helpers.irp_integration.causes import NoResponseError, no_response, require_sendable
from helpers.irp_integration.deadlines import Deadlines, NotingAdapter
from helpers.irp_integration.login import login_rejected
from helpers.irp_integration.pace import retry_after_seconds
from helpers.irp_integration.published import PublishedClient, as_it_is

if TYPE_CHECKING:
    from collections.abc import Mapping

CONNECT_SECONDS = 5.0
READ_SECONDS = 20.0
_TRIES = 2
_PAUSE_SECONDS = 0.5  # before the second try, unless Retry-After says otherwise
_LONGEST_PAUSE_SECONDS = 5.0  # whoever wants us to wait longer is asked in the next pass
_LEAST_SECONDS = 0.1  # a timeout of nothing is refused
_PIECE_BYTES = 64 * 1024
_SLACK_SECONDS = 0.5  # a socket's own timeout comes first, which knows better what went wrong
_LATE = "Moody's did not finish its answer in time."
_large_answers = threading.BoundedSemaphore(2)  # that are read at once


@dataclass(frozen=True)
class Raw:
    """An HTTP answer, read to its end or to the limit of what a job can be."""

    http_status: int
    content: bytes
    headers: Mapping[str, str]


class Transport:
    """Asks Moody's; shared by all threads of a pass."""

    def __init__(self, client: PublishedClient, *, connections: int) -> None:
        """Take over the client's session with a pool for that many concurrent requests.

        Raises:
            SettingsError: a setting holds what no request can be sent with.
        """
        require_sendable(client)
        self._client = client
        self._login = threading.Lock()
        self._deadlines = Deadlines()
        client.timeout = math.ceil(READ_SECONDS)
        for scheme in ("https://", "http://"):
            adapter = NotingAdapter(pool_connections=1, pool_maxsize=connections, max_retries=0)
            client.session.mount(scheme, adapter)

    def close(self) -> None:
        """Close the pool."""
        self._deadlines.close()
        self._client.session.close()

    def get(
        self,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        deadline: float | None = None,
        waits_if_throttled: bool = True,
    ) -> Raw:
        """Ask once, and once more if a second try may help.

        Args:
            path: below the base URL.
            params: the query.
            deadline: in ``time.monotonic`` seconds; nothing is sent or awaited past it.
            waits_if_throttled: whether to wait and ask again if the host asks for fewer requests.

        Raises:
            MoodysError: no answer arrived.
        """
        return self._asked("GET", path, deadline=deadline, waits=waits_if_throttled, params=params)

    def send(self, method: str, path: str, *, body: Any, request_id: str) -> Raw:
        """Send something that changes Moody's; the key makes a repeat harmless.

        Raises:
            MoodysError: no answer arrived; the request may have been carried out all the same.
        """
        headers = {"x-rms-requestid": request_id}
        return self._asked(method, path, deadline=None, waits=True, json=body, headers=headers)

    def _asked(
        self, method: str, path: str, *, deadline: float | None, waits: bool, **request: Any
    ) -> Raw:
        raw: Raw | None = None
        for remaining_tries in reversed(range(_TRIES)):
            try:
                raw = self._authorised(method, path, deadline=deadline, **request)
            except NoResponseError as exc:
                if raw is not None:
                    return raw  # of the first try, which says more
                if not (exc.again and remaining_tries and _pause(_PAUSE_SECONDS, deadline)):
                    raise
                continue
            is_final = not (is_down(raw.http_status) and remaining_tries)
            if is_final or (is_throttled(raw) and not waits) or not _wait(raw, deadline):
                return raw
        raise AssertionError  # the last try returns or raises

    def _authorised(self, method: str, path: str, *, deadline: float | None, **request: Any) -> Raw:
        """Ask; where a bearer token has run out, log in anew, once for all threads."""
        token = self._client.session.headers.get("Authorization")
        raw = self._once(method, path, deadline=deadline, **request)
        if raw.http_status != requests.codes.unauthorized or self._client.auth_mode != "bearer":
            return raw
        if not self._login.acquire(timeout=_left(deadline)):
            raise NoResponseError("There was no time left to log in at Moody's anew.")
        try:
            if self._client.session.headers.get("Authorization") == token:
                self._renew_login(deadline)
        finally:
            self._login.release()
        return self._once(method, path, deadline=deadline, **request)

    def _renew_login(self, deadline: float | None) -> None:
        from irp_integration.exceptions import IRPAuthenticationError  # noqa: PLC0415 - boto3

        self._client.timeout = max(min(READ_SECONDS, _left(deadline)), _LEAST_SECONDS)
        try:
            self._client.login()
        except IRPAuthenticationError as exc:
            error = login_rejected(str(exc), exc.status_code)
            raise NoResponseError(str(error)) if is_down(exc.status_code) else error from None

    def _once(self, method: str, path: str, *, deadline: float | None, **request: Any) -> Raw:
        left = _left(deadline)
        if left <= 0:
            raise NoResponseError("There was no time left to ask Moody's.")
        until = time.monotonic() + left
        with self._deadlines.until(until + _SLACK_SECONDS) as call:
            try:
                with self._client.session.send(
                    self._prepared(method, path, **request),
                    timeout=(min(CONNECT_SECONDS, left), min(READ_SECONDS, left)),
                    allow_redirects=False,  # the credentials go to Moody's and nowhere else
                    **self._way,
                ) as response:
                    content = _content(response, until)
                    raw = Raw(response.status_code, content, response.headers)
            except (requests.RequestException, Urllib3Error, OSError, ValueError) as exc:
                # requests repeats the URL and its query
                raise NoResponseError(_LATE) if call.is_cut else no_response(exc) from None
        if call.is_cut:  # in the middle of its headers, perhaps, which then look complete
            raise NoResponseError(_LATE)
        return raw

    def _prepared(self, method: str, path: str, **request: Any) -> requests.PreparedRequest:
        url = f"{self._client.base_url.rstrip('/')}/{path.lstrip('/')}"
        asked = requests.Request(method, url, auth=as_it_is, **request)
        return self._client.session.prepare_request(asked)

    @cached_property
    def _way(self) -> dict[str, Any]:
        """Proxies and certificates, as the environment has them: looked up once, not per request.

        ``Session.request`` does it each time, at the price of half the request's own work.
        """
        session, url = self._client.session, self._client.base_url
        return dict(
            session.merge_environment_settings(url, {}, stream=True, verify=None, cert=None)
        )


def _left(deadline: float | None) -> float:
    """Return how many seconds there are for one answer."""
    most = CONNECT_SECONDS + READ_SECONDS
    return most if deadline is None else min(max(deadline - time.monotonic(), 0.0), most)


def _content(response: requests.Response, deadline: float) -> bytes:
    """Read the body, but no more than a job can be and no longer than the deadline."""
    with ExitStack() as large:
        pieces: list[bytes] = []
        size = 0
        while piece := response.raw.read1(_PIECE_BYTES, decode_content=True):
            pieces.append(piece)
            if size <= MAX_BODY_BYTES < size + len(piece):  # the memory for it is shared by all
                if not _large_answers.acquire(timeout=max(deadline - time.monotonic(), 0)):
                    raise NoResponseError(_LATE)
                large.callback(_large_answers.release)
            size += len(piece)
            if size > MAX_READ_BYTES:
                break
            if time.monotonic() > deadline:
                raise NoResponseError(_LATE)
        return b"".join(pieces)


def is_throttled(raw: Raw) -> bool:
    """Tell whether the host did not let a request through, and wants us to come again."""
    return raw.http_status == requests.codes.too_many or (
        raw.http_status == requests.codes.unavailable and "Retry-After" in raw.headers
    )


def _wait(raw: Raw, deadline: float | None) -> bool:
    """Wait as long as a throttled or overloaded host asks for; False: not in this pass."""
    asked_for = retry_after_seconds(raw.headers)
    return _pause(_PAUSE_SECONDS if asked_for is None else asked_for, deadline)


def _pause(seconds: float, deadline: float | None) -> bool:
    if seconds > _LONGEST_PAUSE_SECONDS:
        return False
    if deadline is not None and time.monotonic() + seconds >= deadline:
        return False
    time.sleep(seconds)
    return True

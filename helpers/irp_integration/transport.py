"""One connection pool to Moody's: asking with our own patience.

The published client makes up to six tries of 200 seconds each, so that one dead host blocks a
call for twenty minutes. Here a question gets at most two tries, its own timeouts, and a
deadline that covers the whole answer, however slowly it drips in.
"""

import math
import threading
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import Any
from urllib.parse import urlencode

import requests
from urllib3.exceptions import HTTPError as Urllib3Error

from helpers.clock import CLOCK
from helpers.irp_integration.answers import Raw, is_down
from helpers.irp_integration.causes import (
    NoResponseError,
    PublishedClient,
    as_it_is,
    no_response,
    require_sendable,
)
from helpers.irp_integration.deadlines import LATE, Call, Deadlines, NotingAdapter
from helpers.irp_integration.login import login_rejected
from helpers.irp_integration.pace import retry_after_seconds
from helpers.irp_integration.wire import Host, body

_Ask = Callable[[Call, tuple[float, float]], Raw]  # with the seconds to connect and for each piece

CONNECT_SECONDS = 5.0
READ_SECONDS = 20.0
_TRIES = 2
_PAUSE_SECONDS = 0.5  # before the second try, unless Retry-After says otherwise
_LONGEST_PAUSE_SECONDS = 5.0  # whoever wants us to wait longer is asked in the next pass
_LEAST_SECONDS = 0.1  # a timeout of nothing is refused
_FAILURES = (requests.RequestException, Urllib3Error, HTTPException, OSError, ValueError)


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
        self._hosts: dict[str, Host] = {}  # by base URL
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
            deadline: in ``CLOCK.monotonic`` seconds; nothing is sent or awaited past it.
            waits_if_throttled: whether to wait and ask again if the host asks for fewer requests.

        Raises:
            MoodysError: no answer arrived.
        """
        target = f"/{path.lstrip('/')}" + (f"?{urlencode(params)}" if params else "")
        return self._asked(
            lambda call, timeouts: self._host().get(target, call, timeouts=timeouts),
            deadline=deadline,
            waits=waits_if_throttled,
        )

    def send(self, method: str, path: str, *, body: Any, request_id: str) -> Raw:
        """Send something that changes Moody's; the key makes a repeat harmless.

        Raises:
            MoodysError: no answer arrived; the request may have been carried out all the same.
        """
        url = f"{self._client.base_url.rstrip('/')}/{path.lstrip('/')}"
        headers = {"x-rms-requestid": request_id}
        request = requests.Request(method, url, json=body, headers=headers, auth=as_it_is)
        return self._asked(
            lambda call, timeouts: self._sent(request, call, timeouts), deadline=None, waits=True
        )

    def _asked(self, ask: _Ask, *, deadline: float | None, waits: bool) -> Raw:
        raw: Raw | None = None
        for remaining_tries in reversed(range(_TRIES)):
            try:
                raw = self._authorised(ask, deadline)
            except NoResponseError as exc:
                if raw is not None:
                    return raw  # of the first try, which says more
                if not (exc.again and remaining_tries and _pause(_PAUSE_SECONDS, deadline)):
                    raise
                continue
            is_final = not (is_down(raw.http_status) and remaining_tries)
            if is_final or (is_throttled(raw) and not waits):
                return raw
            asked_for = retry_after_seconds(raw.headers)
            if not _pause(_PAUSE_SECONDS if asked_for is None else asked_for, deadline):
                return raw
        raise AssertionError  # the last try returns or raises

    def _authorised(self, ask: _Ask, deadline: float | None) -> Raw:
        """Ask; where a bearer token has run out, log in anew, once for all threads."""
        token = self._client.session.headers.get("Authorization")
        raw = self._once(ask, deadline)
        if raw.http_status != requests.codes.unauthorized or self._client.auth_mode != "bearer":
            return raw
        if not self._login.acquire(timeout=_left(deadline)):
            raise NoResponseError("There was no time left to log in at Moody's anew.")
        try:
            if self._client.session.headers.get("Authorization") == token:
                self._renew_login(deadline)
        finally:
            self._login.release()
        return self._once(ask, deadline)

    def _renew_login(self, deadline: float | None) -> None:
        from irp_integration.exceptions import IRPAuthenticationError  # noqa: PLC0415 - boto3

        self._client.timeout = max(min(READ_SECONDS, _left(deadline)), _LEAST_SECONDS)
        try:
            self._client.login()
        except IRPAuthenticationError as exc:
            error = login_rejected(str(exc), exc.status_code)
            raise NoResponseError(str(error)) if is_down(exc.status_code) else error from None

    def _once(self, ask: _Ask, deadline: float | None) -> Raw:
        left = _left(deadline)
        if left <= 0:
            raise NoResponseError("There was no time left to ask Moody's.")
        with self._deadlines.until(CLOCK.monotonic() + left) as call:
            try:
                raw = ask(call, (min(CONNECT_SECONDS, left), min(READ_SECONDS, left)))
            except _FAILURES as exc:  # requests repeats the URL and its query
                raise NoResponseError(LATE) if call.is_cut else no_response(exc) from None
        if call.is_cut:  # in the middle of its headers, perhaps, which then look complete
            raise NoResponseError(LATE)
        return raw

    def _host(self) -> Host:
        base_url = self._client.base_url
        if base_url not in self._hosts:  # two threads that make one each do no harm
            self._hosts[base_url] = Host(self._client.session, base_url)
        return self._hosts[base_url]

    def _sent(self, request: requests.Request, call: Call, timeouts: tuple[float, float]) -> Raw:
        session = self._client.session
        way = session.merge_environment_settings(
            str(request.url), {}, stream=True, verify=None, cert=None
        )
        with session.send(
            session.prepare_request(request),
            timeout=timeouts,
            allow_redirects=False,  # the credentials go to Moody's and nowhere else
            **way,
        ) as response:
            content = body(lambda most: response.raw.read1(most, decode_content=True), call.until)
            return Raw(response.status_code, content, response.headers)


def _left(deadline: float | None) -> float:
    """Return how many seconds there are for one answer."""
    most = CONNECT_SECONDS + READ_SECONDS
    return most if deadline is None else min(max(deadline - CLOCK.monotonic(), 0.0), most)


def is_throttled(raw: Raw) -> bool:
    """Tell whether the host did not let a request through, and wants us to come again."""
    return raw.http_status == requests.codes.too_many or (
        raw.http_status == requests.codes.unavailable and "Retry-After" in raw.headers
    )


def _pause(seconds: float, deadline: float | None) -> bool:
    """Wait, as a host may have asked for; False: not in this pass."""
    if seconds > _LONGEST_PAUSE_SECONDS:
        return False
    if deadline is not None and CLOCK.monotonic() + seconds >= deadline:
        return False
    CLOCK.sleep(seconds)
    return True

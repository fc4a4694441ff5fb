"""Let the published client look things up, and catch the request that it would send in the end.

The client is used to build requests, not to send them. Reads go through, once per address. The
write that starts the job, known by its path and not by its order, is kept and answered with a
made-up 201, so that the call ends as usual and the writes that follow show themselves. Writes that
must come before it go through with a key, or end a check. Any other write ends the call.
"""

import json
import re
from collections import defaultdict
from threading import Lock
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid5

from requests import PreparedRequest as OutgoingRequest
from requests import RequestException, Response
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from helpers.errors import MoodysError
from helpers.irp_integration.answers import Raw, require_ok
from helpers.irp_integration.causes import no_response
from helpers.irp_integration.prepared import (
    MADE_ID,
    PreparedRequest,
    UnexpectedWriteError,
    WriteReachedError,
    Writes,
)

_MADE_UP_ID = "2147483646"
_NOT_FOUND = 404
_TRIES = Retry(
    total=2,
    backoff_factor=0.5,
    status_forcelist=(429, 502, 503, 504),
    allowed_methods={"GET"},
    respect_retry_after_header=False,
    raise_on_status=False,
)


class CatchingAdapter(HTTPAdapter):
    """Carries the requests of a session, and catches those that are to be sent later."""

    def __init__(self, *, base_url: str, login_path: str) -> None:
        super().__init__(max_retries=_TRIES)
        self._base_path = urlsplit(base_url).path.rstrip("/")
        self._login_path = login_path
        self._found: dict[str, Response] = {}  # by address, what was looked up
        self._asking: defaultdict[str, Lock] = defaultdict(Lock)  # by address: one thread asks
        self._failed: dict[str, MoodysError] = {}  # by address
        self._caught: list[PreparedRequest] = []

    def expect(self, writes: Writes, *, key: UUID | None) -> None:
        """Begin a call. Without a key, it ends with ``WriteReachedError`` at its first write."""
        self._writes, self._key = writes, key
        self.has_looked_up = False
        self._caught.clear()
        self._failed.clear()

    @property
    def trouble(self) -> MoodysError | None:
        """Why a look-up failed; the client may have taken a failure for an unknown name."""
        return next(iter(self._failed.values()), None)

    @property
    def caught(self) -> PreparedRequest | None:
        """The request that the call ended with, and those that follow it."""
        if not self._caught:
            return None
        first, *then = self._caught
        return PreparedRequest(first.method, first.path, first.json, tuple(then))

    def send(self, request: OutgoingRequest, *args: Any, **kwargs: Any) -> Response:
        """Send, catch or refuse one request."""
        path = re.sub("//+", "/", urlsplit(str(request.url)).path).removeprefix(self._base_path)
        if request.method == "GET":
            return self._looked_up(request, *args, **kwargs)
        if path == self._login_path:
            return super().send(request, *args, **kwargs)
        follows = self._writes.after if self._caught else self._writes.last
        if request.method == "POST" and follows is not None and _is_at(follows, path):
            return self._catch(request, path)
        if not any(_is_at(before, path) for before in self._writes.before):
            raise UnexpectedWriteError(f"{request.method} {path} is not expected here")
        if self._key is None:
            raise WriteReachedError
        request.headers["x-rms-requestid"] = str(uuid5(self._key, f"{path} {request.body!r}"))
        # What was not there is there now.
        self._found = {u: r for u, r in self._found.items() if urlsplit(u).path != path}
        return self._noted(request, *args, **kwargs)

    def _catch(self, request: OutgoingRequest, path: str) -> Response:
        if self._key is None:
            raise WriteReachedError
        body = json.loads(request.body) if request.body else None
        path_later = path.replace(_MADE_UP_ID, MADE_ID)
        self._caught.append(PreparedRequest(str(request.method), path_later, body))
        response = Response()
        response.status_code, response.url, response.request = 201, str(request.url), request
        response.headers["Location"] = f"{path}/{_MADE_UP_ID}"
        response._content = b""  # noqa: SLF001 - requests has no other way to make one
        return response

    def _looked_up(self, request: OutgoingRequest, *args: Any, **kwargs: Any) -> Response:
        self.has_looked_up = True
        url = str(request.url)
        with self._asking[url]:
            if url not in self._found:
                response = self._noted(request, *args, **kwargs)
                if url in self._failed:
                    return response
                _ = response.content  # read by this thread, before others see it
                self._found[url] = response
            return self._found[url]

    def _noted(self, request: OutgoingRequest, *args: Any, **kwargs: Any) -> Response:
        """Send a request, and note if it got no answer that a name can be judged by."""
        url = str(request.url)
        try:
            response = super().send(request, *args, **kwargs)
        except RequestException as exc:
            self._failed[url] = no_response(exc)
            raise
        location = response.headers.pop("Location", "") if response.is_redirect else ""
        self._failed.pop(url, None)
        if not response.ok or location:
            raw = Raw(response.status_code, response.content, {"Location": location})
            try:
                require_ok(raw, about="a look-up")
            except MoodysError as exc:
                if raw.http_status != _NOT_FOUND:
                    self._failed[url] = exc
        return response


def _is_at(pattern: str, path: str) -> bool:
    parts = [re.escape(part) for part in pattern.split("{}")]
    return re.fullmatch(r"\d+".join(parts), path) is not None

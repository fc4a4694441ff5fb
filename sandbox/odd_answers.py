"""Answers that go wrong, and carrying out a request's fate. Shared by both stand-ins.

Resetting and cutting off need the socket, which ASGI does not offer: the protocol of
``server.py`` puts the transport into the scope's state.
"""

import asyncio
import json
import math
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send

from sandbox.misbehaviour import Call, Fault, Misbehaviour, Misbehaviours, edited

_LOOK_AGAIN_SECONDS = 0.05
_DRIPS = 200
_BEFORE = frozenset(
    {
        Fault.HTTP_STATUS,
        Fault.RATE_LIMIT,
        Fault.BUSY,
        Fault.HTML_403,
        Fault.HANG,
        Fault.RESET,
        Fault.SLOW_HEADERS,
    }
)
_HTML_403 = (
    "<!DOCTYPE html>\n<html><head><title>ERROR: The request could not be satisfied</title></head>"
    "<body><h1>403 ERROR</h1><p>Request blocked. We can't connect to the server for this app or "
    "website at this time.</p></body></html>\n"
)
ErrorBody = Callable[[int, str], Any]


class JsonResponse(Response):
    """JSON as Moody's writes it; text that is no Unicode goes out as escapes."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return json.dumps(content, separators=(",", ":")).encode()


class ResetResponse(Response):
    """Resets the connection in place of an answer."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send RST: closing with a linger time of zero does that."""
        transport = _transport(scope)
        raw: socket.socket = transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
        await _disconnected(receive)


class TruncatedResponse(Response):
    """Promises its whole body, sends half of it and closes the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the first half."""
        half = self.body[: len(self.body) // 2]
        await _start(self, send)
        await send({"type": "http.response.body", "body": half, "more_body": True})
        _transport(scope).close()
        await _disconnected(receive)


class DrippingResponse(Response):
    """Sends its body piece by piece, with a pause before each."""

    def __init__(self, plain: Response, how: Misbehaviour) -> None:
        super().__init__(plain.body, plain.status_code)
        self.raw_headers = plain.raw_headers
        self._how = how

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send at most ``_DRIPS`` pieces; the rest at once when the misbehaviour is lifted."""
        await _start(self, send)
        size = max(1, math.ceil(len(self.body) / _DRIPS))
        for start in range(0, len(self.body), size):
            if not self._how.lifted:
                await asyncio.sleep(self._how.seconds)
            piece = bytes(self.body[start : start + size])
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


class DrippingHeadersResponse(Response):
    """Sends its headers byte by byte, with a pause before each, and never comes to an end."""

    def __init__(self, how: Misbehaviour) -> None:
        super().__init__()
        self._how = how

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send them until the misbehaviour is lifted or nobody listens."""
        transport = _transport(scope)
        transport.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
        while not (self._how.lifted or transport.is_closing()):
            await asyncio.sleep(self._how.seconds)
            transport.write(b"x")
        transport.abort()
        await _disconnected(receive)


async def _start(response: Response, send: Send) -> None:
    headers = response.raw_headers
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})


def _transport(scope: Scope) -> asyncio.Transport:
    transport: asyncio.Transport = scope["state"]["transport"]
    return transport


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def answer(
    request: Request,
    call: Call,
    *,
    misbehaviours: Misbehaviours,
    carry_out: Callable[[Misbehaviour | None], Awaitable[Response]],
    error_body: ErrorBody,
) -> Response:
    """Answer a request, or misbehave.

    Args:
        request: what came in.
        call: what it wants.
        misbehaviours: those in force.
        carry_out: does what the request wants; told the misbehaviour that hits it.
        error_body: the body of an error answer: (HTTP status, message) to what JSON can hold.
    """
    fate = misbehaviours.fate_of(call)
    try:
        if fate.delay_seconds:
            await asyncio.sleep(fate.delay_seconds)
        return await _answer(request, fate.misbehaviour, carry_out, error_body)
    finally:
        misbehaviours.note_end(fate)


async def _answer(
    request: Request,
    how: Misbehaviour | None,
    carry_out: Callable[[Misbehaviour | None], Awaitable[Response]],
    error_body: ErrorBody,
) -> Response:
    if how is None:
        return await carry_out(None)
    if how.fault not in _BEFORE:
        return spoiled(await carry_out(how), how)
    if how.carried_out:
        done = await carry_out(how)
        return done if await _hung(request, how) else _instead_of_an_answer(how, error_body)
    if await _hung(request, how) and not await request.is_disconnected():
        return await carry_out(None)
    return _instead_of_an_answer(how, error_body)


async def _hung(request: Request, how: Misbehaviour) -> bool:
    """Hang where that is the fault, until it is lifted or nobody waits any more."""
    if how.fault is not Fault.HANG:
        return False
    while not how.lifted and not await request.is_disconnected():
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)
    return True


def _instead_of_an_answer(how: Misbehaviour, error_body: ErrorBody) -> Response:
    match how.fault:
        case Fault.HTML_403:
            return HTMLResponse(_HTML_403, HTTPStatus.FORBIDDEN)
        case Fault.HTTP_STATUS:
            return error_response(how.http_status, error_body, retry_after=how.retry_after)
        case Fault.RATE_LIMIT | Fault.BUSY:
            return error_response(429, error_body, retry_after=how.retry_after)
        case Fault.SLOW_HEADERS:
            return DrippingHeadersResponse(how)
        case _:
            return ResetResponse()


def error_response(
    http_status: int, error_body: ErrorBody, *, message: str = "", retry_after: str | None = None
) -> Response:
    """Return an error in the host's own shape; 204 has no body."""
    if http_status == HTTPStatus.NO_CONTENT:
        return Response(status_code=http_status)
    headers: Mapping[str, str] = {"Retry-After": retry_after} if retry_after else {}
    text = message or HTTPStatus(http_status).phrase
    return JsonResponse(error_body(http_status, text), http_status, headers=dict(headers))


def spoiled(plain: Response, how: Misbehaviour) -> Response:
    """Return what becomes of an answer under a misbehaviour that spoils it."""
    match how.fault:
        case Fault.SLOW_DRIP:
            return DrippingResponse(plain, how)
        case Fault.TRUNCATED:
            return TruncatedResponse(plain.body, plain.status_code, media_type="application/json")
        case Fault.MALFORMED_JSON:
            return _json_text(plain, bytes(plain.body)[:-1] + b",,")
        case Fault.NOT_AN_OBJECT:
            return _json_text(plain, b'"Service is under maintenance"')
        case Fault.HUGE:
            return _huge(plain, how.size_bytes)
        case _:
            value = json.loads(bytes(plain.body)) if plain.body else None
            return _json_text(plain, JsonResponse(edited(value, how)).body)


def _json_text(plain: Response, text: bytes | memoryview) -> Response:
    headers = {k: v for k, v in plain.headers.items() if k != "content-length"}
    return Response(bytes(text), plain.status_code, headers=headers)


def _huge(plain: Response, size_bytes: int) -> Response:
    """Pad an answer with the white space that JSON allows."""
    text = bytes(plain.body)
    return _json_text(plain, text + b" " * max(0, size_bytes - len(text)))

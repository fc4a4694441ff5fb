"""A stand-in for a Teams "Workflows" webhook: takes cards as Power Automate does, and keeps them.

It answers 202 with an empty body, which means accepted and not seen; it refuses what Teams
would not show. Run it with ``with TeamsStandIn() as teams: … teams.webhook_url``, or as a
process of its own with ``python -m sandbox.teams``.
"""

import json
import secrets
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.misbehaviour import Call, Misbehaviour
from sandbox.odd_answers import answer, error_response
from sandbox.server import arguments
from sandbox.stand_in import StandIn, control_route

MOST_BYTES = 28 * 1024
CARD_CONTENT_TYPE = "application/vnd.microsoft.card.adaptive"
NEWEST_CARD_VERSION = (1, 4)
_PATH = "/workflows/6f2c1b7e9a5d4e0f8b3c2a1d0e9f8a7b/triggers/manual/paths/invoke"


class TeamsStandIn(StandIn):
    """A stand-in for a Teams webhook; serves from a thread while used as a context manager.

    Attributes:
        messages: the bodies that were accepted, in the order of their arrival.
    """

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self._signature = secrets.token_urlsafe(32)
        super().__init__([Route(_PATH, self._endpoint, methods=["POST"])])

    @property
    def webhook_url(self) -> str:
        """The URL to post to; like the real one, it carries the secret."""
        return f"{self.url}{self._path_and_query}"

    @property
    def _path_and_query(self) -> str:
        query = "api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0"
        return f"{_PATH}?{query}&sig={self._signature}"

    async def _endpoint(self, request: Request) -> Response:
        call = Call("teams", "webhook")
        body = await request.body()

        async def take(_: Misbehaviour | None) -> Response:
            return self._take(request.query_params.get("sig", ""), body)

        serve = partial(
            answer,
            request,
            call,
            misbehaviours=self.misbehaviours,
            carry_out=take,
            error_body=_error_body,
        )
        return await self.counted(call, serve)

    def _take(self, signature: str, body: bytes) -> Response:
        if not secrets.compare_digest(signature.encode(), self._signature.encode()):
            return error_response(401, _error_body, message="The signature is not valid.")
        if len(body) > MOST_BYTES:
            return error_response(413, _error_body, message="The message is too large.")
        try:
            message = json.loads(body)
        except ValueError:
            return error_response(400, _error_body, message="The message is not JSON.")
        if (problem := problem_with(message)) is not None:
            return error_response(400, _error_body, message=problem)
        self.messages.append(message)
        return Response(status_code=202)

    def reset(self) -> None:
        """Behave, and forget the messages and the counts."""
        super().reset()
        self.messages.clear()

    def statistics(self) -> dict[str, Any]:
        """Return what was counted; also ``messages``."""
        return {**super().statistics(), "messages": len(self.messages)}

    def control_routes(self) -> list[Route]:
        """Return what can be asked and ordered under ``/_sandbox/``."""
        return [
            *super().control_routes(),
            control_route("GET", "/messages", lambda _, __: list(self.messages)),
            control_route(
                "GET",
                "/webhook",
                lambda request, _: {
                    "url": f"{request.url.scheme}://{request.url.netloc}{self._path_and_query}"
                },
            ),
        ]


def problem_with(message: Any) -> str | None:
    """Return why a Workflows webhook could not post this; None if it could."""
    if not isinstance(message, dict) or message.get("type") != "message":
        return 'The message is not an object with "type": "message".'
    attachments = message.get("attachments")
    if not isinstance(attachments, list) or not attachments:
        return "The message has no attachments."
    return next((p for p in map(_problem_with_attachment, attachments) if p is not None), None)


def _problem_with_attachment(attachment: Any) -> str | None:
    if not isinstance(attachment, dict) or attachment.get("contentType") != CARD_CONTENT_TYPE:
        return f"An attachment is not of the type {CARD_CONTENT_TYPE}."
    card = attachment.get("content")
    if not isinstance(card, dict) or card.get("type") != "AdaptiveCard":
        return "An attachment's content is no Adaptive Card."
    if not isinstance(card.get("body"), list) or not card["body"]:
        return "The card has no body."
    version = _version(card.get("version"))
    if version is None or version > NEWEST_CARD_VERSION:
        return "The card's version is none that Teams shows (1.0 to 1.4)."
    return None


def _version(value: Any) -> tuple[int, int] | None:
    parts = value.split(".") if isinstance(value, str) else []
    match [int(part) for part in parts if part.isdecimal()]:
        case [major, minor] if len(parts) == 2:  # noqa: PLR2004 - major and minor
            return major, minor
        case _:
            return None


def _error_body(http_status: int, message: str) -> dict[str, Any]:
    code = {401: "DirectApiAuthorizationRequired", 429: "WorkflowRunActionRepetitionThrottled"}
    return {"error": {"code": code.get(http_status, "InvalidRequest"), "message": message}}


def main() -> None:
    """Serve until told to end; prints the URL."""
    given = arguments("A stand-in for a Teams webhook, on loopback.").parse_args()
    TeamsStandIn().serve_here(port=given.port, parent=given.parent)


if __name__ == "__main__":
    main()

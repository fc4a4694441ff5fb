"""The way of every request into the stand-in for Moody's: counted, misbehaved, let in, answered.

In the order of the real host: what stands in front may fail or throttle before anybody looks
at the credentials, and a repeated submission is recognised before it is carried out.
"""

import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.misbehaviour import Call, Kind, Misbehaviour
from sandbox.moodys_access import header, is_uuid
from sandbox.moodys_catalogue import Term, parse_filter
from sandbox.moodys_world import RefusedError, World, error_body
from sandbox.odd_answers import answer, error_response
from sandbox.stand_in import StandIn

LONGEST_QUERY = 4_870
"""Characters of a query, as sent; a longer one gets 431."""

Handler: TypeAlias = Callable[[World, Request, Misbehaviour | None], Awaitable[Response]]

_IDS = re.compile(r"\d+")


def filter_terms(request: Request) -> list[Term]:
    """Return the conditions of a request's filter.

    Raises:
        RefusedError: it is no filter.
    """
    try:
        return parse_filter(request.query_params.get("filter", ""))
    except ValueError as exc:
        raise RefusedError(400, str(exc)) from exc


class Gateway:
    """Makes routes of handlers."""

    def __init__(self, world: World, stand_in: StandIn) -> None:
        self._world = world
        self._stand_in = stand_in

    def route(
        self,
        method: str,
        path: str,
        handler: Handler,
        *,
        family: str,
        kind: Kind,
        public: bool = False,
    ) -> Route:
        """Return a route; a public one asks for no credentials."""

        async def endpoint(request: Request) -> Response:
            call = Call(str(family), str(kind), _job_ids(request, kind))
            serve = partial(self._answer, request, call, handler, public=public)
            return await self._stand_in.counted(call, serve)

        return Route(path, endpoint, methods=[method])

    async def _answer(
        self, request: Request, call: Call, handler: Handler, *, public: bool
    ) -> Response:
        if len(request.scope["query_string"]) > LONGEST_QUERY:
            return error_response(431, error_body)
        if request.method != "GET":  # a submission arrives whole before anything becomes of it
            await request.body()
        keys, key = self._world.request_ids, header(request.headers, "x-rms-requestid")
        if keys.is_in_progress(key):
            problem = "A request with this x-rms-requestid is still being processed."
            return error_response(409, error_body, message=problem)
        if key:
            keys.begin(key)
        try:
            return await answer(
                request,
                call,
                misbehaviours=self._stand_in.misbehaviours,
                carry_out=partial(self._carry_out, request, handler, key, public=public),
                error_body=error_body,
            )
        finally:
            keys.end(key)

    async def _carry_out(
        self,
        request: Request,
        handler: Handler,
        key: str,
        how: Misbehaviour | None,
        *,
        public: bool,
    ) -> Response:
        try:
            if not public:
                self._let_in(request)
            _require_uuid(key, "x-rms-requestid", needed=False)
        except RefusedError as exc:
            return error_response(exc.http_status, error_body, message=str(exc))
        known = self._world.request_ids.answer_to(key)
        if known is not None:
            return known
        try:
            response = await handler(self._world, request, how)
        except RefusedError as exc:
            response = error_response(exc.http_status, error_body, message=str(exc))
        if key:
            self._world.request_ids.carried_out(key, response)
        return response

    def _let_in(self, request: Request) -> None:
        authorization = header(request.headers, "authorization")
        if not self._world.access.admits(authorization, self._world.jobs.now()):
            raise RefusedError(401, "Unauthorized")
        group = header(request.headers, "x-rms-resource-group-id")
        _require_uuid(group, "x-rms-resource-group-id", needed=True)


def _require_uuid(value: str, name: str, *, needed: bool) -> None:
    if (value or needed) and not is_uuid(value):
        raise RefusedError(400, f"The header {name} must hold a UUID.")


def _job_ids(request: Request, kind: Kind) -> frozenset[str]:
    match kind:
        case Kind.BY_ID | Kind.CHANGE:
            return frozenset({request.path_params["job_id"]})
        case Kind.SEARCH:
            query = request.query_params
            return frozenset(_IDS.findall(query.get("filter", query.get("ids", ""))))
        case _:
            return frozenset()

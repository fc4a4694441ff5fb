"""What the stand-ins have in common: misbehaving, counting, being served and controlled.

Control is by this object, or by JSON under ``/_sandbox/`` on the same port, without
credentials: tests and demos live in other processes.
"""

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Any, Self, TypeAlias

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from sandbox.misbehaviour import Call, Fault, Kind, Misbehaviour, Misbehaviours
from sandbox.odd_answers import JsonResponse
from sandbox.server import CONTROL_PREFIX, Listener, ThreadedServer, serve_here

Json: TypeAlias = Any
Control: TypeAlias = Callable[[Request, Json], Json]


class StandIn:
    """A stand-in for a host; serves from a thread while used as a context manager.

    Attributes:
        app: the Starlette application.
        misbehaviours: those in force.
        url: where it is served, once it has been started.
    """

    def __init__(self, routes: list[Route]) -> None:
        self.misbehaviours = Misbehaviours()
        self._listener = Listener()
        self._requests: Counter[tuple[str, str]] = Counter()
        self._requests_by_job: Counter[str] = Counter()
        self.in_flight = 0
        self._most_in_flight = 0
        self._server: ThreadedServer | None = None
        self.app = Starlette(routes=[*routes, Mount(CONTROL_PREFIX, routes=self.control_routes())])
        self.app.state.listener = self._listener

    @property
    def url(self) -> str:
        """Where it is served; raises RuntimeError before the start."""
        if self._server is None:
            raise RuntimeError("The stand-in is not running.")
        return self._server.url

    def start(self, *, port: int = 0) -> Self:
        """Serve in a thread; returns once connections are accepted."""
        self._server = ThreadedServer(self.app, before_stop=self.behave, port=port).start()
        return self

    def stop(self) -> None:
        """Stop serving."""
        if self._server is not None:
            self._server.stop()

    def serve_here(self, *, port: int, parent: int, certificate: Path | None = None) -> None:
        """Serve in this process until it is told to end."""
        serve_here(
            self.app,
            before_stop=self.behave,
            port=port,
            parent=parent,
            certificate=certificate,
        )

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def misbehave(
        self,
        fault: Fault | str,
        *,
        families: Collection[str] | None = None,
        kinds: Collection[str] | None = None,
        job_ids: Collection[str] | None = None,
        **how: Any,
    ) -> Misbehaviour:
        """Misbehave from the next request on.

        Args:
            fault: what goes wrong.
            families: only requests to these; None hits all.
            kinds: only requests of these kinds; None hits all.
            job_ids: only requests about one of these jobs; None hits all.
            how: further attributes of ``Misbehaviour``.
        """
        given = {"families": families, "kinds": kinds, "job_ids": job_ids, **how}
        return self.misbehaviours.add(Misbehaviour(fault=Fault(fault), **given))

    def behave(self, misbehaviour: Misbehaviour | None = None) -> None:
        """Lift one misbehaviour, or all."""
        self.misbehaviours.lift(misbehaviour)

    def refuse_connections(self, seconds: float) -> None:
        """Refuse connections for that long, as a host that is down."""
        self._listener.refuse(seconds)

    def reset(self) -> None:
        """Behave, and forget what was counted and kept."""
        self.behave()
        self._requests.clear()
        self._requests_by_job.clear()
        self._most_in_flight = self.in_flight
        self._listener.opened = 0

    def statistics(self) -> dict[str, Any]:
        """Return what was counted since the start or the last reset.

        ``requests`` by family and kind, ``requests_total``, ``requests_by_job`` (reads by id),
        ``connections`` (TCP connections opened) and ``most_in_flight`` (requests at once).
        """
        by_family: dict[str, dict[str, int]] = {}
        for (family, kind), count in sorted(self._requests.copy().items()):
            by_family.setdefault(family, {})[kind] = count
        return {
            "requests": by_family,
            "requests_total": self._requests.total(),
            "requests_by_job": dict(self._requests_by_job),
            "connections": self._listener.opened,
            "most_in_flight": self._most_in_flight,
        }

    async def counted(self, call: Call, answer: Callable[[], Awaitable[Response]]) -> Response:
        """Answer a request and count it."""
        self._requests[call.family, call.kind] += 1
        if call.kind == Kind.BY_ID:
            self._requests_by_job.update(call.job_ids)
        self.in_flight += 1
        self._most_in_flight = max(self._most_in_flight, self.in_flight)
        try:
            return await answer()
        finally:
            self.in_flight -= 1

    def control_routes(self) -> list[Route]:
        """Return what can be asked and ordered under ``/_sandbox/``."""
        return [
            control_route("GET", "/statistics", lambda _, __: self.statistics()),
            control_route("POST", "/reset", lambda _, __: self.reset()),
            control_route(
                "POST", "/refuse", lambda _, body: self.refuse_connections(float(body["seconds"]))
            ),
            control_route(
                "POST", "/misbehaviours", lambda _, body: self.misbehave(**body).as_json()
            ),
            control_route("DELETE", "/misbehaviours", lambda _, __: self.behave()),
            control_route(
                "GET",
                "/misbehaviours",
                lambda _, __: [active.as_json() for active in self.misbehaviours.all()],
            ),
        ]


def control_route(method: str, path: str, act: Control) -> Route:
    """Return the route of one control call; what it lacks or mistakes is answered with 400."""

    async def endpoint(request: Request) -> Response:
        try:
            body = json.loads(await request.body() or b"{}")
            return JsonResponse(act(request, body))
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as exc:
            return JsonResponse({"error": f"{type(exc).__name__}: {exc}"}, 400)

    return Route(path, endpoint, methods=[method])

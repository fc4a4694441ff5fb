"""The board inside a Jupyter server, at ``<base URL>/batch-monitoring/``.

``batch_monitor`` is the extension that adds it. It shows what ``python -m helpers.board`` shows,
behind Jupyter's own login, and follows the metastore by server-sent events. It changes nothing:
GET is the only method of its one handler, and all is read in read-only transactions, in a thread
beside the server's event loop.
"""

import asyncio
import secrets
from contextlib import suppress
from functools import partial
from pathlib import Path
from urllib.parse import quote

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.serverapp import ServerApp
from jupyter_server.utils import url_path_join
from tornado import web
from tornado.iostream import StreamClosedError

from helpers.board.audience import Audience, Viewer
from helpers.board.live import PARTS, look
from helpers.display import file_of, live_page

_FIRST_LOOK_SECONDS = 10.0
_KEEP_ALIVE_SECONDS = 15.0
_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'nonce-{nonce}'",
        "style-src 'nonce-{nonce}'",
        "style-src-attr 'unsafe-inline'",  # the lengths of bars
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'self'",
    ]
)


def add_page(serverapp: ServerApp) -> None:
    """Add the page to a server; nothing is read or opened before somebody looks."""
    base_url = serverapp.web_app.settings["base_url"]
    root = Path(serverapp.root_dir).expanduser().resolve()
    audience = Audience(partial(look, partial(_lab_address, base_url, root)))
    address = url_path_join(base_url, "batch-monitoring")
    handler = (f"{address}/?(events)?", PageHandler, {"audience": audience, "address": address})
    serverapp.web_app.add_handlers(".*$", [handler])  # type: ignore[no-untyped-call]  # tornado's
    serverapp.log.info("Batch monitoring is at %s/", address)


def _lab_address(base_url: str, root: Path, path: str) -> str | None:
    """Return where JupyterLab opens a file below the workflows folder; None if it cannot."""
    try:
        below = file_of(path).relative_to(root)
    except ValueError:
        return None
    return url_path_join(base_url, "lab/tree", quote(below.as_posix()))


class PageHandler(JupyterHandler):
    """The page, and the stream of what changes on it."""

    auth_resource = "batch-monitoring"

    def initialize(self, audience: Audience, address: str) -> None:
        """Take what all requests share."""
        self._audience, self._address = audience, address
        self._viewer: Viewer | None = None

    @web.authenticated
    @authorized
    async def get(self, events: str | None) -> None:
        """Give the page, or its events for as long as somebody looks."""
        self.set_header("Cache-Control", "no-store")
        self._viewer = self._audience.join()
        try:
            await (self._send_events if events else self._send_page)(self._viewer)
        finally:
            self._audience.leave(self._viewer)

    async def _send_page(self, viewer: Viewer) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(viewer.get(), _FIRST_LOOK_SECONDS)
        nonce = secrets.token_urlsafe(16)
        # Beside Jupyter's own policy: both hold.
        self.add_header("Content-Security-Policy", _POLICY.format(nonce=nonce))
        self.set_header("Referrer-Policy", "same-origin")
        await self.finish(
            live_page(
                self._audience.view.parts or {},
                PARTS,
                problem=self._audience.view.problem,
                events=f"{self._address}/events",
                nonce=nonce,
                version=self._audience.version,
            )
        )

    async def _send_events(self, viewer: Viewer) -> None:
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("X-Accel-Buffering", "no")  # a proxy must not collect them
        with suppress(StreamClosedError):
            while not viewer.is_gone:
                event = ": nothing new\n\n"
                with suppress(TimeoutError):
                    event = await asyncio.wait_for(viewer.get(), _KEEP_ALIVE_SECONDS)
                self.write(event)
                await self.flush()

    def on_connection_close(self) -> None:
        """Release a viewer as soon as it is gone."""
        if self._viewer is not None:
            self._viewer.go()
        super().on_connection_close()

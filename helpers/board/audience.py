"""All who look at the live page: one follower reads for them, and none while there is nobody.

Everything here happens in the event loop of the server, except for what the follower reads.
"""

import asyncio
import atexit
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial

from helpers.board.following import Follower, Sight
from helpers.identity import package_version

_LINGER_SECONDS = 3.0  # who loads the page anew finds the connection
_STOP_SECONDS = 2.0
_NOTHING = Sight(None)


class Viewer:
    """Somebody who looks: is given the latest event, and not those that were overtaken."""

    def __init__(self) -> None:
        """Begin without an event."""
        self._latest: asyncio.Queue[str] = asyncio.Queue(1)
        self.is_gone = False

    def show(self, event: str) -> None:
        """Give an event, in place of one that was not fetched."""
        if self._latest.full():
            self._latest.get_nowait()
        self._latest.put_nowait(event)

    async def get(self) -> str:
        """Wait for the next event."""
        return await self._latest.get()

    def go(self) -> None:
        """Note that nobody looks any more, and end the waiting."""
        self.is_gone = True
        self.show("")


class Audience:
    """Who looks at the page, and what they see."""

    def __init__(self, look: Callable[[], dict[str, str]]) -> None:
        """Begin without anybody; ``look`` reads the parts of the page."""
        self._look = look
        self._viewers: set[Viewer] = set()
        self._follower: Follower | None = None
        self._before: Follower | None = None
        self._closing: asyncio.TimerHandle | None = None
        self.view = _NOTHING
        self.version = package_version()  # an open page of another one loads itself anew
        atexit.register(self._stop)

    def join(self) -> Viewer:
        """Let somebody look; the first one starts to follow the metastore."""
        viewer = Viewer()
        self._viewers.add(viewer)
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        if self._follower is None:
            self.view = _NOTHING  # what was seen long ago is not shown as if it were now
            publish = partial(self._publish, asyncio.get_running_loop())
            self._follower = Follower(self._look, publish, after=self._before)
        elif self.view is not _NOTHING:
            viewer.show(self._event())
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """Note that somebody looks no more; after the last one the connection is closed soon."""
        self._viewers.discard(viewer)
        if not self._viewers and self._closing is None:
            self._closing = asyncio.get_running_loop().call_later(_LINGER_SECONDS, self._close)

    def _close(self) -> None:
        self._closing = None
        if self._follower is not None:
            self._follower.stop()
        self._before, self._follower = self._follower, None

    def _publish(self, loop: asyncio.AbstractEventLoop, sight: Sight) -> None:
        """Pass on what the follower has seen, from its thread."""
        with suppress(RuntimeError):  # the server is stopping
            loop.call_soon_threadsafe(self._show, sight)

    def _show(self, sight: Sight) -> None:
        self.view = replace(sight, parts=sight.parts or self.view.parts)
        event = self._event()
        for viewer in self._viewers:
            viewer.show(event)

    def _event(self) -> str:
        return f"data: {json.dumps({**asdict(self.view), 'version': self.version})}\n\n"

    def _stop(self) -> None:
        """Close the connection before the process ends."""
        if self._follower is not None:
            self._follower.stop()
            self._follower.join(_STOP_SECONDS)

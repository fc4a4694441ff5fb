"""The kernel of one run: started in a notebook's folder under a watchdog, and ended with it.

All that a kernel needs while it lives (its sockets, its connection file, what it says on its
standard streams) lies in one private folder. A kernel that is known to speak through sockets in
a folder has no TCP ports, which two kernels that start side by side could both believe to be
free, and which other accounts could reach.
"""

import asyncio
import contextlib
import itertools
import logging
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import Empty
from typing import Any

import zmq
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.manager import AsyncKernelManager
from traitlets import Type

from helpers.notebooks import watchdog
from helpers.notebooks.kernel_choice import runs_ipykernel
from helpers.notebooks.lease import Lease
from helpers.notebooks.outputs import Message, TolerantChannel, request_of
from helpers.redaction import shown
from helpers.text import clean

log = logging.getLogger(__name__)

START_SECONDS = 120.0
_SHUTDOWN_SECONDS = 5.0  # for the notebook's own atexit handlers
_LOOK_SECONDS = 1.0
_LONGEST_SOCKET_PATH = 90  # the system's limit is 103 or 107; “-ipc-5” and a margin go off
_WATCHDOG_SECONDS = watchdog.PATIENCE_SECONDS + watchdog.LAST_PATIENCE_SECONDS + 4
_LONGEST_PRINTED = 64_000
_ERROR = re.compile(r"error|exception|panic|fatal|failed|cannot|no such", re.IGNORECASE)

# A kernel throws outputs away while nobody takes them fast enough. ipykernel can be told to wait
# (ZMQ_XPUB_NODROP is option 69), and then a few messages need to lie here, of whatever size.
_WAIT_FOR_READERS = (
    "(lambda thread: thread.schedule(lambda: thread.socket.setsockopt(69, 1)))"
    "(get_ipython().kernel.iopub_thread)"
)
_MOST_WAITING = 16
_AT_A_TIME = 50  # messages until something else may run


class KernelDiedError(Exception):
    """The kernel ended while it had something to do."""


class _WatchedKernelManager(AsyncKernelManager):
    lease: Lease

    def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
        command = super().format_kernel_cmd(extra_arguments)
        folder = str(Path(self.connection_file).parent)
        lease = [repr(self.lease.sent_at), repr(self.lease.seconds)]
        return [sys.executable, "-I", "-S", watchdog.__file__, folder, *lease, *command]


class _Client(AsyncKernelClient):
    shell_channel_class = Type(TolerantChannel)
    iopub_channel_class = Type(TolerantChannel)
    control_channel_class = Type(TolerantChannel)


class NotebookKernel:
    """A kernel and everything that it starts, from ``start`` to ``end``, in one event loop."""

    def __init__(
        self, name: str, *, folder: Path, environment: Mapping[str, str], lease: Lease
    ) -> None:
        self.name = name
        self._folder = folder
        self._environment = environment
        self._private = tempfile.TemporaryDirectory(prefix="kernel-", ignore_cleanup_errors=True)
        connection_file = str(Path(self._private.name) / "k.json")
        self.manager = _WatchedKernelManager(
            kernel_name=name, connection_file=connection_file, client_factory=_Client
        )
        self.manager.lease = lease
        self._is_ipykernel = runs_ipykernel(self.manager.kernel_spec)
        if self._is_ipykernel and len(os.fsencode(connection_file)) <= _LONGEST_SOCKET_PATH:
            self.manager.transport = "ipc"
        self._client: AsyncKernelClient | None = None
        self._listening: asyncio.Task[None] | None = None
        self._watched = contextlib.ExitStack()  # closed, it ends the kernel
        self._printed = Path(self._private.name) / "printed"

    async def start(self, *, on_output: Callable[[Message], None]) -> None:
        """Start the kernel; return once it answers.

        Args:
            on_output: takes each message about outputs.

        Raises:
            Exception: it did not start; ``start_problem`` tells why.
        """
        # The file of IPython's history is locked by a person's kernel now and then.
        options = ["--HistoryManager.hist_file=:memory:"] if self._is_ipykernel else []
        readable = self._watched.enter_context(self.manager.lease.pipe())
        try:
            with self._printed.open("wb") as printed:
                await self.manager.start_kernel(
                    extra_arguments=options,
                    cwd=str(self._folder),
                    env={**os.environ, **self._environment},
                    stdin=readable,
                    stdout=printed.fileno(),
                    stderr=printed.fileno(),
                )
        finally:
            os.close(readable)
        client = self._client = self.manager.client()
        if self._is_ipykernel:
            client.context.setsockopt(zmq.RCVHWM, _MOST_WAITING)  # of sockets to come
        client.start_channels(stdin=False, hb=False)
        await client.wait_for_ready(timeout=START_SECONDS)
        client.allow_stdin = False
        if self._is_ipykernel:
            client.execute(_WAIT_FOR_READERS, silent=True)
        self._listening = asyncio.ensure_future(self._listen(on_output))

    @property
    def client(self) -> AsyncKernelClient:
        """The client of a kernel that has started."""
        assert self._client is not None  # noqa: S101 - nobody asks before
        return self._client

    async def _listen(self, on_output: Callable[[Message], None]) -> None:
        for taken in itertools.count():
            on_output(await self.client.iopub_channel.receive())
            if taken % _AT_A_TIME == 0:  # what is there already comes without a pause
                await asyncio.sleep(0)

    async def reply_to(self, request: str) -> Any:
        """Return the content of the kernel's reply to a request to run code.

        Raises:
            KernelDiedError: there will be none.
        """
        while True:
            is_alive = await self.manager.is_alive()
            with contextlib.suppress(Empty):
                message = await self.client.get_shell_msg(timeout=_LOOK_SECONDS)
                if request_of(message) == request:
                    return message["content"]
                continue
            if not is_alive:
                raise KernelDiedError("it ended by itself")

    async def language_info(self) -> dict[str, Any]:
        """Return what the kernel says of its language, which tells viewers how to show code."""
        reply = await self.reply_to(self.client.kernel_info())
        info = reply.get("language_info") if isinstance(reply, dict) else None
        if isinstance(info, dict) and isinstance(info.get("name"), str):
            return info
        return {"name": ""}

    async def gets_to(self, event: asyncio.Event, *, within_seconds: int) -> bool:
        """Wait for what the kernel's outputs bring about; False if it does not come."""
        for _ in range(within_seconds):
            is_alive = await self.manager.is_alive()
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(event.wait(), _LOOK_SECONDS)
            if not is_alive:
                break
        return False

    @property
    def is_ended_by_its_lease(self) -> bool:
        """Whether the watchdog has ended the kernel, or not started it, unrenewed."""
        return Path(self._private.name, watchdog.EXPIRED).exists()

    def ask_beside_the_cells(self) -> str:
        """Send a request that a kernel answers while a cell runs; return its id."""
        message = self.client.session.msg("kernel_info_request")
        self.client.control_channel.send(message)
        return str(message["header"]["msg_id"])

    async def end(self, *, gracefully: bool) -> None:
        """End the kernel and all that it started; return when they are gone.

        Args:
            gracefully: let it run its own exit handlers first.
        """
        try:
            if gracefully and await self.manager.is_alive():
                await self._ask_to_exit()
                await self._is_gone(within_seconds=_SHUTDOWN_SECONDS)
            self._watched.close()
            if not await self._is_gone(within_seconds=_WATCHDOG_SECONDS):
                log.error("The kernel %s and its watchdog do not end; killed.", self.name)
                await self.manager.signal_kernel(signal.SIGKILL)
                await self._is_gone(within_seconds=_SHUTDOWN_SECONDS)
        finally:
            if self._listening is not None:
                self._listening.cancel()
                await asyncio.wait({self._listening})
            if self._client is not None:
                self._client.stop_channels()
            await self.manager.cleanup_resources()
            self._private.cleanup()

    async def _ask_to_exit(self) -> None:
        if self._is_ipykernel and self._listening is not None:
            # Its answer to a shutdown request, from another thread, now and then waits for a
            # thread that has ended (seen with 7.4: one run in fifteen). Its own way out does not.
            self.client.execute("get_ipython().ask_exit()", silent=True)
        else:
            await self.manager.request_shutdown()

    async def _is_gone(self, *, within_seconds: float) -> bool:
        until = time.monotonic() + within_seconds
        while alive := await self.manager.is_alive():
            if time.monotonic() > until:
                break
            await asyncio.sleep(0.02)
        return not alive

    def start_problem(self, cause: Exception) -> str:
        """Return why the kernel did not start: what it said of it, else what Jupyter says."""
        printed = ""
        with contextlib.suppress(OSError), self._printed.open("rb") as file:
            file.seek(max(self._printed.stat().st_size - _LONGEST_PRINTED, 0))
            printed = reason_in(clean(file.read().decode(errors="replace")))
        reason = shown(printed or str(cause) or type(cause).__name__)
        return f"The kernel “{shown(self.name, 100)}” did not start: {reason}"

    async def death(self) -> str:
        """Return how the kernel died."""
        status = await self.manager.provisioner.poll() if self.manager.provisioner else None
        if status == 128 + signal.SIGKILL:
            return "the kernel was killed (SIGKILL), perhaps because the machine's memory ran out."
        with contextlib.suppress(ValueError, TypeError):
            return f"the kernel crashed ({signal.Signals((status or 0) - 128).name})."
        return f"the kernel ended by itself, with status {status}."


def reason_in(output: str) -> str:
    """Return what a program's last words give as its reason: the error, and not where it struck.

    Empty if it said nothing. Stack traces are indented, or go on with “at …” behind the error.
    """
    lines = [line for line in output.splitlines() if line.strip()]
    spoken = [line for line in lines if not line[0].isspace() and not line.startswith("at ")]
    errors = [number for number, line in enumerate(spoken) if _ERROR.search(line)]
    return " ".join(spoken[errors[-1] :] if errors else (spoken or lines)[-1:])

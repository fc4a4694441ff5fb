"""The kernel of one run: started in a notebook's folder under a watchdog, and ended with it.

All that a kernel needs while it lives (its sockets, its connection file, what it says on its
standard streams) lies in one private folder. There are no TCP ports, which two kernels that
start side by side could both believe to be free, and which other accounts could reach; only
where the temporary folder's path is too long for a socket are there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.kernelspec import NATIVE_KERNEL_NAME, KernelSpecManager, NoSuchKernel
from jupyter_client.manager import AsyncKernelManager
from nbformat import NotebookNode

from helpers.errors import NotebookError
from helpers.notebooks import watchdog
from helpers.notebooks.file import shown

log = logging.getLogger(__name__)

START_SECONDS = 120.0
_SHUTDOWN_SECONDS = 5.0  # for the notebook's own atexit handlers
_LONGEST_SOCKET_PATH = 90  # the system's limit is 103 or 107; “-ipc-5” and a margin go off
_WATCHDOG_SECONDS = watchdog.PATIENCE_SECONDS + watchdog.LAST_PATIENCE_SECONDS + 4


def choose_kernel(notebook: NotebookNode) -> tuple[str, str | None]:
    """Return the name of the kernel to use, and a remark where it is not the one it names.

    A Python notebook whose kernel is not installed here, because it was written on another
    machine, runs with the Python of this process; one in another language is refused.

    Raises:
        NotebookError: there is no kernel for it; the message says what to do.
    """
    spec = notebook.metadata.get("kernelspec", {})
    name = spec.get("name") or NATIVE_KERNEL_NAME
    known = shown(name, 100)
    try:
        KernelSpecManager().get_kernel_spec(name)
    except NoSuchKernel:
        language = spec.get("language") or notebook.metadata.get("language_info", {}).get("name")
        if language not in {None, "", "python"}:
            raise NotebookError(
                f"The kernel “{known}” is not installed on this machine. Install it for the "
                "account that runs the monitor, or choose another in the notebook."
            ) from None
    except (ValueError, OSError) as exc:  # a kernel.json that is cut off, or not ours to read
        raise NotebookError(f"The kernel “{known}” is not usable: {shown(str(exc))}") from exc
    else:
        return name, None
    notebook.metadata["kernelspec"] = {
        "name": NATIVE_KERNEL_NAME,
        "display_name": "Python 3",
        "language": "python",
    }
    return NATIVE_KERNEL_NAME, (
        f"The kernel “{known}” is not installed on this machine; the notebook ran with "
        f"{sys.executable}. To install it, run this with the Python that it should use: "
        f"python -m ipykernel install --user --name {shlex.quote(known)}\n"
    )


class _WatchedKernelManager(AsyncKernelManager):
    def runs_ipykernel(self) -> bool:
        spec = self.kernel_spec
        return spec is not None and any("ipykernel" in part for part in spec.argv)

    def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
        arguments = list(extra_arguments or [])
        if self.runs_ipykernel():
            arguments.append("--HistoryManager.hist_file=:memory:")  # the file's lock is a person's
        command = super().format_kernel_cmd(arguments)
        folder = str(Path(self.connection_file).parent)
        return [sys.executable, "-I", "-S", watchdog.__file__, folder, *command]


class NotebookKernel:
    """A kernel and everything that it starts, from ``start`` to ``end``, in one event loop."""

    def __init__(self, name: str, *, folder: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self._folder = folder
        self._environment = environment
        self._private = tempfile.TemporaryDirectory(prefix="kernel-", ignore_cleanup_errors=True)
        connection_file = str(Path(self._private.name) / "k.json")
        self.manager = _WatchedKernelManager(
            kernel_name=name,
            transport="ipc" if len(os.fsencode(connection_file)) <= _LONGEST_SOCKET_PATH else "tcp",
            connection_file=connection_file,
        )
        self._client: AsyncKernelClient | None = None
        self._pipe: int | None = None
        self._said = Path(self._private.name) / "said"

    async def start(self) -> AsyncKernelClient:
        """Start the kernel and return a client to it, once it answers.

        Raises:
            RuntimeError, OSError: it did not start; ``start_problem`` tells why.
        """
        readable, self._pipe = os.pipe()
        try:
            with self._said.open("wb") as said:
                await self.manager.start_kernel(
                    cwd=str(self._folder),
                    env={**os.environ, **self._environment},
                    stdin=readable,
                    stdout=said.fileno(),
                    stderr=said.fileno(),
                )
        finally:
            os.close(readable)
        self._client = self.manager.client()
        self._client.start_channels(stdin=False, hb=False)
        await self._client.wait_for_ready(timeout=START_SECONDS)
        self._client.allow_stdin = False
        return self._client

    async def end(self, *, gracefully: bool) -> None:
        """End the kernel and all that it started; return when they are gone.

        Args:
            gracefully: let it run its own exit handlers first.
        """
        try:
            if gracefully and await self.manager.is_alive():
                await self._ask_to_exit()
                await self._is_gone(within_seconds=_SHUTDOWN_SECONDS)
            if self._pipe is not None:
                os.close(self._pipe)
                self._pipe = None
            if not await self._is_gone(within_seconds=_WATCHDOG_SECONDS):
                log.error("The kernel %s and its watchdog do not end; killed.", self.name)
                await self.manager.signal_kernel(signal.SIGKILL)
                await self._is_gone(within_seconds=_SHUTDOWN_SECONDS)
        finally:
            if self._client is not None:
                self._client.stop_channels()
            await self.manager.cleanup_resources()
            self._private.cleanup()

    async def _ask_to_exit(self) -> None:
        if self._client is not None and self.manager.runs_ipykernel():
            # Its answer to a shutdown request, from another thread, now and then waits for a
            # thread that has ended (seen with 7.4: one run in fifteen). Its own way out does not.
            self._client.execute("get_ipython().ask_exit()", silent=True)
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
        """Return why the kernel did not start: what it said last, else what Jupyter says."""
        lines = [str(cause)]
        with contextlib.suppress(OSError):
            said = self._said.read_text(errors="replace")
            lines += [line for line in said.split("\n") if line.strip()]
        return f"The kernel “{shown(self.name, 100)}” did not start: {shown(lines[-1])}"

    async def death(self) -> str:
        """Return how the kernel died."""
        status = await self.manager.provisioner.poll() if self.manager.provisioner else None
        if status == 128 + signal.SIGKILL:
            return "the kernel was killed (SIGKILL), perhaps because the machine's memory ran out."
        with contextlib.suppress(ValueError, TypeError):
            return f"the kernel crashed ({signal.Signals((status or 0) - 128).name})."
        return f"the kernel ended by itself, with status {status}."

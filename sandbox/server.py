"""Run a stand-in: in a thread of this process, or as a process of its own.

Loopback only, on a free port unless one is asked for. The protocol counts connections and
hands the transport to the application, so that it can reset or cut off what ASGI cannot.
"""

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import requests
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HOST = "127.0.0.1"
CONTROL_PREFIX = "/_sandbox"
_START_SECONDS = 20.0
_STOP_SECONDS = 10.0


@dataclass
class Listener:
    """What a stand-in's application and its server share."""

    opened: int = 0  # TCP connections since the start or the last reset
    server: "_Server | None" = None

    def refuse(self, seconds: float) -> None:
        """Refuse connections for a while, and drop the idle ones; from any thread.

        Whoever connects once this has returned is refused.

        Raises:
            RuntimeError: no server runs the application.
        """
        if self.server is None:
            raise RuntimeError("The stand-in is not running.")
        self.server.refuse(seconds)


class _Protocol(HttpToolsProtocol):
    """HTTP/1.1, with the transport where the application finds it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}
        _listener_of(self.config).opened += 1


def _listener_of(config: uvicorn.Config) -> Listener:
    app = config.app
    assert isinstance(app, Starlette)  # noqa: S101 - we made the configuration
    listener: Listener = app.state.listener
    return listener


class _Server(uvicorn.Server):
    """A server that can refuse connections for a while, and follows its parent."""

    def __init__(
        self,
        app: Starlette,
        *,
        before_stop: Callable[[], None],
        parent: int,
        certificate: Path | None = None,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                ssl_certfile=certificate,
                http=_Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="critical",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                backlog=1024,
                timeout_graceful_shutdown=2,
            )
        )
        app.state.listener.server = self
        self._before_stop = before_stop
        self._parent = parent
        self._loop: asyncio.AbstractEventLoop | None = None
        self._port = 0
        self._thread_id = 0
        self._refusing: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        assert sockets is not None  # noqa: S101 - we bind them ourselves
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._port = sockets[0].getsockname()[1]
        await super().startup(sockets)

    async def on_tick(self, counter: int) -> bool:
        if self._parent and os.getppid() != self._parent:
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._before_stop()
        if self._refusing is not None:
            self._refusing.cancel()
        await super().shutdown(sockets)

    def refuse(self, seconds: float) -> None:
        assert self._loop is not None  # noqa: S101 - it accepts connections already
        if threading.get_ident() == self._thread_id:
            self._begin_refusing(seconds)
        else:
            begun = asyncio.run_coroutine_threadsafe(self._refuse(seconds), self._loop)
            begun.result(_START_SECONDS)

    async def _refuse(self, seconds: float) -> None:
        self._begin_refusing(seconds)

    def _begin_refusing(self, seconds: float) -> None:
        if self._refusing is not None and not self._refusing.done():
            self._refusing.cancel()
        self._close_listeners()
        self._refusing = asyncio.get_running_loop().create_task(self._listen_again(seconds))

    def _close_listeners(self) -> None:
        for server in self.servers:
            server.close()
        self.servers = []
        for connection in list(self.server_state.connections):
            connection.shutdown()

    async def _listen_again(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        again = bound_socket(self._port)
        self.servers = [
            await asyncio.get_running_loop().create_server(
                self._new_protocol, sock=again, ssl=self.config.ssl
            )
        ]

    def _new_protocol(self) -> asyncio.Protocol:
        return _Protocol(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )


def bound_socket(port: int = 0) -> socket.socket:
    """Return a socket on loopback, on a free port if none is named."""
    # Only where the protocol is named does asyncio set TCP_NODELAY; without it, each answer
    # waits 40 ms for an acknowledgement.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
    except OSError:
        listening.close()
        raise
    return listening


class ThreadedServer:
    """A stand-in in a thread of this process; a context manager."""

    def __init__(self, app: Starlette, *, before_stop: Callable[[], None], port: int = 0) -> None:
        self._socket = bound_socket(port)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://{HOST}:{self.port}"
        self._server = _Server(app, before_stop=before_stop, parent=0)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="sandbox", daemon=True
        )

    def start(self) -> Self:
        """Start, and wait until connections are accepted.

        Raises:
            TimeoutError: it did not start.
        """
        self._thread.start()
        deadline = time.monotonic() + _START_SECONDS
        while not self._server.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise TimeoutError("The stand-in did not start.")
            time.sleep(0.002)
        return self

    def stop(self) -> None:
        """Stop, and wait until the thread has ended; doing so twice is harmless."""
        self._server.should_exit = True
        self._thread.join(_STOP_SECONDS)
        self._socket.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def serve_here(
    app: Starlette,
    *,
    before_stop: Callable[[], None],
    port: int,
    parent: int,
    certificate: Path | None = None,
) -> None:
    """Serve in this process until it is told to end; print the URL once connections wait.

    Args:
        app: a stand-in's application.
        before_stop: called before the server waits for open requests.
        port: 0 takes a free one.
        parent: end when this process is no longer the parent; 0 never does.
        certificate: speak TLS, with the certificate and key in this file.
    """
    listening = bound_socket(port)
    listening.listen(1024)  # from now on a client that reads the URL is not refused
    scheme = "https" if certificate else "http"
    print(f"{scheme}://{HOST}:{listening.getsockname()[1]}", flush=True)
    server = _Server(app, before_stop=before_stop, parent=parent, certificate=certificate)
    server.run([listening])


def arguments(description: str) -> argparse.ArgumentParser:
    """Return the arguments that every stand-in's command takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument(
        "--parent", type=int, default=0, help="end when this process is no longer the parent"
    )
    return parser


class ServerProcess:
    """A stand-in in a process of its own; a context manager."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Ask or tell the stand-in something; see ``control``."""
        return control(self.url, method, path, body)

    def stop(self) -> None:
        """End the process; doing so twice is harmless."""
        self.process.terminate()
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start_process(module: str, *args: str) -> ServerProcess:
    """Start a stand-in as a process that ends with this one, and wait until it listens.

    Args:
        module: ``sandbox.moodys`` or ``sandbox.teams``.
        args: of its command line.

    Raises:
        RuntimeError: it ended before it listened.
    """
    command = [sys.executable, "-m", module, "--parent", str(os.getpid()), *args]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - ours
    assert process.stdout is not None  # noqa: S101 - we asked for a pipe
    url = process.stdout.readline().strip()
    server = ServerProcess(process, url)
    if not url:
        server.stop()
        raise RuntimeError(f"{module} did not start; it ended with {process.returncode}.")
    return server


def control(url: str, method: str, path: str, body: Any = None) -> Any:
    """Ask or tell a running stand-in something, from any process.

    Args:
        url: of the stand-in.
        method: GET, POST, PATCH or DELETE.
        path: below ``/_sandbox/``.
        body: JSON.

    Raises:
        ValueError: it refused; the message says why.
    """
    with requests.request(
        method, f"{url}{CONTROL_PREFIX}/{path}", json=body, timeout=_START_SECONDS
    ) as response:
        answer = response.json()
    if not response.ok:
        raise ValueError(answer["error"])
    return answer

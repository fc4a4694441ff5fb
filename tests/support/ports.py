"""Ports of this machine."""

import secrets
import socket
from contextlib import suppress

_PORTS = range(20_000, 32_000)  # below those of which the system gives one to each connection


def free_port() -> int:
    """Return a port of loopback that nobody listens on, and that hardly anybody else will take."""
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port

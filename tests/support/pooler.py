"""A pooler in transaction mode, as small as it can be: each transaction gets any free session."""

import queue
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from psycopg.conninfo import conninfo_to_dict, make_conninfo

SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102
PROTOCOL = 196608
READY = b"Z"


@contextmanager
def transaction_pooler(url: str, *, sessions: int, takes_turns: bool = False) -> Iterator[str]:
    """Give a URL under which a few sessions are shared: the last one used, or each in turn."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        free: queue.Queue[_Session] = queue.Queue() if takes_turns else queue.LifoQueue()
        opened = [_Session(url) for _ in range(sessions)]
        for session in opened:
            free.put(session)
        threading.Thread(target=_accept, args=(listening, free), daemon=True).start()
        port = listening.getsockname()[1]
        try:
            yield make_conninfo(url, host="127.0.0.1", port=port, sslmode="disable")
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            for session in opened:
                session.wire.close()


class _Session:
    """A session of the server, and what it says of itself at its start."""

    def __init__(self, url: str) -> None:
        parts = conninfo_to_dict(url)
        self.wire = socket.socket(socket.AF_UNIX)
        self.wire.connect(f"{parts['host']}/.s.PGSQL.{parts.get('port', 5432)}")
        words = f"user\0{parts['user']}\0database\0{parts['dbname']}\0\0".encode()
        self.wire.sendall(struct.pack("!ii", len(words) + 8, PROTOCOL) + words)
        self.greeting = b"".join(_until_ready(self.wire))


def _accept(listening: socket.socket, free: queue.Queue[_Session]) -> None:
    with suppress(OSError):  # it is closed at the end
        while True:
            client, _ = listening.accept()
            threading.Thread(target=_serve, args=(client, free), daemon=True).start()


def _serve(client: socket.socket, free: queue.Queue[_Session]) -> None:
    with client, suppress(OSError, EOFError):
        while (code := _startup(client)) in {SSL_REQUEST, GSS_REQUEST}:
            client.sendall(b"N")
        if code == CANCEL_REQUEST:
            return
        session = free.get()
        free.put(session)  # before the client can ask
        client.sendall(session.greeting)
        while True:
            first = _message(client)
            if first[:1] == b"X":
                return
            session = free.get()
            last_answer = _transaction(client, session, first)
            free.put(session)  # before the client can ask again, as pgbouncer does
            client.sendall(last_answer)


def _transaction(client: socket.socket, session: _Session, first: bytes) -> bytes:
    """Pass on what both sides say until no transaction is open; return the server's last answer."""
    message: bytes | None = first
    while True:
        message = message or _message(client)
        session.wire.sendall(message)
        if message[:1] in {b"S", b"Q"}:  # the server answers now
            answer = b"".join(_until_ready(session.wire))
            if answer[-1:] == b"I":
                return answer
            client.sendall(answer)
        message = None


def _startup(wire: socket.socket) -> int:
    length = struct.unpack("!i", _exactly(wire, 4))[0]
    return int(struct.unpack("!i", _exactly(wire, length - 4)[:4])[0])


def _until_ready(wire: socket.socket) -> Iterator[bytes]:
    while True:
        message = _message(wire)
        yield message
        if message[:1] == READY:
            return


def _message(wire: socket.socket) -> bytes:
    head = _exactly(wire, 5)
    return head + _exactly(wire, struct.unpack("!i", head[1:])[0] - 4)


def _exactly(wire: socket.socket, size: int) -> bytes:
    parts = b""
    while len(parts) < size:
        part = wire.recv(size - len(parts))
        if not part:
            raise EOFError
        parts += part
    return parts

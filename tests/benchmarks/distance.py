"""A PostgreSQL that is further away: what it answers arrives a millisecond later.

Run as ``python distance.py <folder of the server's socket>``; prints the port.
"""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

_SECONDS = 0.001
_PIECE = 65536


async def _carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hand: Callable[[bytes], object]
) -> None:
    while piece := await reader.read(_PIECE):
        hand(piece)
    writer.close()


async def main() -> None:
    """Carry connections until the process is ended."""
    [socket] = Path(sys.argv[1]).glob(".s.PGSQL.*[0-9]")
    later = asyncio.get_running_loop().call_later

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(str(socket))
        await asyncio.gather(
            _carry(reader, far_writer, far_writer.write),
            _carry(far_reader, writer, lambda piece: later(_SECONDS, writer.write, piece)),
            return_exceptions=True,
        )

    server = await asyncio.start_server(join, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())

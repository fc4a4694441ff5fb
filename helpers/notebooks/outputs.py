"""What a kernel sends, put into the cells of a notebook: all of it, or marked, in bounded memory.

All outputs of a run share one bound in bytes, because many small outputs take as much memory as
a large one. A kernel may send anything; nothing that it sends raises here. Imported only when a
notebook is run, because nbconvert takes a second to import.
"""

import asyncio
import logging
import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

import zmq
from jupyter_client.channels import AsyncZMQSocketChannel
from nbclient.exceptions import CellExecutionComplete
from nbconvert.preprocessors import ExecutePreprocessor
from nbformat import NotebookNode
from nbformat.v4 import new_output

from helpers.text import shorten

MOST_BYTES = 20_000_000
"""Of all outputs of a run, as they travel."""

_OUTPUT_BYTES = 1_000  # what an output takes in memory beside its content
_MOST_LEVELS = 100  # of what an output holds in one another
_WEIGH_BYTES = 5_000_000  # that arrive between two weighings
_LONGEST_ERROR_PART = 20_000  # of an error for which there is no room
_NOT_KEPT = {"status", "execute_input", "clear_output"}
_REPLACING = {"clear_output", "update_display_data", "comm_open", "comm_msg", "comm_close"}
_OVERWRITTEN = re.compile(r"^.*\r(?=[^\n])", re.MULTILINE)  # a progress line's earlier states

_log = logging.getLogger(__name__)
_log.setLevel(logging.CRITICAL)  # nbclient logs what cells write, which may hold secrets

Message = dict[str, Any]


class TolerantChannel(AsyncZMQSocketChannel):
    """Reads whatever a kernel sends; leaves the content out of what is far too long."""

    async def receive(self) -> Message:
        """Wait for a message and return it."""
        assert self.socket is not None  # noqa: S101 - closed channels are not read
        frames: list[zmq.Frame] = await self.socket.recv_multipart(copy=False)
        empty: Message = {"header": {}, "metadata": {}, "content": {}, "buffers": []}
        try:
            _, parts = self.session.feed_identities(frames, copy=False)
            size = sum(len(part) for part in parts[4:])
            if size <= MOST_BYTES:
                return {**self.session.deserialize(parts, copy=False), "size": size}
            beginning = cast("list[zmq.Frame]", parts)[1:3]
            header, parent = (self.session.unpack(part.bytes) for part in beginning)
            kind = str(header["msg_type"])
        except Exception:  # noqa: BLE001 - unsigned, cut off, no JSON, of another shape, …
            kind, parent, size = "", {}, 0
        return {**empty, "msg_type": kind, "parent_header": parent, "size": size}

    _recv = receive  # type: ignore[assignment]  # as its base, which is not typed as it is


def request_of(message: Message) -> str:
    """Return the id of the request that a message belongs to; empty if it tells none."""
    parent = message["parent_header"]
    return str(parent.get("msg_id")) if isinstance(parent, dict) else ""


@dataclass
class _Expected:
    cell: NotebookNode
    index: int
    is_done: asyncio.Event = field(default_factory=asyncio.Event)


class CellOutputs(ExecutePreprocessor):
    """Fills cells with the messages that belong to them, as nbclient does."""

    def __init__(self, notebook: NotebookNode) -> None:
        super().__init__(log=_log)  # type: ignore[no-untyped-call]  # nbconvert's
        self.nb = notebook
        self.widget_registry = {}  # what is written to an output widget belongs to the cell
        self._expected: dict[str, _Expected] = {}  # by request
        self._streams: list[tuple[NotebookNode, list[str]]] = []  # whose pieces are not joined
        self._open: dict[int, tuple[NotebookNode, list[str]]] = {}  # the last one of each cell
        self._full: set[int] = set()  # cells of which nothing more is kept
        self._marked: set[tuple[int, str]] = set()
        self._held = self._arrived = 0
        self._may_weigh_less = False

    def expect(self, request: str, cell: NotebookNode, index: int) -> asyncio.Event:
        """Take what belongs to this request as outputs of a cell; return what tells of the end."""
        cell.metadata["execution"] = {}  # where nbclient notes the times
        self.clear_before_next_output = False
        self._expected[request] = expected = _Expected(cell, index)
        return expected.is_done

    def take(self, message: Message) -> None:
        """Put a message where it belongs."""
        expected = self._expected.get(request_of(message))
        if expected is None:
            return
        try:
            if _is_deeper(message["content"], _MOST_LEVELS):
                # Whatever walks through the notebook later would fail on it.
                self.mark(expected.cell, expected.index, "An output is nested too deep to be kept.")
            elif self._has_room(message, expected.index):
                self.process_message(message, expected.cell, expected.index)
            else:
                self._cut(message, expected)
        except CellExecutionComplete:
            expected.is_done.set()
        except Exception as exc:  # noqa: BLE001 - whatever its content is
            problem = f"A message of the kernel could not be read: {type(exc).__name__}."
            self.mark(expected.cell, expected.index, problem)

    def _has_room(self, message: Message, index: int) -> bool:
        """Tell whether a message is kept, and count it."""
        kind, size = message["msg_type"], message["size"]
        self._may_weigh_less |= kind in _REPLACING
        if kind == "clear_output":
            self._full.discard(index)
            self._marked = {mark for mark in self._marked if mark[0] != index}
        if kind in _NOT_KEPT:
            return True
        self._arrived += size
        too_much = self._held + size > MOST_BYTES
        if too_much and self._may_weigh_less and self._arrived > _WEIGH_BYTES:
            self._weigh()
            too_much = self._held + size > MOST_BYTES
        if too_much or index in self._full:
            return False
        self._held += size
        return True

    def _weigh(self) -> None:
        """Count anew what is held: much of what arrived may have been replaced since."""
        self._join()
        outputs = [output for each in self._expected.values() for output in each.cell.outputs]
        self._held = sum(_OUTPUT_BYTES + len(repr(output)) for output in outputs)
        self._held += len(repr(self.widget_state)) + len(repr(self.widget_buffers))
        self._arrived, self._may_weigh_less = 0, False

    def _cut(self, message: Message, expected: _Expected) -> None:
        """Say that outputs are missing; what a cell failed with is kept all the same."""
        cell, index = expected.cell, expected.index
        self._full.add(index)
        self.mark(
            cell,
            index,
            "What this cell showed from here on was not kept: "
            f"the outputs of the notebook exceed {MOST_BYTES // 1_000_000} MB.",
            stream=message["content"].get("name") or "stderr",
        )
        has_error = any(output.output_type == "error" for output in cell.outputs[-1:])
        if message["msg_type"] == "error" and not has_error:
            content = _error(message["content"], longest=_LONGEST_ERROR_PART)
            cell.outputs.append(new_output("error", **content))

    def mark(self, cell: NotebookNode, index: int, text: str, *, stream: str = "stderr") -> None:
        """Say once in a cell what is missing from its outputs."""
        if (index, text) not in self._marked:
            self._marked.add((index, text))
            cell.outputs.append(new_output("stream", name=stream, text=f"\n[{text}]\n"))

    def output(
        self,
        outs: list[NotebookNode],
        msg: Message,
        display_id: str | None,
        cell_index: int,
    ) -> NotebookNode | None:
        """Add an output, or what a stream goes on with, which is joined later and at once."""
        if msg["msg_type"] == "error":
            msg["content"] = _error(msg["content"])
        text = msg["content"].get("text") if msg["msg_type"] == "stream" else None
        node, pieces = self._open.get(cell_index, (None, []))
        if isinstance(text, str):
            self._may_weigh_less |= "\r" in text
            if (
                outs
                and outs[-1] is node
                and node.name == msg["content"]["name"]
                and not self.clear_before_next_output
            ):
                pieces.append(text)
                return None
        added = super().output(outs, msg, display_id, cell_index)
        self._held += _OUTPUT_BYTES
        if added is not None and isinstance(text, str):
            self._open[cell_index] = added, [text]
            self._streams.append(self._open[cell_index])
        return added

    def _join(self) -> None:
        """Join the pieces of streams, without the states that a progress line no longer shows."""
        for node, pieces in self._streams:
            node.text = _OVERWRITTEN.sub("", "".join(pieces))
            pieces[:] = [node.text]
        self._streams = list(self._open.values())

    def finish(self) -> None:
        """Complete the cells, when no message is taken any more."""
        self._join()
        for expected in self._expected.values():
            count = expected.cell.execution_count
            if type(count) is not int or count < 0:
                expected.cell.execution_count = None
        with suppress(Exception):  # a state of widgets that nobody can show
            self.set_widgets_metadata()


def _is_deeper(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(levels == 0 or _is_deeper(item, levels - 1) for item in inner)


def _error(content: Any, *, longest: int = MOST_BYTES) -> dict[str, Any]:
    """Return the content of an error's message as a notebook holds it, whatever it was."""
    known = content if isinstance(content, dict) else {}
    name, value = (shorten(str(known.get(key) or ""), longest) for key in ("ename", "evalue"))
    lines = known.get("traceback")
    text = "\n".join(map(str, lines)) if isinstance(lines, list) else str(lines or "")
    return {"ename": name, "evalue": value, "traceback": shorten(text, longest).split("\n")}

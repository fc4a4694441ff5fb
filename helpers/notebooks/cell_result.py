"""Decide how a cell ended, from the kernel's reply and from what the cell shows; nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from helpers.redaction import shown

LONGEST_ERROR = 4_000
_NO_NAMES = {"", "NoneType"}  # IPython's, for an error that it shows and no code of the cell raised
_EXIT = "SystemExit"
_GOOD_CODES = {"", "0", "None", "False"}  # of an exit, as a reply spells them


@dataclass(frozen=True)
class CellResult:
    """How a cell ended; the run ends with it if it failed or exited."""

    error: str | None = None
    exits: bool = False


def cell_result(
    reply: Any, outputs: Sequence[Mapping[str, Any]], *, errors_allowed: bool
) -> CellResult:
    """Return how a cell ended: well only if the kernel says "ok" and no error is shown.

    Args:
        reply: the content of the kernel's reply, whatever it is.
        outputs: what the cell shows, as a notebook holds it.
        errors_allowed: the cell is tagged ``raises-exception``.
    """
    content = reply if isinstance(reply, dict) else {}
    status, exit_code = content.get("status"), _asked_exit_code(content)
    if status not in {"ok", "error"}:
        word = shown(str(status), 100)
        return CellResult(f"the kernel did not run it to its end (its reply: {word})")
    errors = [_error(output) for output in outputs if output.get("output_type") == "error"]
    if status == "error":
        errors.append(_raised(content, errors))
    if errors_allowed:
        errors = []
    if exit_code is not None:
        errors.append((_EXIT, exit_code))
    failures = [it for it in errors if not (it[0] == _EXIT and it[1] in _GOOD_CODES)]
    if not failures:
        return CellResult(exits=bool(errors))
    text = shown(": ".join(filter(None, failures[-1])), LONGEST_ERROR)
    return CellResult(text or "an error without a name")


def _error(content: Mapping[str, Any]) -> tuple[str, str]:
    """Return the name and the value of an error."""
    return str(content.get("ename") or ""), str(content.get("evalue") or "")


def _raised(content: Mapping[str, Any], shown_errors: list[tuple[str, str]]) -> tuple[str, str]:
    """Return the error of a reply; if that does not name it, the one that the cell shows."""
    name, value = _error(content)
    if name not in _NO_NAMES:
        return name, value
    if shown_errors:
        return shown_errors[-1]
    traceback = content.get("traceback")
    last = traceback[-1] if isinstance(traceback, list) and traceback else value
    return "", str(last)


def _asked_exit_code(content: Mapping[str, Any]) -> str | None:
    """Return with which code a cell called ``exit`` or ``quit``; None if it called neither.

    IPython's take no code: what they are given says whether the kernel goes on.
    """
    payload = content.get("payload")
    for item in payload if isinstance(payload, list) else []:
        if isinstance(item, dict) and item.get("source") == "ask_exit":
            code = item.get("keepkernel")
            return "" if code is None or isinstance(code, bool) else str(code)
    return None

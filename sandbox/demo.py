"""``python -m sandbox.demo``: watch a whole cycle run, on this machine alone.

An analyst prepares a cycle and starts the first step of each stage; the real monitor does the
rest, pass after pass, until nothing is active. One analysis fails and is submitted again. Each
run starts afresh. Returns 1, and says why, if that is not what happened.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import jinja2

from helpers.board import board, night_history
from helpers.display import page
from helpers.errors import BatchMonitoringError
from sandbox.walkthrough import Walkthrough, WalkthroughError, say
from sandbox.world import (
    LAB_URL,
    InUseError,
    alone,
    end_on_signals,
    open_sandbox,
    sandbox_parser,
)

_TIME_SCALE = 0.1  # jobs take a second or two
_INTERRUPTED = 130  # as a shell has it


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return 0, or 1 if it did not come to its end."""
    folder = sandbox_parser("sandbox.demo", __doc__).parse_args(arguments).folder
    end_on_signals(_interrupt)
    try:
        with alone(folder, what="make demo") as hold:
            _run(folder, hold)
    except InUseError as exc:
        print(exc)
        return 1
    except (WalkthroughError, BatchMonitoringError) as exc:
        print(f"The demo did not come to its end: {exc}")
        return 1
    return 0


def _interrupt() -> None:
    """End at once: the kernels and the server have guards, which need no more of us."""
    with suppress(OSError):  # the terminal is gone
        print("\nInterrupted. What the demo had started ends with it.", flush=True)
    os._exit(_INTERRUPTED)


def _run(folder: Path, hold: int) -> None:
    say("Starting a PostgreSQL, a stand-in for Moody's and one for Teams; Ctrl-C ends it all.")
    workflows = folder / "workflows"
    with open_sandbox(
        folder, "demo", workflows=workflows, hold=hold, fresh=True, time_scale=_TIME_SCALE
    ) as teams:
        walkthrough = Walkthrough()
        walkthrough.run(cards=lambda: len(teams.messages))
        reports = [board(), night_history(walkthrough.began)]
        pages = [
            ("the board", "board.html", page("Batch monitoring", reports)),
            ("the cards in Teams", "cards.html", cards_page(teams.messages)),
        ]
    say("That was a whole cycle. To look at:")
    for title, name, text in pages:
        (folder / name).write_text(text, encoding="utf-8")
        say(f"{title:19} {(folder / name).as_uri()}")
    say(f"Do it yourself: `make lab` opens such a cycle in JupyterLab, at {LAB_URL}")


def cards_page(messages: Sequence[dict[str, Any]]) -> str:
    """Return messages as Teams shows them, as a page of HTML that needs nothing else."""
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = Path(__file__).with_name("cards.html").read_text(encoding="utf-8")
    return environment.from_string(template).render(messages=messages)


if __name__ == "__main__":
    sys.exit(main())

"""The entries of this installation: its command, its page in Jupyter, and its own ``helpers``.

A team that runs this workflow often has a package ``helpers`` of its own on ``PYTHONPATH``, which
comes before everything that is installed. This module bears a name of its own, and so it is found
beside both.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

_HOME = Path(__file__).resolve().parent
_COMMANDS = {
    "run": ("helpers.monitor", "run one pass, or tell with --status whether monitoring is on"),
    "board": ("helpers.board", "show what runs, what failed, and when it will be done"),
    "check": ("helpers.check", "tell whether everything is set up"),
    "schedule": ("helpers.schedule", "make the monitor a Notebook Job of JupyterLab"),
    "database": ("helpers.database", "build the tables, or bring them up to date"),
}


def use_own_helpers() -> None:
    """Let ``import helpers`` find this installation's package, in this process alone.

    Kernels that it starts still find what ``PYTHONPATH`` or ``IRP_STEP_PYTHONPATH`` names.

    Raises:
        ImportError: another package of that name is loaded already.
    """
    loaded = getattr(sys.modules.get("helpers"), "__file__", None)
    if loaded is not None and Path(loaded).resolve().parent != _HOME / "helpers":
        raise ImportError(
            f"The package helpers of {Path(loaded).parent} is loaded, and not the monitor's of "
            f"{_HOME / 'helpers'}. Restart the kernel, and import nothing before this."
        )
    if sys.path[:1] != [str(_HOME)]:
        sys.path.insert(0, str(_HOME))


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(serverapp: Any) -> None:
    """Add the live page to a Jupyter server, whose kernels may import another ``helpers``."""
    use_own_helpers()
    import_module("helpers.board.server").add_page(serverapp)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command of this installation and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="batch-monitor",
        description="Watch the batches of jobs at Moody's, and start the steps that follow.",
        epilog="\n".join(f"{name:10} {purpose}" for name, (_, purpose) in _COMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=_COMMANDS, help="what to do; each has its own --help")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="of that command")
    given = parser.parse_args(arguments)
    use_own_helpers()
    module, _ = _COMMANDS[given.command]
    return int(import_module(f"{module}.__main__").main(given.arguments))

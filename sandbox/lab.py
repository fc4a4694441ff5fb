"""``python -m sandbox.lab``: JupyterLab with the scheduler, on the sandbox.

The demo's cycle is prepared, and its first steps wait for somebody to run them. The server's
root holds ``workspace/workflows``, so that the paths of the documentation are the ones that
are seen. Ends with Ctrl-C, and everything with it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

from sandbox.demo_cycle import CYCLE_NAME, prepare_cycle
from sandbox.world import SOURCES, open_sandbox, sandbox_parser

_STOP_SECONDS = 20.0
_NOTIFICATIONS = Path("@jupyterlab", "apputils-extension", "notification.jupyterlab-settings")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted; arguments that are not known here go to ``jupyter lab``."""
    parser = sandbox_parser("sandbox.lab", __doc__)
    known, for_jupyter = parser.parse_known_args(arguments)
    if find_spec("jupyter_scheduler") is None or find_spec("jupyterlab") is None:
        print("JupyterLab is not installed: python -m pip install '.[lab,sandbox]'")
        return 1
    root = known.folder / "lab"
    workflows = root / "workspace" / "workflows"
    with open_sandbox(known.folder, workflows=workflows, database="lab"):
        prepare_cycle(SOURCES / "_Template" / "notebooks", workflows)
        print(
            f"The cycle {CYCLE_NAME} waits in workspace/workflows/Active_{CYCLE_NAME}/notebooks: "
            "run the first step of each stage, and schedule the monitor in "
            "workspace/workflows/_Tools/Batch Management. Commands such as `python -m "
            "helpers.schedule status` work in a terminal of this JupyterLab. Ctrl-C ends "
            "everything.",
            flush=True,
        )
        return _serve(root, known.folder / "jupyter", for_jupyter)


def _serve(root: Path, jupyter: Path, for_jupyter: Sequence[str]) -> int:
    command = [
        *(sys.executable, "-m", "jupyter", "lab", f"--ServerApp.root_dir={root}"),
        "--ServerApp.ip=127.0.0.1",
        *(["--allow-root"] if os.geteuid() == 0 else []),
        *for_jupyter,
    ]
    signal.signal(signal.SIGTERM, _interrupt)
    environment = {**os.environ, **_folders(jupyter)}
    with subprocess.Popen(command, env=environment, start_new_session=True) as server:  # noqa: S603 - ours
        try:
            return server.wait()
        except KeyboardInterrupt:
            server.terminate()
            return server.wait(_STOP_SECONDS)


def _folders(jupyter: Path) -> dict[str, str]:
    """Return the variables that keep Jupyter's files here, schedules included."""
    settings = jupyter / "settings" / _NOTIFICATIONS
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(json.dumps({"fetchNews": "false"}), encoding="utf-8")
    folders = {name: str(jupyter / name) for name in ("data", "runtime", "config")}
    return {
        **{f"JUPYTER_{name.upper()}_DIR": folder for name, folder in folders.items()},
        "JUPYTERLAB_SETTINGS_DIR": str(jupyter / "settings"),
    }


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Treat SIGTERM like Ctrl-C, so that everything ends with this."""
    del number, frame
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())

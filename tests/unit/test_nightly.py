"""The parts of the night: each runs, whatever became of the others, and leaves nothing behind."""

import sys
from pathlib import Path

import pytest

from helpers.settings import PROJECT_DIR
from tests import nightly
from tests.support.waiting import is_gone, wait_until


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_part_that_fails_is_named_and_keeps_no_other_from_running(tmp_path, capfd):
    parts = {
        "first": python("raise SystemExit(3)"),
        "second": python(f"open({str(tmp_path / 'ran')!r}, 'w')"),
    }

    assert nightly.run(parts) == ["first: failed with 3"]

    assert (tmp_path / "ran").exists()
    shown = capfd.readouterr().out
    assert "=== 1 of 2: first" in shown
    assert "=== first: failed with 3, " in shown
    assert "=== second: passed, " in shown


def test_what_a_part_leaves_is_removed_and_its_processes_are_a_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(nightly, "_GOODBYE_SECONDS", 0.5)
    code = (
        "import os, subprocess, sys, tempfile\n"
        f"note = open({str(tmp_path / 'note')!r}, 'w')\n"
        "sleeps = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],"
        " start_new_session=True)\n"
        "print(tempfile.mkdtemp(), sleeps.pid, file=note)"
    )

    [problem] = nightly.run({"untidy": python(code)})

    folder, pid = (tmp_path / "note").read_text().split()
    assert problem.startswith("untidy: left 1 processes running: python")
    assert problem.endswith(f" {pid}")
    assert not Path(folder).exists()
    wait_until(lambda: is_gone(int(pid)))


def test_the_end_says_which_parts_failed_by_its_words_and_its_code(monkeypatch, capfd):
    monkeypatch.setattr(nightly, "PARTS", {"a": python("raise SystemExit(1)"), "b": python("")})

    assert nightly.main(["b"]) == 0
    assert nightly.main([]) == 1
    assert capfd.readouterr().out.endswith("The night failed:\na: failed with 1\n")
    assert nightly.main(["c"]) == 2


@pytest.mark.parametrize("name", nightly.PARTS)
def test_each_part_is_a_command_of_this_project(name):
    command = list(nightly.PARTS[name])

    if command[0] == "make":
        assert f"\n{command[1]}: " in (PROJECT_DIR / "Makefile").read_text()
    else:
        assert command[:2] == [sys.executable, "-m"]

"""Notebooks that people run lie outside the checkout, so that running them changes none of it."""

import subprocess
from pathlib import Path

import nbformat

from helpers.schedule.scheduled_copy import is_current
from helpers.settings import PROJECT_DIR

NOTEBOOK = "_Tools/Batch Management/Monitor Active Jobs.ipynb"


def copy_to(folder: object, *variables: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--silent", "workflows", f"TO={folder}", *variables]
    return subprocess.run(command, cwd=PROJECT_DIR, capture_output=True, text=True, check=False)


def kernel_of(notebook: Path) -> str:
    return nbformat.read(notebook, as_version=4).metadata.kernelspec.name


def test_a_copy_is_made_and_renewed_and_the_cycles_in_it_stay(tmp_path):
    folder = tmp_path / "our workflows"
    assert f"IRP_WORKFLOWS_DIR={folder}" in copy_to(folder).stdout
    (folder / NOTEBOOK).write_text("as it was left by a run")
    (folder / "Active_Q1").mkdir()

    assert copy_to(folder).returncode == 0

    source = PROJECT_DIR / "workflows" / NOTEBOOK
    assert (folder / NOTEBOOK).read_bytes() == source.read_bytes()
    assert (folder / "Active_Q1").is_dir()
    assert sorted(path.name for path in folder.iterdir()) == ["Active_Q1", "_Template", "_Tools"]


def test_the_notebooks_of_the_monitor_name_the_kernel_that_is_asked_for(tmp_path):
    assert copy_to(tmp_path, "KERNEL=batch-monitor").returncode == 0

    named = {path: kernel_of(path) for path in (tmp_path / "_Tools").rglob("*.ipynb")}
    assert set(named.values()) == {"batch-monitor"}
    assert is_current(tmp_path / NOTEBOOK)
    assert {kernel_of(path) for path in (tmp_path / "_Template").rglob("*.ipynb")} == {"python3"}
    assert not list(tmp_path.rglob("*.bak"))


def test_a_renewed_copy_keeps_the_kernel_that_it_names_until_another_is_asked_for(tmp_path):
    copy_to(tmp_path, "KERNEL=batch-monitor")

    assert "Those in _Tools name the kernel batch-monitor" in copy_to(tmp_path).stdout
    assert {kernel_of(path) for path in (tmp_path / "_Tools").rglob("*.ipynb")} == {"batch-monitor"}

    assert "the kernel" not in copy_to(tmp_path, "KERNEL=python3").stdout
    assert {kernel_of(path) for path in (tmp_path / "_Tools").rglob("*.ipynb")} == {"python3"}


def test_without_a_folder_nothing_is_copied():
    done = copy_to("")
    assert done.returncode != 0
    assert "make workflows TO=" in done.stdout

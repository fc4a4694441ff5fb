"""A pass of the version before, on a database that was migrated under it."""

import os
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from helpers.constants import BatchType
from helpers.settings import PROJECT_DIR
from sandbox.seeding import add_cycle
from tests.support.notebooks import step_notebook
from tests.support.passes import finished_batch, one_pass, rows

VERSION_0_1_0 = "a8d090abe079"
CYCLE = "Analysis-2025-Q1"


@pytest.fixture
def older(tmp_path) -> Path:
    """A checkout of 0.1.0."""
    command = ["git", "archive", "--format=tar", VERSION_0_1_0, "helpers", "sql"]
    archive = subprocess.run(command, cwd=PROJECT_DIR, capture_output=True, check=False)
    if archive.returncode:
        pytest.skip("the history of this checkout does not reach back to 0.1.0")
    folder = tmp_path / "older"
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as tar:
        tar.extractall(folder, filter="data")
    return folder


def test_a_pass_of_the_version_before_stops_at_the_claim_and_leaves_the_step_to_the_next(
    metastore, workflows, moodys, teams, older, sql, tmp_path
):
    finished_batch(add_cycle(CYCLE), BatchType.MRI_IMPORT)
    step_notebook(workflows, "open('ran', 'a').write('1')", cycle=CYCLE, stage_num=3, step_num=4)

    done = subprocess.run(
        [sys.executable, "-m", "helpers.monitor"],
        cwd=older,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    assert "install batch-monitoring 0.2.0 or later for it" in done.stdout
    assert rows(sql, "SELECT status::text FROM irp_step_run") == []

    one_pass()
    assert rows(sql, "SELECT status::text FROM irp_step_run") == [("COMPLETED",)]
    [ran] = workflows.rglob("ran")
    assert ran.read_text() == "1"

"""The cycle of the demo and the lab: a small portfolio in three states, stages 02 to 06.

Prepared as an analyst does: the template notebooks are copied, and a list for each step that has
a batch lies in the cycle's folder ``data``. The notebooks do the rest.
"""

import shutil
from pathlib import Path

from helpers.cycle import create_cycle
from helpers.workflow_paths import ACTIVE_PREFIX, workflows_dir

CYCLE_NAME = "Demo-2025-Q1"
FAILING_ANALYSIS = "FL Commercial WS"
FAILURE = "The EDM Demo_FL is locked by another process: the results could not be written."
"""What Moody's says when that analysis fails; submitted again, it finishes."""

LISTS = Path(__file__).with_name("lists")


def cycle_folder() -> Path:
    """Return where the cycle's notebooks and lists are."""
    return workflows_dir() / f"{ACTIVE_PREFIX}{CYCLE_NAME}"


def notebook(stage_num: int, step_num: int) -> Path:
    """Return the notebook of a step."""
    pattern = f"notebooks/Stage_{stage_num:02}_*/Step_{step_num:02}_*.ipynb"
    return next(cycle_folder().glob(pattern))


def prepare_cycle() -> None:
    """Create the cycle from the template, and put its lists where the notebooks look for them."""
    create_cycle(CYCLE_NAME)
    shutil.copytree(LISTS, cycle_folder() / "data", dirs_exist_ok=True)

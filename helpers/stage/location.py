"""Which step's notebook is running: a kernel knows its folder, and not its file.

Asked in this order: the executor, which says so; JupyterLab, which names the session after the
notebook; Visual Studio Code, which leaves the path among the variables; and at last the folder,
where only one step's notebook lies in it.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from helpers.errors import NotebookError
from helpers.steps.execution import NOTEBOOK_PATH_VARIABLE
from helpers.workflow_paths import StepReference, step_reference

_JUPYTER_SESSION_VARIABLE = "JPY_SESSION_NAME"  # set by jupyter_server for the kernels it starts
_VSCODE_VARIABLE = "__vsc_ipynb_file__"  # set by the Jupyter extension of Visual Studio Code


def current_step(notebook: Path | None = None) -> StepReference:
    """Return the cycle, stage and step of the notebook that is running, or of the one named.

    Raises:
        NotebookError: nothing tells; the message says how to.
    """
    for path in [notebook] if notebook else _candidates():
        reference = step_reference(path)
        if reference is not None:
            return reference
    raise NotebookError(
        f"{notebook or 'This notebook'} cannot tell which step it is. Stage notebooks run from "
        "Active_<cycle>/notebooks/Stage_NN_Name/Step_NN_Name.ipynb below the workflows folder "
        f"(IRP_WORKFLOWS_DIR); or set {NOTEBOOK_PATH_VARIABLE} to the notebook's path."
    )


def _candidates() -> Iterator[Path]:
    named = os.environ.get(NOTEBOOK_PATH_VARIABLE)
    if named:
        yield Path(named)
    session = os.environ.get(_JUPYTER_SESSION_VARIABLE)
    if session:  # relative to the server's root, or absolute; the kernel runs in its folder
        yield Path(session)
        yield Path.cwd() / Path(session).name
    opened = vars(sys.modules["__main__"]).get(_VSCODE_VARIABLE)
    if opened:
        yield Path(opened)
    steps = sorted(Path.cwd().glob("Step_*.ipynb"))
    if len(steps) == 1:
        yield steps[0]

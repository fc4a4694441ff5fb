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
_EXAMPLE = "Active_<cycle>/notebooks/Stage_NN_Name/Step_NN_Name.ipynb"
_VSCODE_VARIABLE = "__vsc_ipynb_file__"  # set by the Jupyter extension of Visual Studio Code


def current_step(notebook: Path | None = None) -> StepReference:
    """Return the cycle, stage and step of the notebook that is running, or of the one named.

    Raises:
        NotebookError: nothing tells; the message says how to.
    """
    paths = [notebook] if notebook else list(_candidates())
    for path in paths:
        reference = step_reference(path)
        if reference is not None:
            return reference
    if not paths:
        raise NotebookError(
            "Jupyter did not say which notebook this is (is it run by nbconvert?): set "
            f"{NOTEBOOK_PATH_VARIABLE} to the notebook's path, or name it: open_step({_EXAMPLE!r})."
        )
    raise NotebookError(
        f"{notebook or 'This notebook'} cannot tell which step it is. Stage notebooks run from "
        f"{_EXAMPLE} below the workflows folder (IRP_WORKFLOWS_DIR); or set "
        f"{NOTEBOOK_PATH_VARIABLE} to the notebook's path."
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

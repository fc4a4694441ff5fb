"""Small notebooks for tests."""

from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}


def write_notebook(path: Path, *cells: str) -> Path:
    """Write a notebook with these code cells and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    notebook = new_notebook(
        cells=[new_code_cell(cell) for cell in cells], metadata={"kernelspec": KERNELSPEC}
    )
    nbformat.write(notebook, path)
    return path


def step_notebook(
    workflows: Path, *cells: str, cycle: str, stage_num: int, step_num: int, name: str = "Work"
) -> Path:
    """Write the notebook of a step where the workflow looks for it."""
    stage = f"Stage_{stage_num:02}_Stage"
    folder = workflows / f"Active_{cycle}" / "notebooks" / stage
    return write_notebook(folder / f"Step_{step_num:02}_{name}.ipynb", *cells)


def texts_of(path: Path) -> str:
    """Return all that an executed notebook shows as text and HTML."""
    notebook = nbformat.read(path, as_version=4)
    shown = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            shown.append(str(output.get("text", "")))
            shown += [str(value) for value in output.get("data", {}).values()]
    return "\n".join(shown)

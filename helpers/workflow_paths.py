"""Where notebooks lie below the workflows folder, and where their executed copies go.

Names of cycles and paths in the metastore are foreign text: whatever they hold, what is found
here resolves to a file below the workflows folder, or is refused.
"""

import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePosixPath, PureWindowsPath

from helpers.clock import CLOCK
from helpers.errors import NotebookError
from helpers.redaction import shown
from helpers.settings import get_settings
from helpers.text import clean, day_and_month

ACTIVE_PREFIX = "Active_"
MONITOR_NOTEBOOK = Path("_Tools", "Batch Management", "Monitor Active Jobs.ipynb")
_STAGE = re.compile(r"Stage_(\d+)(?:_|$)")
_STEP = re.compile(r"Step_(\d+)(?:_|\.|$)")
_LONGEST_NAME_BYTES = 200  # a file system takes 255, and the time is added
_ILLEGAL = re.compile(r'[<>:"/\\|?*]+')  # for Windows; a copy may be opened there
_NUMBER = re.compile(r" \(\d+\)$")

_naming = threading.Lock()
_named: set[Path] = set()  # that this process has given, and may not have written yet


@dataclass(frozen=True)
class StepReference:
    """A step's place in the workflow, as its notebook's path tells it."""

    cycle_name: str
    stage_num: int
    step_num: int


def workflows_dir() -> Path:
    """Return the workflows folder, resolved."""
    return get_settings().irp_workflows_dir.resolve()


def inside_workflows(path: Path) -> Path:
    """Return the path, resolved, if it is a notebook below the workflows folder.

    Raises:
        NotebookError: it lies elsewhere, does not exist, or is not a notebook.
    """
    root = workflows_dir()
    try:
        resolved = (path if path.is_absolute() else root / path).resolve()
        is_file = resolved.is_file()
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, a loop of links
        raise NotebookError(f"{_shown(path)} is not a path of a notebook.") from None
    if not resolved.is_relative_to(root):
        raise NotebookError(f"{_shown(path)} lies outside the workflows folder {root}.")
    if not is_file or resolved.suffix != ".ipynb":
        raise NotebookError(f"There is no notebook {_shown(path)}.")
    return resolved


def monitor_notebook() -> Path:
    """Return the monitor's own notebook, which is the one to be scheduled.

    Raises:
        NotebookError: the workflows folder does not hold it.
    """
    try:
        return inside_workflows(MONITOR_NOTEBOOK)
    except NotebookError as exc:
        raise NotebookError(
            f"{exc} Set IRP_WORKFLOWS_DIR to the folder that holds {MONITOR_NOTEBOOK.parts[0]}."
        ) from None


def monitor_notebook_below(root: Path) -> str:
    """Return the path of the monitor's notebook below a folder, as a server there calls it.

    Raises:
        NotebookError: it does not exist, or lies elsewhere.
    """
    notebook = monitor_notebook()
    # A link below the root leads there as well, so the path as written counts too.
    written = Path(os.path.abspath(get_settings().irp_workflows_dir)) / MONITOR_NOTEBOOK  # noqa: PTH100 - resolve() follows links
    for path, base in ((written, root), (notebook, root.resolve())):
        if path.is_relative_to(base):
            return path.relative_to(base).as_posix()
    project = notebook.parents[len(MONITOR_NOTEBOOK.parts)]
    raise NotebookError(
        f"The notebook {notebook} lies outside {root}, which the server shows: start JupyterLab "
        f"in {project}, or set IRP_WORKFLOWS_DIR to a folder below {root}."
    )


def _shown(path: Path | str) -> str:
    return shown(str(path), 300)


def find_step_notebook(
    *, cycle_name: str, stage_num: int, step_num: int, notebook_path: str | None
) -> Path:
    """Return the notebook of a step: the path that the metastore names, else the one that matches.

    Raises:
        NotebookError: there is none, or more than one, or it lies outside the workflows folder.
    """
    named = named_notebook(cycle_name=cycle_name, notebook_path=notebook_path)
    if named is not None:
        return named
    found = _matching(cycle_name, stage_num, step_num)
    pattern = (
        f"{ACTIVE_PREFIX}{cycle_name}/notebooks/Stage_{stage_num:02}_*/Step_{step_num:02}_*.ipynb"
    )
    if not found:
        missing = f" (the metastore names {_shown(notebook_path)})" if notebook_path else ""
        raise NotebookError(
            f"Stage {stage_num}, step {step_num} has no notebook: nothing matches "
            f"{_shown(pattern)} below {workflows_dir()}{missing}."
        )
    if len(found) > 1:
        names = ", ".join(_shown(path.name) for path in found)
        raise NotebookError(
            f"Stage {stage_num}, step {step_num} has {len(found)} notebooks, and only one may be "
            f"started: {names}. Remove the others, or name one in irp_step.notebook_path."
        )
    return inside_workflows(found[0])


def named_notebook(*, cycle_name: str, notebook_path: str | None) -> Path | None:
    """Return the notebook that the metastore names for a step; None if there is none.

    Raises:
        NotebookError: it lies outside the workflows folder, or is not a notebook.
    """
    candidates = _candidates(notebook_path, cycle_name) if notebook_path else []
    existing = [candidate for candidate in candidates if _exists(candidate)]
    return inside_workflows(existing[0]) if existing else None


def _candidates(notebook_path: str, cycle_name: str) -> list[Path]:
    """Return where a path of the metastore may point: it may be relative, or of another machine."""
    root = workflows_dir()
    given = Path(notebook_path)
    if given.is_absolute() and _exists(given):
        return [given]
    windows = "\\" in notebook_path
    parts = (PureWindowsPath if windows else PurePosixPath)(notebook_path).parts
    tails = [parts[i:] for i, part in enumerate(parts) if part == ACTIVE_PREFIX + cycle_name]
    relative = [] if given.is_absolute() or windows else [root / given, root.parent / given]
    relative += [] if given.is_absolute() else [root / (ACTIVE_PREFIX + cycle_name) / given]
    return relative + [root.joinpath(*tail) for tail in tails]


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _matching(cycle_name: str, stage_num: int, step_num: int) -> list[Path]:
    notebooks = workflows_dir() / (ACTIVE_PREFIX + cycle_name) / "notebooks"
    return sorted(
        path
        for stage in _children(notebooks)
        if _number(_STAGE, stage.name) == stage_num
        for path in _children(stage)
        if path.suffix == ".ipynb" and _number(_STEP, path.name) == step_num
    )


def _children(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except (OSError, ValueError):
        return []


def _number(pattern: re.Pattern[str], name: str) -> int | None:
    found = pattern.match(name)
    return int(found[1]) if found else None


def step_reference(path: Path) -> StepReference | None:
    """Return which step a notebook belongs to by its path; None if it does not tell."""
    try:
        parts = path.resolve().relative_to(workflows_dir()).parts
    except (ValueError, OSError, RuntimeError):
        return None
    if len(parts) != 4 or parts[1] != "notebooks" or not parts[0].startswith(ACTIVE_PREFIX):  # noqa: PLR2004 - cycle, notebooks, stage, step
        return None
    stage_num, step_num = _number(_STAGE, parts[2]), _number(_STEP, parts[3])
    if stage_num is None or step_num is None:
        return None
    return StepReference(parts[0].removeprefix(ACTIVE_PREFIX), stage_num, step_num)


def relative_to_workflows(path: Path) -> str:
    """Return a path below the workflows folder as people know it, with forward slashes."""
    return PurePosixPath("workflows", *path.relative_to(workflows_dir()).parts).as_posix()


def exists_below_workflows(relative: str) -> bool:
    """Tell whether there is a file at what ``relative_to_workflows`` has returned."""
    return _exists(workflows_dir().joinpath(*PurePosixPath(relative).parts[1:]))


def executed_copy_path(source: Path) -> Path:
    """Return where the executed copy of a notebook goes: a new file in its cycle's ``runs``.

    ``S03-05 EDM DB Upgrade 26 Nov 16.51.ipynb``: what tells copies apart comes first, the time is
    that of the people here, and a second one in the same minute ends in `` (2)``. A name is given
    once by this process; another may still write it first, as ``notebooks.file.write_copy`` sees.
    """
    parts = source.relative_to(workflows_dir()).parts
    folder = workflows_dir().joinpath(*parts[:-1][:1], "runs")
    now = CLOCK.now().astimezone(get_settings().monitor_time_zone)
    whole = copy_name(parts[-2] if len(parts) > 1 else "", source.stem)
    name = whole.encode(errors="replace")[:_LONGEST_NAME_BYTES].decode(errors="ignore").rstrip()
    with _naming:
        path = next(
            path
            for path in numbered(folder / f"{name} {day_and_month(now)} {now:%H.%M}.ipynb")
            if path not in _named and not _exists(path)
        )
        _named.add(path)
    return path


def copy_name(stage: str, stem: str) -> str:
    """Return what the names of a notebook's copies begin with, legal in every file system.

    Args:
        stage: the folder in which it lies.
        stem: its name.
    """
    stage_num, step = _number(_STAGE, stage), _STEP.match(stem)
    name = stem
    if stage_num is not None and step is not None:
        name = f"S{stage_num:02}-{int(step[1]):02} {stem[step.end() :].replace('_', ' ')}"
    elif stage_num is not None:
        name = f"S{stage_num:02} {stem}"
    return " ".join(_ILLEGAL.sub("-", clean(name)).split()).lstrip(".") or "notebook"


def numbered(path: Path) -> Iterator[Path]:
    """Give a path, then the same with `` (2)``, `` (3)`` and so on."""
    yield path
    stem = _NUMBER.sub("", path.stem)
    yield from (path.with_name(f"{stem} ({number}){path.suffix}") for number in count(2))

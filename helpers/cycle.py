"""A cycle from its folder: create it, look at it, archive it.

The names of folders and files are the plan of a cycle: ``Stage_03_Data_Import`` holds
``Step_05_EDM_DB_Upgrade.ipynb``. The folder is made first and the rows after it, the rows are
archived first and the folder is moved after that; each call goes on where one before was cut off.
"""

import re
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias, TypedDict
from uuid import uuid4

from helpers import actions
from helpers.clock import CLOCK
from helpers.constants import ActionKind, CycleStatus
from helpers.database import queries, transaction
from helpers.errors import CycleError
from helpers.steps.rules import stage_rules
from helpers.text import listed
from helpers.workflow_paths import ACTIVE_PREFIX, workflows_dir

TEMPLATE = "_Template"
ARCHIVE = "_Archive"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,99}")
_STAGE = re.compile(r"Stage_(\d+)_(.+)")
_STEP = re.compile(r"Step_(\d+)_(.+?)(?: \(chained\))?\.ipynb")
_LEFT_OUT = shutil.ignore_patterns("runs", ".ipynb_checkpoints", "__pycache__", ".*")
_ABANDONED_AFTER = timedelta(days=1)  # a step run or a copy that is older was left by a crash

Row: TypeAlias = dict[str, Any]


class Cycle(TypedDict):
    """A cycle and what is registered of it."""

    cycle_id: int
    cycle_name: str
    status: str | None  # a ``CycleStatus``; None in a metastore of another tool: not ACTIVE
    created_ts: datetime | None
    archived_ts: datetime | None
    stages: int
    steps: int


def get_active_cycles() -> list[Cycle]:
    """Return the cycles that are ACTIVE, oldest first."""
    return _cycles(status=CycleStatus.ACTIVE)


def read_cycle(cycle_name: str) -> Cycle:
    """Return one cycle.

    Raises:
        CycleError: the metastore has no cycle of that name.
    """
    found = _cycles(cycle_name=cycle_name)
    if not found:
        raise CycleError(f"There is no cycle {cycle_name!r} in the metastore.")
    return found[0]


def create_cycle(
    cycle_name: str, template: Path | str | None = None, *, alongside: bool = False
) -> Cycle:
    """Copy the template notebooks to ``Active_<cycle>``, and register its stages and steps.

    Its folder ``data`` is for the lists that steps prepare from.

    Calling it again adds what is missing and changes nothing else: notebooks that are there stay
    as they are, and steps that were added to the folder are registered. Two people who create the
    same cycle at once get the same one.

    Args:
        cycle_name: letters, digits, spaces and ``. _ + -``; it names the folder as well.
        template: a folder that holds ``notebooks``, absolute or relative to the workflows folder;
            None takes ``_Template``.
        alongside: allow that another cycle is ACTIVE.

    Raises:
        CycleError: the name cannot name a folder, the template or a step's file name cannot be
            read, the cycle is archived, or another one is ACTIVE; nothing was registered.
    """
    if not _NAME.fullmatch(cycle_name) or cycle_name.endswith((" ", ".")):
        raise CycleError(
            f"{cycle_name!r} is not a valid cycle name: it names a folder, and takes letters, "
            "digits, spaces and . _ + - only, at most 100."
        )
    _require_room_for(cycle_name, alongside=alongside)
    folder = workflows_dir() / (ACTIVE_PREFIX + cycle_name)
    source = workflows_dir() / (template or TEMPLATE)
    if not folder.is_dir():
        _copy(source, folder)
    steps = list(_step_files(folder))
    _register(cycle_name, steps, alongside=alongside)
    return read_cycle(cycle_name)


def archive_cycle(cycle_name: str, reason: str) -> Cycle:
    """Archive a cycle and move its folder to ``_Archive/<cycle>``.

    Its batches are no longer watched and nothing of it is chained any more. Calling it again moves
    a folder that was left. A batch that somebody submits at this moment is either seen here,
    which refuses, or finds the cycle archived.

    Raises:
        CycleError: the cycle is unknown, something of it is ACTIVE (the message says what), or the
            folder cannot be moved; in the first two cases nothing has changed.
    """
    why = actions.checked_reason(reason)
    cycle_id = read_cycle(cycle_name)["cycle_id"]
    with transaction():
        row = queries("cycle").lock_cycle(cycle_id=cycle_id)
        if row is not None and row["status"] == CycleStatus.ACTIVE:
            _require_nothing_active(cycle_name, cycle_id)
            queries("cycle").archive_cycle(cycle_id=cycle_id)
            actions.record(uuid4(), ActionKind.ARCHIVE, {"cycle_id": cycle_id}, reason=why)
    found = read_cycle(cycle_name)
    if found["status"] == CycleStatus.ARCHIVED:
        _move_to_archive(cycle_name)
    return found


def _cycles(*, cycle_name: str | None = None, status: CycleStatus | None = None) -> list[Cycle]:
    return list(queries("cycle").cycles(cycle_name=cycle_name, status=status))


def _require_room_for(cycle_name: str, *, alongside: bool) -> None:
    """Raise if the cycle is archived, or another one is ACTIVE and need not be."""
    known = _cycles(cycle_name=cycle_name)
    if known and known[0]["status"] != CycleStatus.ACTIVE:
        raise CycleError(f"Cycle {cycle_name} is {known[0]['status']}. Choose another name.")
    others = [c["cycle_name"] for c in get_active_cycles() if c["cycle_name"] != cycle_name]
    if others and not alongside:
        raise CycleError(
            f"Cycle {listed(others)} is ACTIVE. Archive it first, or call "
            f"create_cycle({cycle_name!r}, alongside=True)."
        )


def _copy(source: Path, folder: Path) -> None:
    """Copy a template, so that the folder is there with all its notebooks or not at all."""
    if not (source / "notebooks").is_dir():
        raise CycleError(f"{source} is not a template: it has no folder `notebooks`.")
    for old in folder.parent.glob(f".{folder.name}.*"):
        if old.stat().st_mtime < CLOCK.now().timestamp() - _ABANDONED_AFTER.total_seconds():
            shutil.rmtree(old, ignore_errors=True)
    partial = folder.with_name(f".{folder.name}.{uuid4().hex}")
    try:
        shutil.copytree(source, partial, ignore=_LEFT_OUT)
        (partial / "data").mkdir(exist_ok=True)  # for the lists that steps prepare from
        partial.rename(folder)
    except OSError as exc:
        if not folder.is_dir():  # else somebody has created the same cycle at this moment
            raise CycleError(f"The template could not be copied to {folder}: {exc}") from exc
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _step_files(folder: Path) -> Iterator[tuple[Row, Row]]:
    """Give the stage and the step that each name of a folder and a file tells of, as columns.

    Raises:
        CycleError: two notebooks claim the same step.
    """
    seen: dict[tuple[int, int], Path] = {}
    for path in sorted((folder / "notebooks").glob("Stage_*/Step_*.ipynb")):
        stage, step = _STAGE.fullmatch(path.parent.name), _STEP.fullmatch(path.name)
        if stage is None or step is None:
            raise CycleError(
                f"{path.parent.name}/{path.name} does not name a step: it should read "
                "Stage_03_Data_Import/Step_05_EDM_DB_Upgrade.ipynb."
            )
        key = (int(stage[1]), int(step[1]))
        other = seen.setdefault(key, path)
        if other != path:
            raise CycleError(f"{other.name} and {path.name} are both step {key[0]}.{key[1]}.")
        yield (
            {"stage_num": key[0], "stage_name": stage[2].replace("_", " ")},
            {
                "step_num": key[1],
                "step_name": step[2].replace("_", " "),
                "notebook_path": path.relative_to(workflows_dir()).as_posix(),
                "requires_batch": any(rule.step_num == key[1] for rule in stage_rules(key[0])),
            },
        )


def _register(cycle_name: str, steps: list[tuple[Row, Row]], *, alongside: bool) -> None:
    with transaction():
        queries("cycle").lock_creation()
        _require_room_for(cycle_name, alongside=alongside)
        queries("cycle").add_cycle(cycle_name=cycle_name)
        cycle_id = read_cycle(cycle_name)["cycle_id"]
        for stage, step in steps:
            stage_id = queries("cycle").add_stage(cycle_id=cycle_id, **stage)
            queries("cycle").add_step(stage_id=stage_id, **step)


def _require_nothing_active(cycle_name: str, cycle_id: int) -> None:
    rows = queries("cycle").what_is_active(cycle_id=cycle_id, fresh=_ABANDONED_AFTER)
    found = [
        f"{row['what']} {row['id']} of step {row['stage_num']}.{row['step_num']}" for row in rows
    ]
    if found:
        raise CycleError(
            f"Cycle {cycle_name} is not archived, because something of it is ACTIVE: "
            f"{listed(found)}. Wait until it has ended, or cancel it."
        )


def _move_to_archive(cycle_name: str) -> None:
    folder = workflows_dir() / (ACTIVE_PREFIX + cycle_name)
    target = workflows_dir() / ARCHIVE / cycle_name
    if not folder.is_dir():
        return
    if target.exists():
        raise CycleError(
            f"Cycle {cycle_name} is archived, and its folder stays at {folder}, because {target} "
            "is there already. Move one of them by hand."
        )
    try:
        target.parent.mkdir(exist_ok=True)
        folder.rename(target)
    except OSError as exc:
        raise CycleError(
            f"Cycle {cycle_name} is archived, and its folder could not be moved to {target}: "
            f"{exc}. Call archive_cycle again, or move it by hand."
        ) from exc

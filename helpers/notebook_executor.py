"""Run notebooks: any one below the workflows folder, or a step's with its log.

The source is never written; the executed copy goes to the ``runs`` folder of its cycle, also
when the run fails. A notebook's own failure is a result, not an exception.
"""

from concurrent.futures import Executor
from pathlib import Path

from helpers.database import queries
from helpers.errors import NotebookError
from helpers.notebooks.run import NotebookOutcome, NotebookRun
from helpers.records import NotebookResult, Step
from helpers.settings import get_settings
from helpers.steps.execution import result_of
from helpers.steps.runner import Runner, step_cluster
from helpers.workflow_paths import (
    executed_copy_path,
    inside_workflows,
    named_notebook,
    step_reference,
)

__all__ = ["execute_next_step", "execute_notebook"]


def execute_notebook(path: Path | str, timeout: float = 3600) -> NotebookResult:
    """Run a notebook from its first cell to its last, in its own folder.

    Args:
        path: absolute, or relative to the workflows folder, below which it must lie.
        timeout: seconds for the whole run, the kernel's start included.

    Returns:
        How it went; ``success`` is False and ``error`` says why if the notebook raised, took
        too long, lost its kernel, is not a notebook, or lies where it may not be run.
    """
    try:
        source = inside_workflows(Path(path))
    except NotebookError as exc:
        return _not_run(Path(path), str(exc))
    run = NotebookRun(source, executed_copy_path(source), timeout_seconds=timeout)
    return result_of(source, run.execute())


def execute_next_step(
    path: Path | str, timeout: float | None = None, *, executor: Executor | None = None
) -> NotebookResult:
    """Run the notebook of a step, and log the run in ``irp_step_run``.

    The step is claimed, so that it runs once at a time, whoever starts it. If finished batches have
    made it due, this run serves them all, those that wait for other batches too.

    Args:
        path: the notebook of a step of an active cycle.
        timeout: seconds; None takes ``MONITOR_STEP_TIMEOUT_SECONDS``.
        executor: runs the notebook, for example a Dask cluster's ``client.get_executor()``; its
            workers need this package, and the workflows folder under the same path. Claim,
            heartbeat, log and result stay here. None runs it where ``MONITOR_STEP_EXECUTOR`` says,
            else on this machine.

    Returns:
        As ``execute_notebook``; also not run if somebody else runs the step, or works on it, at
        this moment, or if the cluster of the setting can run nothing.
    """
    settings = get_settings()
    seconds = settings.monitor_step_timeout_seconds if timeout is None else timeout
    address = settings.monitor_step_executor if executor is None else None
    try:
        source = inside_workflows(Path(path))
        step = _step_at(source)
        with (
            step_cluster(address) as cluster,
            Runner(timeout_seconds=seconds, cluster=cluster) as runner,
        ):
            end = runner.run_one(step, source, executor)
    except NotebookError as exc:
        return _not_run(Path(path), str(exc))
    if end.result is None:
        raise end.problem or AssertionError("A step ends with a result or a problem.")
    return end.result


def _step_at(source: Path) -> Step:
    """Return the step that a notebook belongs to: by what the metastore names, else by its path."""
    location = step_reference(source)
    named = queries("steps").steps_with_a_path()
    ids = [row["step_id"] for row in named if _is_named(source, row)]
    step: Step | None = None
    if ids:
        step = queries("steps").step_by_id(step_id=ids[0])
    elif location is not None:
        step = queries("steps").step_by_numbers(**vars(location))
    if step is None:
        raise NotebookError(f"{source.name} belongs to no step of the metastore.")
    return step


def _is_named(source: Path, row: dict[str, str]) -> bool:
    try:
        named = named_notebook(cycle_name=row["cycle_name"], notebook_path=row["notebook_path"])
    except NotebookError:
        return False
    return named == source


def _not_run(path: Path, error: str) -> NotebookResult:
    return result_of(path, NotebookOutcome.failed(error))

"""Run notebooks: any one below the workflows folder, or a step's with its log.

The source is never written; the executed copy goes to the ``runs`` folder of its cycle, also
when the run fails. A notebook's own failure is a result, not an exception.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from helpers.chaining import runs as chain_runs
from helpers.chaining.runs import ChainRun, Heartbeat
from helpers.database import queries, transaction
from helpers.errors import NotebookError
from helpers.notebooks.run import Ending, NotebookOutcome, NotebookRun
from helpers.records import NotebookResult, Step
from helpers.settings import get_settings
from helpers.step_execution import StepExecution, interrupts_held, patiently, result_of
from helpers.workflow_paths import (
    executed_copy_path,
    inside_workflows,
    named_notebook,
    place_of,
)

__all__ = ["execute_next_step", "execute_notebook"]

_INTERRUPTED = "The run of this notebook was interrupted."
_LOST = "The claim could not be renewed, so the notebook was stopped. A pass starts it again."


def execute_notebook(path: Path | str, timeout: float = 3600) -> NotebookResult:
    """Run a notebook from its first cell to its last, in its own folder.

    Args:
        path: absolute, or relative to the workflows folder, below which it must lie.
        timeout: seconds for the whole run, the kernel's start included.

    Returns:
        How it went; ``success`` is False and ``error`` says why where the notebook raised, took
        too long, lost its kernel, is no notebook, or lies where it may not be run.
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

    Where a finished batch has handed over to this step, that hand-over is claimed and ended by
    this run, so that no pass of the monitor starts the step a second time.

    Args:
        path: the notebook of a step of an active cycle.
        timeout: seconds; None takes ``MONITOR_STEP_TIMEOUT_SECONDS``.
        executor: runs the notebook, for example a Dask cluster's ``client.get_executor()``; its
            workers need this package, and the workflows folder under the same path. Claim,
            heartbeat, log and result stay here. None runs it on this machine.

    Returns:
        As ``execute_notebook``; also not run where the step runs elsewhere at this moment.
    """
    seconds = get_settings().monitor_step_timeout_seconds if timeout is None else timeout
    try:
        source = inside_workflows(Path(path))
        step = _step_at(source)
        with _claimed(step) as claim:
            execution = StepExecution(
                step, source, timeout_seconds=seconds, claim=claim, executor=executor
            )
        return _run_logged(execution)
    except NotebookError as exc:
        return _not_run(Path(path), str(exc))


@contextmanager
def _claimed(step: Step) -> Iterator[ChainRun | None]:
    """Claim what was handed over to a step, if anything was; give it back where the block fails."""
    claim = None
    try:
        with interrupts_held():
            claim = _claim_for(step)
        yield claim
    except BaseException:
        if claim is not None:
            chain_runs.release(claim, reason=_INTERRUPTED)
        raise


def _run_logged(execution: StepExecution) -> NotebookResult:
    heartbeat = Heartbeat(lambda _: execution.stop(_LOST))
    try:
        outcome = _run(execution, heartbeat)
        # What has come to its end is not given back, whatever happens now, and so not run again.
        return patiently(partial(_record, execution, outcome))
    finally:
        heartbeat.stop()


def _run(execution: StepExecution, heartbeat: Heartbeat) -> NotebookOutcome:
    """Run the notebook to its end; what is cut off on the way is given back."""
    try:
        with interrupts_held():
            execution.begin()
        if execution.claim:
            heartbeat.add(execution.claim)
        return execution.run()
    except BaseException:
        with interrupts_held():
            execution.release(NotebookOutcome.stopped(_INTERRUPTED), reason=_INTERRUPTED)
        raise


def _record(execution: StepExecution, outcome: NotebookOutcome) -> NotebookResult:
    if outcome.ending is not Ending.STOPPED:
        return execution.finish(outcome)
    execution.release(outcome, reason=_LOST)
    return result_of(execution.notebook, outcome)


def _step_at(source: Path) -> Step:
    """Return the step that a notebook belongs to: by what the metastore names, else by its path."""
    place = place_of(source)
    with transaction() as connection:
        named = queries("steps").steps_with_a_path(connection)
        ids = [row["step_id"] for row in named if _is_named(source, row)]
        if ids:
            step = queries("steps").step_by_id(connection, step_id=ids[0])
        else:
            step = place and queries("steps").step_by_numbers(connection, **vars(place))
    if step is None:
        raise NotebookError(f"{source.name} belongs to no step of the metastore.")
    found: Step = step
    return found


def _is_named(source: Path, row: dict[str, str]) -> bool:
    try:
        named = named_notebook(cycle_name=row["cycle_name"], notebook_path=row["notebook_path"])
    except NotebookError:
        return False
    return named == source


def _claim_for(step: Step) -> ChainRun | None:
    """Claim the hand-over to this step; None where none is due.

    Raises:
        NotebookError: somebody runs the step at this moment.
    """
    claim = chain_runs.claim(next_step_id=step["step_id"])
    # Asked afterwards: a monitor that claimed it a moment ago is seen.
    owner = None if claim else chain_runs.owner_at_work(step["step_id"])
    if owner is not None:
        raise NotebookError(f"This step is being run by {owner}. Wait until it has ended.")
    return claim


def _not_run(path: Path, error: str) -> NotebookResult:
    return result_of(path, NotebookOutcome.failed(error))

"""Read what the board shows: a few statements, whatever the number of batches."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from helpers.attention import late_batches, what_waits
from helpers.board.grid import Board
from helpers.board.rows import ExpectedEnd, StepBatch, StepRow, StepState
from helpers.board.step_jobs import JobGroup, JobsReport, StepJob, StepJobs, statuses_in
from helpers.constants import JobStatus
from helpers.database import queries, transaction
from helpers.display import Report
from helpers.errors import NotebookError, SettingsError
from helpers.forecasting import SAMPLES_NEEDED, BatchForecast, JobForecast, Outcome
from helpers.forecasts import ActiveForecast, forecast_active, forecast_chains, held_lately
from helpers.job_names import job_name
from helpers.steps.claims import open_runs, why_not_started
from helpers.workflow_paths import find_step_notebook, inside_workflows, relative_to_workflows

_MOST_JOBS = 20  # of each status and reason, on the board


def board() -> Board:
    """Return where every step of the ACTIVE cycles stands; nothing is polled, decided or sent."""
    with transaction():
        now, active, steps = _steps()
        shown = {step_id: step for step_id, step in steps.items() if step.has_open_or_failed_jobs}
        late = [job for forecast in active.values() for job in forecast.late]
        return Board(
            list(steps.values()),
            now,
            _jobs(shown, active, now, most=_MOST_JOBS),
            what_waits(late=late_batches(late)),
            held_lately(),
            list(queries("board").learned_families()),
        )


def jobs_of(step: str | None = None) -> JobsReport:
    """Return the jobs of a step of the ACTIVE cycles, those that need a person first.

    ``3.6`` is step 6 of stage 3, in each cycle that has it; None means every step in which jobs
    are open or have failed.

    Raises:
        SettingsError: no ACTIVE cycle has such a step.
    """
    with transaction():
        now, active, steps = _steps()
        shown = {
            step_id: row
            for step_id, row in steps.items()
            if (row.has_open_or_failed_jobs if step is None else row.number == step)
        }
        if step is not None and not shown:
            raise SettingsError(f"No ACTIVE cycle has a step {step!r}; one is written as 3.6.")
        return JobsReport(_jobs(shown, active, now, most=Report.most_lines), now)


def _steps() -> tuple[datetime, dict[int, ActiveForecast], dict[int, StepRow]]:
    """Return the time, what is forecast of each batch, and the steps by their ids."""
    now = queries("check").server()["now_ts"]
    active = forecast_active()
    chains = forecast_chains([forecast.seen for forecast in active.values()])
    held = _held_steps()
    steps = {}
    for row in queries("board").steps():
        step = _step(row, active, now)
        at = row["cycle_name"], row["stage_num"], row["step_num"]
        chain = chains.get((row["cycle_id"], row["stage_num"], row["step_num"]))
        if step.ends is None and chain is not None and step.state is not StepState.DONE:
            step = replace(step, ends=_expected_end([chain], now))
        steps[row["step_id"]] = replace(step, held=held.get(at, ""))
    return now, active, steps


def _held_steps() -> dict[tuple[str, int, int], str]:
    """Return the steps that are due and wait for something, each with what it waits for."""
    return {
        (run["cycle_name"], run["stage_num"], run["next_step_num"]): why
        for run in open_runs()
        if (why := why_not_started(run))
    }


def _step(row: dict[str, Any], active: Mapping[int, ActiveForecast], now: datetime) -> StepRow:
    batches = [
        StepBatch(**batch | {key: _time(batch[key]) for key in ("submitted_ts", "completed_ts")})
        for batch in row["batches"]
    ]
    left_out = {"cycle_id", "step_id", "batches", "notebook_path", "executed_path"}
    found = [active[batch.batch_id].batch for batch in batches if batch.batch_id in active]
    return StepRow(
        **{k: v for k, v in row.items() if k not in left_out},
        batches=batches,
        ends=_expected_end(found, now),
        notebook_path=_notebook_to_open(row),
        executed_path=_copy_to_open(row["executed_path"]),
    )


def _notebook_to_open(step: Mapping[str, Any]) -> str | None:
    """Return the notebook of a step, as ``workflows/…``; None if there is not just one."""
    named = {key: step[key] for key in ("cycle_name", "stage_num", "step_num", "notebook_path")}
    try:
        return relative_to_workflows(find_step_notebook(**named))
    except NotebookError:
        return None


def _copy_to_open(path: str | None) -> str | None:
    """Return the executed copy that the metastore names, as ``workflows/…``; None if it is gone."""
    if path is None:
        return None
    try:
        below = Path(*PurePosixPath(path).parts[1:])
        return relative_to_workflows(inside_workflows(below))
    except NotebookError:
        return None


def _expected_end(
    forecasts: Sequence[BatchForecast | JobForecast], now: datetime
) -> ExpectedEnd | None:
    """Return when the last of these will end; nobody knows if one of them is not known."""
    if not forecasts:
        return None
    for forecast in forecasts:
        if forecast.remaining is None:
            why = f"not known: {forecast.outcome.value}"
            if forecast.outcome is Outcome.FEW_SAMPLES:
                needed = f"{SAMPLES_NEEDED} finished jobs are needed"
                why = f"not known yet: {needed}, {forecast.samples} so far"
            return ExpectedEnd(None, why)
    ends = [forecast.remaining.at(now) for forecast in forecasts if forecast.remaining]
    return ExpectedEnd(max(ends, key=lambda times: times[1]))


def _jobs(
    steps: Mapping[int, StepRow], active: Mapping[int, ActiveForecast], now: datetime, *, most: int
) -> list[StepJobs]:
    """Return the first jobs of these steps, of each status and reason."""
    late = {job.job_id: job for forecast in active.values() for job in forecast.late}
    rows = queries("board").jobs(
        step_ids=list(steps),
        late=list(late),
        bad_ends=statuses_in(JobGroup.FAILED, JobGroup.CANCELLED),
        waiting=statuses_in(JobGroup.WAITING),
        terminal=list(JobStatus.terminal()),
        most=most,
    )
    of: dict[int, list[StepJob]] = defaultdict(list)
    for row in rows:
        forecast = active.get(row["batch_id"])
        job = _job(row, forecast.jobs.get(row["job_id"]) if forecast else None, now)
        why_late = late[job.job_id].text if job.job_id in late else None
        of[row["step_id"]].append(replace(job, why_late=why_late))
    return [StepJobs(row.name, row.cycle_name, of[step_id], now) for step_id, row in steps.items()]


def _job(row: Mapping[str, Any], forecast: JobForecast | None, now: datetime) -> StepJob:
    name = job_name(row["configuration"], row["request"]) or f"job {row['job_id']}"
    copied = ("job_id", "batch_id", "status", "since_ts", "seconds", "reason", "moodys_id", "alike")
    job = StepJob(name=name, **{key: row[key] for key in copied})
    if forecast is None:
        return job
    is_waiting = forecast.outcome is Outcome.NOT_STARTED  # as its status says
    end = None if is_waiting else _expected_end([forecast], now)
    return replace(job, usual_seconds=forecast.usual_seconds, end=end)


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)

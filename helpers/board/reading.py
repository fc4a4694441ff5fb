"""Read what the board shows: a few statements, whatever the number of batches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

from helpers.board.files import copy_to_open, notebook_to_open
from helpers.board.grid import Board, ExpectedEnd, StepBatch, StepRow
from helpers.board.history import NightHistory, marks, span
from helpers.board.step_jobs import JobGroup, JobsReport, StepJob, StepJobs, statuses_in
from helpers.constants import JobStatus
from helpers.database import queries, transaction
from helpers.display import Lane, Report, Severity, local, severity_of, time_of_day
from helpers.errors import SettingsError
from helpers.forecasting import BatchForecast, JobForecast, Outcome
from helpers.forecasts import ActiveForecast, forecast_active
from helpers.job_names import job_name
from helpers.settings import get_settings
from helpers.text import counted

_MISSED_INTERVALS = 3  # so long without a completed pass is a gap
_A_NIGHT = timedelta(hours=12)
_MOST_JOBS = 20  # of each status and reason, on the board


def board() -> Board:
    """Return where every step of the ACTIVE cycles stands; nothing is polled, decided or sent."""
    with transaction():
        now, active, steps = _steps()
        shown = {step_id: step for step_id, step in steps.items() if step.has_open_or_failed_jobs}
        jobs = _jobs(shown, active, now, most=_MOST_JOBS)
    return Board(list(steps.values()), now, jobs)


def jobs_of(step: str | None = None) -> JobsReport:
    """Return the jobs of a step of the ACTIVE cycles, those that need a person first.

    Args:
        step: ``3.6`` for step 6 of stage 3, in each cycle that has it; None for every step in which
            jobs are open or have failed.

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
    active = forecast_active(pass_seconds=get_settings().monitor_interval_seconds)
    rows = list(queries("board").steps())
    return now, active, {row["step_id"]: _step(row, active, now) for row in rows}


def night_history(since: str | datetime | None = None) -> NightHistory:
    """Return what happened since then, from the metastore alone.

    Args:
        since: ``18:00`` for the last time it was that late here; or a time with a zone; None for
            the last twelve hours.

    Raises:
        SettingsError: it is no such time.
    """
    with transaction():
        now = queries("check").server()["now_ts"]
        begin = _since(since, now)
        longest = _MISSED_INTERVALS * timedelta(seconds=get_settings().monitor_interval_seconds)
        gaps = [
            (row["from_ts"], row["to_ts"])
            for row in queries("board").gaps_since(since=begin, longest=longest)
        ]
        lanes = list(_lanes(begin, now))
    return NightHistory(lanes, gaps, begin, now)


def _lanes(since: datetime, now: datetime) -> Iterator[Lane]:
    for row in queries("board").batches_since(since=since):
        severity = severity_of(row["status"])
        label = f"{row['batch_type']} {row['batch_id']}"
        bar = span(row["status"], row["submitted_ts"], row["completed_ts"], severity, now=now)
        ends = [
            *marks(row["finished_ts"], Severity.OK, "a job finished"),
            *marks(row["failed_ts"], Severity.ERROR, "a job failed"),
        ]
        yield Lane(f"{_step_ref(row)} {label}", bar, ends)
    for row in queries("board").step_runs_since(since=since):
        severity = severity_of(row["status"])
        bar = span(row["status"], row["started_ts"], row["completed_ts"], severity, now=now)
        yield Lane(f"{_step_ref(row)} notebook {row['step_name']}", bar, [])
    cards = list(queries("board").cards_since(since=since))
    if cards:
        sent = [
            mark
            for card in cards
            for mark in marks([card["sent_ts"]], Severity.WARNING, f"batch {card['batch_id']}")
        ]
        yield Lane("cards to Teams", [], sent)


def _step_ref(row: dict[str, Any]) -> str:
    return f"{row['stage_num']}.{row['step_num']}"


def _step(row: dict[str, Any], active: Mapping[int, ActiveForecast], now: datetime) -> StepRow:
    batches = [
        StepBatch(
            **{
                **batch,
                "submitted_ts": _time(batch["submitted_ts"]),
                "completed_ts": _time(batch["completed_ts"]),
            }
        )
        for batch in row["batches"]
    ]
    left_out = {"cycle_id", "step_id", "batches", "notebook_path", "executed_path"}
    found = [active[batch.batch_id].batch for batch in batches if batch.batch_id in active]
    return StepRow(
        **{k: v for k, v in row.items() if k not in left_out},
        batches=batches,
        ends=_expected_end(found, now),
        notebook_path=notebook_to_open(row),
        executed_path=copy_to_open(row["executed_path"]),
    )


def _expected_end(forecasts: Sequence[BatchForecast], now: datetime) -> ExpectedEnd | None:
    """Return when the last of these batches will end; nobody knows if one of them is not known."""
    if not forecasts:
        return None
    for forecast in forecasts:
        if forecast.remaining is None:
            return ExpectedEnd(None, _why_no_end(forecast.outcome, forecast.samples))
    ends = [forecast.remaining.at(now) for forecast in forecasts if forecast.remaining]
    return ExpectedEnd(max(ends, key=lambda times: times[1]))


def _jobs(
    steps: Mapping[int, StepRow],
    active: Mapping[int, ActiveForecast],
    now: datetime,
    *,
    most: int,
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
    job = replace(job, usual_seconds=forecast.usual_seconds)
    if forecast.remaining is None:
        return replace(job, why_no_end=_why_no_end(forecast.outcome, forecast.samples))
    return replace(job, end=forecast.remaining.at(now))


def _why_no_end(outcome: Outcome, samples: int) -> str:
    return f"not known: {outcome.value} ({counted(samples, 'sample')})"


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _since(since: str | datetime | None, now: datetime) -> datetime:
    """Return the moment that is meant, in UTC."""
    if since is None:
        return now - _A_NIGHT
    if isinstance(since, datetime):
        return since.astimezone(UTC)
    try:
        hour, minute = (int(part) for part in since.split(":"))
        at = time(hour, minute)
    except ValueError:
        raise SettingsError(f"{since!r} is not a time of day, such as 18:00.") from None
    today = local(now).date()
    days = (time_of_day(today - timedelta(days=ago), at) for ago in (0, 1))
    return next(when for when in days if when <= now)

"""The jobs of a step: those that need a person first, and readable however many there are."""

from datetime import UTC, datetime, timedelta

import pytest

from helpers.board.grid import Board
from helpers.board.rows import ExpectedEnd
from helpers.board.step_jobs import JobGroup, JobsReport, StepJob, StepJobs
from helpers.constants import JobStatus
from tests.unit.test_board import batch, step

NOW = datetime(2026, 11, 26, 7, 0, tzinfo=UTC)
EARLIER = NOW - timedelta(hours=2)


def job(number: int, status: str, **more) -> StepJob:
    given = {"since_ts": EARLIER, "seconds": 1_200.0, "reason": None, "moodys_id": f"9{number}"}
    return StepJob(number, 8, f"Job {number}", status, **{**given, **more})


def shown(*jobs: StepJob) -> str:
    return str(JobsReport([StepJobs("3.6 GeoHaz", "Q1", jobs, NOW)], NOW))


@pytest.mark.parametrize("status", list(JobStatus))
def test_every_status_belongs_to_a_group_and_a_foreign_one_warns(status):
    assert job(1, status).group is not JobGroup.UNRECOGNISED
    assert job(1, "EXPLODED").group is JobGroup.UNRECOGNISED


def test_what_needs_a_person_comes_first():
    text = shown(
        job(1, "FINISHED"),
        job(2, "QUEUED"),
        job(3, "RUNNING"),
        job(4, "RUNNING", why_late="Running for 5 h; jobs like it take 20 min."),
        job(5, "FAILED", reason="EDM locked"),
    )
    names = ["Job 5", "Job 4", "Job 3", "Job 2", "Job 1"]
    assert [text.index(name) for name in names] == sorted(text.index(name) for name in names)
    assert "Running for 5 h; jobs like it take 20 min." in text
    headline = "1 failed, 1 far over the usual time, 1 running, 1 waiting at Moody's, 1 finished."
    assert text.startswith(f"Jobs of 3.6 GeoHaz (Q1): {headline}")


def test_failed_jobs_are_together_by_reason_the_reason_of_most_jobs_first():
    text = shown(
        job(1, "FAILED", reason="rare"),
        *(job(n, "FAILED", reason="frequent", alike=2) for n in (2, 3)),
        job(4, "ERROR", reason="no profile"),
    )
    assert text.index("2 failed: “frequent”") < text.index("1 failed: “rare”")
    assert "1 failed: “no profile”" in text


def test_of_a_thousand_jobs_the_first_are_shown_and_all_are_counted():
    jobs = [job(n, "FINISHED", alike=980) for n in range(100)]
    jobs += [job(n, "FAILED", reason=f"reason {n}") for n in range(100, 120)]
    text = shown(*jobs)
    assert "980 finished" in text
    assert "… and 880 more jobs" in text
    assert "10 failed for other reasons" in text
    assert len(text.splitlines()) < 200


def test_a_job_tells_since_when_how_long_it_usually_takes_and_when_it_ends():
    ends = tuple(NOW + timedelta(minutes=minutes) for minutes in (10, 20, 40))
    text = shown(job(1, "RUNNING", usual_seconds=1_500.0, end=ExpectedEnd(ends)))
    low, median, high = (f"{when.astimezone():%H:%M}" for when in ends)
    assert f"{EARLIER.astimezone():%H:%M}" in text
    for part in ("20 min", "25 min", f"{median} ({low}–{high})", "91"):
        assert part in text


def test_on_the_board_only_what_needs_a_person_is_open():
    rows = [job(1, "FAILED", reason="EDM locked"), *(job(n, "FINISHED") for n in range(2, 9))]
    of_step = StepJobs("3.6 Step 6", "Q1", rows, NOW)
    board = Board([step(6, batch("ACTIVE", FAILED=1, FINISHED=7))], NOW, [of_step])

    assert "Job 1" in str(board)
    assert "Job 2" not in str(board)
    assert "3.6 Step 6: 1 finished" in str(board)
    html = board._repr_html_()
    assert html.count("<details") == 2
    assert html.count("<details open") == 1
    assert "Job 2" in html

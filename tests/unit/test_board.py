from datetime import UTC, datetime, timedelta

import pytest

from helpers.board.grid import Board
from helpers.board.night import NightHistory, marks, span
from helpers.board.rows import ExpectedEnd, StepBatch, StepRow, StepState, with_waits
from helpers.display import Lane, Severity, Timeline, page
from helpers.display.timelines import TimelineDrawing, as_table

NOW = datetime(2026, 11, 26, 7, 0, tzinfo=UTC)


def batch(status: str, batch_id: int = 8, **counts: int) -> StepBatch:
    ended = None if status in {"ACTIVE", "INITIATED"} else NOW
    return StepBatch(batch_id, "GeoHaz", status, NOW - timedelta(hours=1), ended, counts)


def step(num: int, *batches: StepBatch, **more) -> StepRow:
    return StepRow("Q1", 3, "Data Import", num, f"Step {num}", batches, **more)


@pytest.mark.parametrize(
    ("row", "state"),
    [
        (step(1), StepState.OPEN),
        (step(1, batch("INITIATED", INITIATED=3)), StepState.PREPARED),
        (step(1, batch("ACTIVE", RUNNING=3)), StepState.ACTIVE),
        (step(1, batch("COMPLETED", FINISHED=3)), StepState.DONE),
        (step(1, batch("FAILED", FAILED=3)), StepState.FAILED),
        (step(1, batch("CANCELLED", CANCELLED=3)), StepState.FAILED),
        # What needs a person is seen first, and a second batch that still runs does not hide it.
        (step(1, batch("ACTIVE", RUNNING=1), batch("ERROR", ERROR=1)), StepState.FAILED),
        (step(1, batch("COMPLETED"), batch("INITIATED", INITIATED=1)), StepState.PREPARED),
        (step(1, due_status="PENDING"), StepState.DUE),
        (step(1, batch("INITIATED"), due_status="RUNNING"), StepState.DUE),
        (step(1, run_status="ACTIVE"), StepState.NOTEBOOK),
        (step(1, run_status="COMPLETED"), StepState.DONE),
        (step(1, run_status="SKIPPED"), StepState.DONE),
        (step(1, run_status="FAILED"), StepState.FAILED),
    ],
)
def test_a_step_stands_where_what_needs_a_person_is_seen_first(row, state):
    assert row.state is state
    assert row.state.severity in Severity


def test_a_step_that_has_not_started_says_what_holds_it():
    shown = str(Board([step(6, batch("ACTIVE", RUNNING=3, FINISHED=2)), step(7), step(8)], NOW))
    assert "3 jobs at Moody's" in shown
    assert "3 jobs of GeoHaz hold step 3.7" in shown
    assert "step 3.7 Step 7 (not started)" in shown


def test_a_step_of_which_nothing_runs_any_more_waits_for_the_next_pass():
    [(_, waits_for, _)] = with_waits([step(6, batch("ACTIVE", FINISHED=2))])
    assert waits_for == "the next pass"


@pytest.mark.parametrize(
    ("before", "first", "waits_for"),
    [
        # No rule leads into a stage: a person starts its first step, whatever goes on.
        (step(8), {}, "you: run its notebook, after step 3.8 Step 8 (not started)"),
        (
            step(8, batch("ACTIVE", RUNNING=3)),
            {"batches": [batch("INITIATED", INITIATED=2)]},
            "you: run its notebook, which submits the jobs, after step 3.8 Step 8 (jobs run)",
        ),
        (step(8, batch("COMPLETED", FINISHED=3)), {}, "you: run its notebook"),
    ],
)
def test_the_first_step_of_a_stage_waits_for_a_person(before, first, waits_for):
    failed, row = step(7, batch("FAILED")), StepRow("Q1", 4, "Analysis", 1, "Execute", **first)
    assert [waits for _, waits, _ in with_waits([failed, before, row])][-1] == waits_for


@pytest.mark.parametrize(
    "before", [step(6), step(6, batch("FAILED")), step(6, due_status="RUNNING")]
)
def test_a_step_to_which_a_rule_leads_waits_for_the_step_before_it(before):
    [_, waits] = [waits for _, waits, _ in with_waits([before, step(7)])]
    assert waits == f"step 3.6 Step 6 ({before.state})"


def test_failures_are_in_the_headline_while_the_batch_still_runs():
    shown = str(Board([step(6, batch("ACTIVE", RUNNING=33, FAILED=5, ERROR=2))], NOW))
    assert shown.startswith("Cycle Q1: 7 of 40 jobs of 3.6 Step 6 failed so far")


def test_prepared_jobs_that_nobody_submits_are_in_the_headline():
    shown = str(Board([step(1, batch("INITIATED", INITIATED=41))], NOW))
    assert shown.startswith("Cycle Q1: 41 prepared jobs of step 3.1 Step 1 not submitted; 0 of 1")


def test_the_reason_of_a_failed_notebook_is_shown_in_one_line():
    row = step(2, run_status="FAILED", run_error="ValueError:\n  no results " + "x" * 500)
    shown = str(Board([row], NOW))
    assert "you: ValueError: no results" in shown
    assert len(max(shown.splitlines(), key=len)) < 300


def test_the_expected_end_is_shown_as_clock_times_with_its_interval():
    times = tuple(NOW + timedelta(hours=hours) for hours in (1, 2, 3))
    shown = str(Board([step(6, batch("ACTIVE", RUNNING=3), ends=ExpectedEnd(times))], NOW))
    low, median, high = (f"{when.astimezone():%H:%M}" for when in times)
    assert f"about {median}; 8 in 10 between {low} and {high}" in shown


def test_without_enough_samples_the_board_names_no_time():
    ends = ExpectedEnd(None, "not known yet: 20 finished jobs are needed, 3 so far")
    assert "20 finished jobs are needed, 3 so far" in str(
        Board([step(6, batch("ACTIVE", RUNNING=3), ends=ends)], NOW)
    )


def test_no_cycle_is_reported_as_what_it_is():
    assert "No cycle is ACTIVE" in str(Board([], NOW))


def test_foreign_text_is_escaped_on_the_page():
    row = StepRow("<b>Q1", 3, "x", 1, "<script>", [batch("FAILED", FAILED=1)])
    html = page("<title>", [Board([row], NOW)])
    assert "<script>" not in html
    assert "&lt;b&gt;Q1" in html
    assert "<b>Q1" not in html


def history(*lanes: Lane, gaps=()) -> NightHistory:
    return NightHistory(lanes, gaps, NOW - timedelta(hours=12), NOW)


def test_a_night_tells_what_failed_and_when_nothing_was_monitored():
    start = NOW - timedelta(hours=3)
    lane = Lane(
        "4.1 Analysis 8",
        span("FAILED", start, NOW, now=NOW),
        [
            *marks([NOW] * 36, Severity.OK, "a job finished"),
            *marks([NOW] * 5, Severity.ERROR, "a job failed"),
        ],
    )
    shown = str(history(lane, gaps=[(start, start + timedelta(hours=1))]))
    assert "1 of them failed, monitoring was off once, for 1 h at most" in shown
    assert "36 × a job finished, 5 × a job failed" in shown
    assert "monitoring was off" in shown.splitlines()[-2] + shown.splitlines()[-3]


def test_a_batch_that_recovered_does_not_hide_that_a_job_failed():
    ended = marks([NOW], Severity.ERROR, "a job failed")
    lane = Lane("4.1 Analysis 8", span("COMPLETED", NOW, NOW, now=NOW), ended)
    assert "1 batch or notebook, none failed, although 1 job did." in str(history(lane))


def test_a_drawing_is_bounded_however_many_jobs_ended():
    times = [NOW - timedelta(milliseconds=i) for i in range(10_000)]
    lane = Lane("x", [], marks(times, Severity.OK, "a job finished"))
    drawing = TimelineDrawing(Timeline(NOW - timedelta(hours=1), NOW, [lane]))
    assert len(drawing.marks(lane)) <= 10
    assert len(history(lane)._repr_html_()) < 20_000


def test_what_lies_outside_is_cut_and_what_is_short_can_still_be_seen():
    lane = Lane("x", span("FINISHED", NOW - timedelta(days=2), NOW, now=NOW), [])
    brief = Lane("y", span("FINISHED", NOW, NOW, now=NOW), [])
    drawing = TimelineDrawing(Timeline(NOW - timedelta(hours=1), NOW, [lane, brief]))
    assert [(bar.x, bar.width) for bar in drawing.bars(lane)] == [(0.0, 100.0)]
    assert drawing.bars(brief)[0].width > 0


def test_an_end_before_its_start_is_drawn_as_a_moment():
    [bar] = span("FINISHED", NOW, NOW - timedelta(hours=1), now=NOW)
    assert bar.end == bar.start


@pytest.mark.parametrize("hours", [0, 0.2, 1, 12, 30, 24 * 14])
def test_a_few_hours_are_labelled_whatever_the_stretch(hours):
    drawing = TimelineDrawing(Timeline(NOW - timedelta(hours=hours), NOW, []))
    assert len(drawing.hours) <= 14
    assert as_table(Timeline(NOW, NOW, [])).rows == []

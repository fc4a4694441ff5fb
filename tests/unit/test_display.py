"""What people see: severities, times, and every report as text and as HTML."""

import importlib
import inspect
import re
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from html.parser import HTMLParser
from io import StringIO
from itertools import cycle

import pytest
from IPython.core.interactiveshell import InteractiveShell

from helpers import constants
from helpers.attention import Item, ItemKind, Waiting
from helpers.batch import Reconciliation
from helpers.batch.history import History
from helpers.batch.named import NamedBatch
from helpers.batch.plans.mending import SkipPlan
from helpers.batch.plans.seeing import SeenJob
from helpers.batch.preparing import Problem
from helpers.batch.validating import BatchValidation
from helpers.board.grid import Board
from helpers.board.live import Monitoring
from helpers.board.night import NightHistory
from helpers.board.rows import StepBatch, StepRow
from helpers.board.step_jobs import JobsReport, StepJob, StepJobs
from helpers.check import CheckReport
from helpers.constants import BatchStatus, JobStatus
from helpers.display import (
    Cell,
    Lane,
    Mark,
    Remark,
    Remarks,
    Report,
    Row,
    Severity,
    Span,
    Table,
    duration,
    page,
    parts_of,
    progress,
    severity_of,
    tally,
    text_page,
)
from helpers.display.severity import _SEVERITIES
from helpers.monitor.chaining_section import ChainedStep, ChainReport
from helpers.monitor.news import News
from helpers.monitor.reports import (
    FoundReport,
    PollReport,
    ReconciledBatch,
    ReconReport,
    grouped_by_text,
)
from helpers.monitor.summary import SummaryReport
from helpers.notifications.failures import Failures
from helpers.pass_health import PassHealth
from helpers.stage import StepNotebook
from helpers.stage.reports import StageBatch, StageSummary, SubmissionReport

NOON = datetime(2025, 3, 1, 12, 0, 0, tzinfo=UTC)
HOSTILE = "<script>alert('x')</script> & \"q\" {{ report }} \x1b[31mred\x00\u202e %s"
SEEN = "<script>alert('x')</script> & \"q\" {{ report }} red %s"
STATUS_ENUMS = [
    enum
    for _, enum in inspect.getmembers(constants, inspect.isclass)
    if issubclass(enum, StrEnum) and enum.__name__.endswith("Status")
]


@pytest.mark.parametrize("status", [status for enum in STATUS_ENUMS for status in enum])
def test_every_status_has_a_severity_on_purpose(status):
    assert str(status) in _SEVERITIES


def test_only_success_is_good_and_a_foreign_word_warns():
    good = {
        status for enum in STATUS_ENUMS for status in enum if severity_of(status) is Severity.OK
    }
    assert good == {"FINISHED", "COMPLETED", "VALID", "SENT", "DONE"}
    assert severity_of("EXPLODED") is Severity.WARNING


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "—"),
        (0, "0.0 s"),
        (0.44, "0.4 s"),
        (9.94, "9.9 s"),
        (12.4, "12 s"),
        (59.6, "1 min"),  # never 60 s
        (185, "3 min 5 s"),
        (3599.7, "1 h"),
        (7800, "2 h 10 min"),
        (90_000, "25 h"),
        (timedelta(minutes=3, seconds=5), "3 min 5 s"),
    ],
)
def test_a_duration_is_shown_in_at_most_two_units(seconds, text):
    assert duration(seconds) == text


class Linked(Report):
    def blocks(self):
        path = "workflows/Active_Q1/runs/S03-05 <X> 26 Nov 16.51.ipynb"
        code = "plan_resubmit(8)  # <b>"
        yield Remarks([Remark("Batch 8", "FAILED.", Severity.ERROR, code=code)])
        yield Table(["Copy"], [Row([Cell(path, link=path)])])


def test_a_thing_that_waits_has_the_line_that_mends_it_and_where_to_look():
    assert (
        "  ✖ Batch 8: FAILED. Mend it, in the notebook Manage Batches: plan_resubmit(8)  # <b>\n"
        in str(Linked())
    )
    shown = parts_of({"a": Linked()}, target=lambda path: f'/lab/tree/{path}?"', tab="lab")["a"]
    assert "<code>plan_resubmit(8)  # &lt;b&gt;</code>" in shown
    assert shown.count(">S03-05 &lt;X&gt; 26 Nov 16.51.ipynb</a>") == 1
    assert (
        'href="/lab/tree/workflows/Active_Q1/runs/S03-05 &lt;X&gt; 26 Nov 16.51.ipynb?&#34;"'
        in (shown)
    )
    assert "<X>" not in shown
    assert "<button" in shown
    without = parts_of({"a": Linked()}, target=lambda path: None)["a"]
    assert "<a " not in without
    assert "<button" not in without  # it would do nothing
    assert "workflows/Active_Q1/runs/S03-05" in without


def test_a_page_of_several_reports_says_once_when_it_was_made_and_in_which_zone():
    reports = [Board([], NOON), NightHistory([], [], NOON, NOON)]

    assert all(str(report).count("Times are UTC") == 1 for report in reports)
    assert text_page(reports).count("Times are UTC") == 1
    assert page("x", reports).count("Times are UTC") == 1
    parts = parts_of({"board": reports[0], "night": reports[1]}, target=lambda path: None)
    assert "Times are UTC" in parts.pop("time")
    assert "Times are UTC" not in "".join(parts.values())


def test_small_filters():
    assert tally({"FINISHED": 1800, "FAILED": 2, "QUEUED": 0}) == "1,800 FINISHED, 2 FAILED"
    assert tally({}) == "—"


# --- Every report, without anything, with a little, with very much, and with hostile values.


def active_batch(number: int, text: str) -> dict:
    return {
        "batch_id": number,
        "batch_type": text,
        "submitted_ts": None if number % 2 else NOON,
        "activation_num": 1,
        "cycle_id": 1,
        "cycle_name": text,
        "stage_num": 3,
        "stage_name": text,
        "step_id": 1,
        "step_num": 3,
        "step_name": text,
    }


def step(text: str) -> dict:
    return {**active_batch(1, text), "notebook_path": text, "cycle_status": "ACTIVE"}


MINUTE = timedelta(minutes=1)


def health(count: int, text: str) -> PassHealth:
    if not count:
        return PassHealth(NOON, None, 0, 0, 0, None, None, None, None, MINUTE)
    return PassHealth(
        NOON, NOON - timedelta(minutes=3), 60, 59, 10, False, NOON, text, text, MINUTE
    )


def found(count: int, text: str) -> FoundReport:
    return FoundReport([active_batch(n, text) for n in range(count)])


def polled(count: int, text: str) -> PollReport:
    return PollReport(
        batch_ids=list(range(count)),
        held_elsewhere=dict.fromkeys(range(count), text),
        jobs_due=count,
        jobs_polled=count,
        polls_failed=count,
        moves={(1, "QUEUED", text): list(range(count))} if count else {},
        remarks=[Remark(f"Job {n}", f"{text} {n}") for n in range(count)],
        not_submitted=list(range(count)),
        not_asked=count,
        refused=text if count else None,
        errors=[Remark(text, text)] * min(count, 1),
    )


def reconciled(count: int, text: str) -> ReconReport:
    outcomes = [
        Reconciliation(
            n,
            BatchStatus.ACTIVE,
            BatchStatus.FAILED if n % 2 else BatchStatus.ACTIVE,
            text,
            needs_attention=True,
            attention=(text,),
            chain=text,
        )
        for n in range(count)
    ]
    return ReconReport(
        [ReconciledBatch(active_batch(o.batch_id, text), o) for o in outcomes],
        left_to_others=count,
        errors=[Remark(text, text)] * count,
    )


def chained(count: int, text: str) -> ChainReport:
    waiting = {
        "cycle_name": text,
        "cycle_status": "ACTIVE",
        "stage_num": 3,
        "next_step_num": 4,
        "status": "RUNNING",
        "owner": text,
        "started_ts": NOON,
        "claim_expires_ts": None,
        "held_by": None,
        "waits_for": [],
    }
    return ChainReport(
        [ChainedStep(text, 3, 4, text, text, text, 1.5) for _ in range(count)],
        [waiting] * count,
        text if count else None,
        [Remark(text, text)] * count,
    )


def summary(count: int, text: str) -> SummaryReport:
    return SummaryReport(
        batches_found=count,
        batches_processed=count,
        batches_left=count,
        batches_completed=count,
        batches_failed=count,
        jobs_polled=count,
        polls_failed=count,
        transitions=count,
        chains_executed=count,
        chains_failed=count,
        cards_sent=count,
        cards_waiting=count,
        cards_problem=text if count else None,
        errors=[Remark(text, text)] * count,
        waiting=waiting(count, text),
        started_ts=NOON,
        seconds=3.2,
        next_run_ts=NOON if count else None,
        active_batches=count,
        health=health(count, text),
        warnings=[text] * min(count, 2),
    )


def waiting(count: int, text: str) -> Waiting:
    items = [
        Item(kind, text, text, text, text, [n], Severity.ERROR, text, text if n % 3 == 1 else "")
        for n, kind in zip(range(min(count, 50)), cycle(ItemKind), strict=False)
    ]
    return Waiting(items, count)


def news(count: int, text: str) -> News:
    return News(*([Remark(text, text)] * count for _ in range(3)))


def stage_batch(number: int, text: str) -> StageBatch:
    took = timedelta(seconds=90)
    counts = {JobStatus.FINISHED.value: 3, JobStatus.FAILED.value: 1, "SKIPPED": 1}
    ended = NOON + took
    return StageBatch(3, text, number, text, "FAILED", NOON, ended, counts, took, {text: 1234.5})


def stage(count: int, text: str) -> StageSummary:
    jobs = [
        {
            "job_id": n,
            "name": text,
            "moodys_workflow_id": None,
            "status": "FAILED",
            "reason": f"{text} {n}",
        }
        for n in range(count)
    ]
    failures = {1: Failures(jobs, count)} if count else {}
    batches = [stage_batch(n, text) for n in range(min(count, 9))]
    warnings = [text] * min(count, 2)
    return StageSummary(step(text), batches, failures, health(count, text), warnings)


def where(count: int, text: str) -> StepNotebook:
    notebook = StepNotebook(step(text))
    notebook._batches = lambda: [stage_batch(n, text) for n in range(min(count, 9))]
    return notebook


def submitted(count: int, text: str) -> SubmissionReport:
    done = {
        "batch_id": 1,
        "status": "ACTIVE",
        "submitted": 1,
        "failed": count,
        "untouched": 0,
        "errors": [text] * count,
    }
    return SubmissionReport(step(text), [done] * min(count, 1), "submitted")


def seen(number: int, text: str) -> SeenJob:
    return SeenJob(number, "FAILED", False, text, False, None, None, {"job_name": text}, text)


def validation(count: int, text: str) -> BatchValidation:
    batch = {**step(text), "status": "INITIATED"}
    problems = [Problem(n, text) for n in range(count)]
    return BatchValidation(batch, count, count, problems, dict.fromkeys(range(count), text))


def batch_view(count: int, text: str) -> NamedBatch:
    batch = object.__new__(NamedBatch)  # without a metastore
    batch._seen = lambda: (
        {**step(text), "status": "FAILED"},
        [seen(n, text) for n in range(count)],
    )
    return batch


def plan(count: int, text: str) -> SkipPlan:
    batch = {**step(text), "status": "FAILED"}
    jobs = [seen(n, text) for n in range(count)]
    refused = [replace(job, job_id=1000 + job.job_id, skipped=True) for job in jobs]
    return SkipPlan(batch, [*jobs, *refused], with_configurations=True)


def acts(count: int, text: str) -> History:
    act = {
        "created_ts": NOON,
        "person": text,
        "kind": "SKIP",
        "status": "DONE",
        "batch_id": 1,
        "job_id": 2,
        "new_job_id": None,
        "cycle_name": text,
        "reason": text,
        "outcome": text,
    }
    return History([act] * count, text)


def steps(count: int, text: str) -> Board:
    batch = StepBatch(1, text, "FAILED", NOON, NOON, {"FAILED": 1})
    return Board([StepRow(text, 3, text, n, text, [batch]) for n in range(count)], NOON)


def step_jobs(count: int, text: str) -> JobsReport:
    jobs = [
        StepJob(
            n, 1, text, "FAILED", NOON, 3.0, f"{text} {n}", text, why_late=text if n % 2 else None
        )
        for n in range(count)
    ]
    return JobsReport([StepJobs(text, text, jobs, NOON)], NOON)


def night(count: int, text: str) -> NightHistory:
    bar = Span(NOON, NOON + MINUTE, Severity.ERROR, text)
    lanes = [Lane(text, [bar], [Mark(NOON, Severity.OK, text)])] * count
    return NightHistory(lanes, [], NOON, NOON + MINUTE)


def check(count: int, text: str) -> CheckReport:
    return CheckReport((Remark(text, text, Severity.ERROR),) * count)


def monitoring(count: int, text: str) -> Monitoring:
    return Monitoring(health(count, text))


MAKERS = [
    monitoring,
    *(found, polled, reconciled, chained, summary, waiting, stage, where, submitted),
    *(news, batch_view, validation, plan, acts, steps, step_jobs, night, check),
]
every_report = pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)


def test_every_kind_of_report_is_in_these_tests():
    ours = (
        "helpers.monitor",
        "helpers.stage",
        "helpers.board",
        "helpers.check",
        "helpers.attention",
    )
    for module in ours:
        importlib.import_module(module)
    made = {type(make(0, "")) for make in MAKERS}
    kinds = {kind for kind in Report.__subclasses__() if kind.__module__.startswith(ours)}
    assert kinds <= made
    assert all(issubclass(kind, Report) for kind in made)


class _Balance(HTMLParser):
    """Checks that what is opened is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def html_of(report: Report) -> str:
    html = report._repr_html_()
    balance = _Balance()
    balance.feed(html)
    balance.close()
    assert balance.open == []
    return html


@every_report
@pytest.mark.parametrize("count", [0, 1, 2, 250])
def test_text_is_plain_and_without_blank_lines_at_its_ends(make, count):
    text = str(make(count, "Analysis"))

    assert repr(make(count, "Analysis")) == text
    assert text
    assert text == text.strip("\n")
    assert not re.search(r"<[a-z/]", text)
    assert "\n\n\n" not in text
    assert not [line for line in text.split("\n") if line != line.rstrip()]
    html_of(make(count, "Analysis"))


@every_report
def test_hostile_values_are_shown_as_they_are_and_escaped(make):
    report = make(1, HOSTILE)

    assert SEEN in str(report)
    html = html_of(report)
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    for shown in (str(report), html):
        assert not re.search("[\x00\x1b\u202e]", shown)


@pytest.mark.parametrize(
    ("make", "more"),
    [
        (found, {"150 more batches"}),
        (polled, {"150 more batches", "151 more remarks"}),
        (reconciled, {"150 more batches", "150 more remarks"}),
        (chained, {"150 more steps", "150 more remarks"}),
        (summary, {"200 more items", "150 more remarks"}),
        (waiting, {"200 more items"}),
        (stage, {"150 more reasons"}),
        (submitted, {"150 more errors"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_long_report_is_cut_and_says_how_much_is_missing(make, more):
    report = make(250, "Analysis")

    for shown in (str(report), html_of(report)):
        assert set(re.findall(r"… and (\d+ more \w+)", shown)) == more
    assert str(report).count("\n") < 1200


@every_report
def test_a_report_cut_at_exactly_its_limit_misses_nothing(make):
    if make not in {summary, waiting}:  # whose list of things to do is cut before
        assert "… and" not in str(make(99, "x")) + html_of(make(99, "x"))


def test_the_summary_shows_all_five_metrics_and_what_it_took():
    text = str(summary(1, "Analysis"))

    for label in (
        "batches found",
        "batches processed",
        "jobs polled",
        "status transitions",
        "chain executions",
        "errors",
        "next run",
    ):
        assert re.search(rf"^  {label}\s+\S", text, re.MULTILINE)
    assert "took 3.2 s" in text
    assert "As of 1 Mar 2025, " in text


def test_the_summary_is_not_calm_while_monitoring_itself_is_uncertain():
    calm = summary(0, "")
    assert (calm.headline, calm.severity) == ("All is well; nothing is active.", Severity.NEUTRAL)

    calm.warnings.append("Monitoring is not on.")
    calm.cards_waiting = 3

    headline = "3 cards not sent yet, 1 warning about monitoring itself; nothing is active."
    assert (calm.headline, calm.severity) == (headline, Severity.WARNING)


def test_a_submission_that_only_failed_does_not_promise_the_next_step():
    one = submitted(1, "Refused.")
    assert "takes over from here" in html_of(one)

    one.submissions[0]["submitted"] = 0
    assert "takes over from here" not in html_of(one)
    assert "then resubmit" in html_of(one)


def test_a_report_displays_itself_in_ipython_as_html_and_text():
    shell = InteractiveShell.instance()
    data, _ = shell.display_formatter.format(found(1, "Analysis"))
    assert data["text/html"].lstrip().startswith("<style>")
    assert data["text/plain"].startswith("1 active batch found.")


# --- Progress.


def test_progress_is_silent_where_nobody_watches(monkeypatch):
    nobody = StringIO()
    monkeypatch.setattr(sys, "stderr", nobody)
    bar = progress(3, "Polling", "jobs")
    for _ in range(3):
        bar.update()
    bar.close()
    assert nobody.getvalue() == ""


def test_jobs_that_moved_alike_are_shown_together():
    moves = {(2, "RUNNING", "FINISHED"): [7, 5], (1, "QUEUED", "FAILED"): [6]}
    report = PollReport(jobs_due=3, jobs_polled=3, moves=moves)

    assert report.jobs_moved == 3
    assert "2         2  ● RUNNING  ✔ FINISHED  5, 7" in str(report)


@pytest.mark.parametrize(
    ("remarks", "about", "text"),
    [
        # alone, with its id
        ([("Job 5", "job 900 is gone")], "Job 5", "job 900 is gone"),
        # texts that differ in the id of their job only
        (
            [("Job 5", "job 900 is gone"), ("Job 6", "job 901 is gone")],
            "Jobs 5, 6",
            "job … is gone",
        ),
        (
            [(f"Job {n}", f"302 for job {n}, to https://login.example/") for n in range(400)],
            "Jobs 0, 1, 2, 3, 4, 5, 6, 7 and 392 more",
            "302 for job …, to https://login.example/",
        ),
        # different things
        ([("Batch 1", "locked"), ("Job 5", "locked")], "Batch 1, Job 5", "locked"),
    ],
)
def test_what_concerns_many_jobs_is_shown_once_with_how_many(remarks, about, text):
    assert grouped_by_text([Remark(*remark) for remark in remarks]) == [Remark(about, text)]


def test_what_differs_in_more_than_the_job_stays_apart():
    remarks = [Remark("Job 5", "job 900: HTTP 500"), Remark("Job 6", "job 901: HTTP 502")]

    assert grouped_by_text(remarks) == remarks

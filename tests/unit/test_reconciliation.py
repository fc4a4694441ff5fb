from datetime import timedelta

import pytest

from helpers.constants import BatchStatus, BatchType
from helpers.reconciliation import BatchFacts, decide, patience, stuck_lines

COMPLETED, ACTIVE = BatchStatus.COMPLETED, BatchStatus.ACTIVE
CANCELLED, ERROR, FAILED = BatchStatus.CANCELLED, BatchStatus.ERROR, BatchStatus.FAILED


def facts(jobs: str = "", *, configs: str = "") -> BatchFacts:
    """Facts of jobs, ids from 1 on, and of configurations, ids from 101 on.

    Jobs are labels, "-" before a skipped one; configurations are "+" with a success, "o" without
    one, and "-" skipped.
    """
    labels = jobs.split()
    live = {i: label for i, label in enumerate(labels, 1) if not label.startswith("-")}
    counts: dict[str, int] = {}
    for label in labels:
        key = "SKIPPED" if label.startswith("-") else label
        counts[key] = counts.get(key, 0) + 1

    def ids(label: str) -> list[int]:
        return [i for i, of_job in live.items() if of_job == label]

    return BatchFacts(
        total_jobs=len(labels),
        non_skipped_jobs=len(live),
        job_status_counts=counts,
        failed_job_ids=ids("FAILED"),
        cancelled_job_ids=ids("CANCELLED"),
        error_job_ids=ids("ERROR"),
        total_configs=len(configs),
        non_skipped_configs=len(configs.replace("-", "")),
        fulfilled_configs=configs.count("+"),
        unfulfilled_config_ids=[101 + i for i, mark in enumerate(configs) if mark == "o"],
    )


@pytest.mark.parametrize(
    ("jobs", "configs", "status", "needs_attention"),
    [
        # an empty batch has nothing to wait for
        ("", "", COMPLETED, False),
        # everything skipped is as empty
        ("-RUNNING -FAILED", "--", COMPLETED, False),
        # a configuration without a job waits for a person
        ("", "o", ACTIVE, True),
        # so does one whose jobs are all skipped
        ("-FINISHED", "o", ACTIVE, True),
        # each status that is not terminal keeps the batch active
        ("INITIATED", "o", ACTIVE, False),
        ("SUBMITTED", "o", ACTIVE, False),
        ("PENDING", "o", ACTIVE, False),
        ("QUEUED", "o", ACTIVE, False),
        ("RUNNING", "o", ACTIVE, False),
        ("CANCEL_REQUESTED", "o", ACTIVE, False),
        ("CANCELLING", "o", ACTIVE, False),
        # one running job outweighs every end of the others
        ("RUNNING ERROR FAILED CANCELLED", "oooo", ACTIVE, False),
        ("RUNNING CANCELLED CANCELLED", "ooo", ACTIVE, False),
        # a running job keeps it active even where every configuration is fulfilled
        ("RUNNING FINISHED", "+", ACTIVE, False),
        # a skipped running job does not
        ("-RUNNING FINISHED", "+", COMPLETED, False),
        # all cancelled
        ("CANCELLED CANCELLED", "oo", CANCELLED, False),
        ("CANCELLED -FINISHED", "o", CANCELLED, False),
        # not all cancelled: a finished one leaves the others' configurations open
        ("CANCELLED FINISHED", "o+", ACTIVE, True),
        # cancelled, and done again: fulfilled
        ("CANCELLED FINISHED", "+", COMPLETED, False),
        # ERROR comes before FAILED, and FAILED before COMPLETED
        ("ERROR FAILED FINISHED", "oo+", ERROR, False),
        ("ERROR CANCELLED", "oo", ERROR, False),
        ("FAILED CANCELLED", "oo", FAILED, False),
        ("FAILED FINISHED", "o+", FAILED, False),
        # a failure counts although another job fulfils its configuration: skip it to go on
        ("FAILED FINISHED", "+", FAILED, False),
        ("-FAILED FINISHED", "+", COMPLETED, False),
        # every configuration has its success
        ("FINISHED FINISHED", "++", COMPLETED, False),
        # a skipped configuration needs none
        ("FINISHED", "+-", COMPLETED, False),
        # jobs without any configuration are done when they are finished
        ("FINISHED", "", COMPLETED, False),
        # one configuration was left out
        ("FINISHED", "+o", ACTIVE, True),
    ],
)
def test_a_batch_is_what_the_first_row_that_applies_says(jobs, configs, status, needs_attention):
    decision = decide(facts(jobs, configs=configs))

    assert (decision.status, decision.needs_attention) == (status, needs_attention)


@pytest.mark.parametrize(
    ("jobs", "configs", "wanted"),
    [
        ("", "", "Nothing to do: the batch is empty."),
        # what runs, what waits, what is not sent, what is done, and what has already failed
        (
            "RUNNING RUNNING QUEUED INITIATED FINISHED FAILED ERROR",
            "ooooooo",
            "1 initiated, 1 queued, 2 running; 1 of 7 finished; 2 already failed.",
        ),
        ("RUNNING -FAILED", "o", "1 running; 0 of 1 finished."),
        ("CANCELLED", "o", "All 1 job cancelled."),
        ("CANCELLED CANCELLED", "o", "All 2 jobs cancelled."),
        ("FINISHED ERROR", "+o", "1 of 2 jobs not submitted."),
        # without skipped jobs, and without naming any
        ("FAILED FAILED FINISHED -FAILED", "oo+o", "2 of 3 jobs failed."),
        ("FINISHED FINISHED", "++", "2 jobs done."),
        (
            "FINISHED CANCELLED",
            "+o",
            (
                "No success for configuration 102: no job of it has finished. "
                "Resubmit it, or skip the configuration."
            ),
        ),
        (
            "-FAILED",
            "o",
            (
                "No success for configuration 101: every job is skipped. "
                "Resubmit it, or skip the configuration."
            ),
        ),
        (
            "",
            "oo",
            (
                "No success for configurations 101, 102: they have no job. "
                "Resubmit them, or skip the configurations."
            ),
        ),
        (
            "",
            "o+",
            (
                "No success for configuration 101: it has no job. "
                "Resubmit it, or skip the configuration."
            ),
        ),
        (
            "FINISHED CANCELLED",
            "+oo",
            (
                "No success for configurations 102, 103: no job of theirs has finished. "
                "Resubmit them, or skip the configurations."
            ),
        ),
    ],
)
def test_the_reason_says_what_holds_a_batch_or_ended_it(jobs, configs, wanted):
    assert decide(facts(jobs, configs=configs)).reason == wanted


def test_the_summary_keeps_the_keys_of_the_reconciliation_log():
    summary = facts("FINISHED FAILED -RUNNING CANCELLED ERROR", configs="+o-").summary()

    assert summary == {
        "total_configs": 3,
        "non_skipped_configs": 2,
        "fulfilled_configs": 1,
        "unfulfilled_configs": 1,
        "unfulfilled_config_ids": [102],
        "total_jobs": 5,
        "non_skipped_jobs": 4,
        "job_status_counts": {
            "FINISHED": 1,
            "FAILED": 1,
            "SKIPPED": 1,
            "CANCELLED": 1,
            "ERROR": 1,
        },
        "failed_job_ids": [2],
        "cancelled_job_ids": [4],
        "error_job_ids": [5],
    }


@pytest.mark.parametrize("batch_type", sorted(BatchType.polled()))
def test_patience_is_longer_than_a_queue_and_far_longer_than_the_work(batch_type):
    assert patience(batch_type) >= timedelta(hours=4)


def test_patience_with_a_type_that_nobody_knows_is_that_of_a_queue():
    assert patience("Something New") == timedelta(hours=4)


@pytest.mark.parametrize(
    ("batch_type", "slowest_seen"), [(BatchType.GEOHAZ, 513), (BatchType.ANALYSIS, 501)]
)
def test_patience_grows_with_what_a_type_was_seen_to_take(batch_type, slowest_seen):
    assert patience(batch_type.value) == timedelta(seconds=30 * slowest_seen)


def stuck(**facts: object) -> dict[str, object]:
    return {
        "job_id": 7,
        "status": "RUNNING",
        "moodys_workflow_id": "12345678",
        "updated_ts": None,
        "last_status": None,
        "error_message": None,
        "http_status": None,
        "was_sent": False,
        "is_prepared": False,
        "last_error": None,
        "total": 1,
        **facts,
    }


@pytest.mark.parametrize(
    ("job", "line"),
    [
        # never sent
        (
            stuck(status="INITIATED", moodys_workflow_id=None),
            "Job 7 was never submitted: submit its batch again, or skip it.",
        ),
        # sent, and the answer was lost: skipping it could leave it running unseen
        (
            stuck(moodys_workflow_id=None, was_sent=True, last_error="Timed out."),
            "Job 7: Timed out. Submit its batch again.",
        ),
        # sent by a process that died before the answer
        (
            stuck(moodys_workflow_id=None, was_sent=True),
            "Job 7: its submission was cut off. Submit its batch again.",
        ),
        # the last poll failed
        (
            stuck(error_message="Moody's does not know job 12345678 (404).", http_status=404),
            "Job 7: Moody's does not know job 12345678 (404).",
        ),
        # a status that nobody knows
        (
            stuck(last_status="HIBERNATING"),
            "Job 7: Moody's says 'HIBERNATING', an unrecognised status; the job was left unchanged.",  # noqa: E501
        ),
        # one that nobody knows, with what was wrong about it
        (
            stuck(last_status="HIBERNATING", error_message="Moody's answered nonsense."),
            "Job 7: Moody's answered nonsense.",
        ),
        # no change for long
        (
            stuck(last_status="RUNNING"),
            "Job 7 has been RUNNING for over 4 hours: look at it at Moody's.",
        ),
        # no answer yet, and nothing wrong
        (stuck(), "Job 7 has been RUNNING for over 4 hours: look at it at Moody's."),
        # a status of a later version, or set by hand
        (
            stuck(status="HIBERNATING"),
            (
                "Job 7: HIBERNATING is an unrecognised status; the job is not polled. Set it to "
                "one of INITIATED, SUBMITTED, PENDING, QUEUED, RUNNING, FINISHED, FAILED, "
                "CANCEL_REQUESTED, CANCELLING, CANCELLED, ERROR."
            ),
        ),
    ],
)
def test_a_stuck_job_is_shown_with_its_reason(job, line):
    assert stuck_lines([job], batch_type=BatchType.ANALYSIS) == [line]


def test_work_of_the_notebook_itself_is_not_called_a_submission():
    job = stuck(status="INITIATED", moodys_workflow_id=None)

    [line] = stuck_lines([job], batch_type=BatchType.DATA_EXTRACTION)

    assert line == "Job 7 is not done: run the step's notebook again, or skip it."


@pytest.mark.parametrize(
    "job",
    [
        stuck(status="INITIATED", moodys_workflow_id=None, is_prepared=True),
        stuck(status="INITIATED", moodys_workflow_id=None, was_sent=True, last_error="Odd."),
        stuck(last_status="RUNNING"),
    ],
)
def test_a_job_of_a_type_that_nobody_knows_waits_for_a_person(job):
    [line] = stuck_lines([job, {**job, "job_id": 8}], batch_type="analysis")

    assert line.startswith("Job 7, Job 8: neither submitted nor polled. 'analysis' is not a known")
    assert "did you mean 'Analysis'?" in line
    assert all(batch_type in line for batch_type in BatchType)
    assert line.endswith(" Correct the type of this batch in irp_batch.")


def test_own_work_under_a_type_of_the_team_s_own_is_own_work():
    job = stuck(status="INITIATED", moodys_workflow_id=None)

    [line] = stuck_lines([job], batch_type="Windstorm Magic")

    assert line == "Job 7 is not done: run the step's notebook again, or skip it."


def test_a_prepared_request_of_a_synchronous_type_is_not_called_own_work():
    job = stuck(status="INITIATED", moodys_workflow_id=None, is_prepared=True)

    [line] = stuck_lines([job], batch_type=BatchType.PORTFOLIO_CREATION)

    assert line == "Job 7 was never submitted: submit its batch again, or skip it."


def test_what_befell_many_submissions_is_listed_once():
    jobs = [
        stuck(job_id=n, moodys_workflow_id=None, was_sent=True, last_error="Moody's wanted no.")
        for n in range(1, 4)
    ]

    lines = stuck_lines(jobs, batch_type=BatchType.ANALYSIS)

    assert lines == ["Job 1, Job 2, Job 3: Moody's wanted no. Submit its batch again."]

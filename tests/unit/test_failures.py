"""What failed is told in one way: by name, together where the reason is the same."""

import pytest

from helpers.notifications.failures import Failures, grouped


def job(job_id, *, name=None, moodys_id=None, reason="EDM not found", status="FAILED", **more):
    return {
        "job_id": job_id,
        "name": name,
        "moodys_workflow_id": moodys_id,
        "status": status,
        "reason": reason,
        **more,
    }


@pytest.mark.parametrize(
    ("jobs", "who"),
    [
        # by name, first and alone, with Moody's id beside it
        (
            [job(4, name="CAL EQ - Commercial", moodys_id="1020")],
            "CAL EQ - Commercial (Moody's 1020)",
        ),
        ([job(4, name="CAL EQ - Marine")], "CAL EQ - Marine"),
        # some without a name
        (
            [job(4, name="A", moodys_id="1"), job(5, moodys_id="2")],
            "A (Moody's 1), job 5 (Moody's 2)",
        ),
        # by number if none has a name
        ([job(4, moodys_id="900"), job(5)], "Jobs 4 (Moody's 900), 5"),
        ([job(4)], "Job 4"),
        # an event that an older version stored
        ([job(4, moodys_id="900", made_from="edm: E1")], "Job 4 (edm: E1; Moody's 900)"),
        # all of few, and many counted
        ([job(n, name=f"N{n}", alike=400) for n in range(3)], "N0, N1, N2 and 397 more"),
        (
            [job(n, name=f"N{n}") for n in range(30)],
            f"{', '.join(f'N{n}' for n in range(8))} and 22 more",
        ),
    ],
)
def test_jobs_are_shown_as_people_know_them(jobs, who):
    [failure] = grouped(jobs)

    assert failure.who == who


def test_each_reason_is_shown_once():
    jobs = [job(1, name="A"), job(2, name="B", reason=None), job(3, name="C"), job(4, reason="")]

    assert [(f.reason, f.jobs) for f in grouped(jobs)] == [
        ("EDM not found", 2),
        ("No reason was given.", 2),
    ]


def test_the_same_words_of_a_failure_and_a_cancellation_stay_apart():
    jobs = [job(1, reason="stopped"), job(2, reason="stopped", status="CANCELLED")]

    assert [f.status for f in grouped(jobs)] == ["FAILED", "CANCELLED"]


def test_a_sentence_counts_what_it_does_not_name():
    jobs = [job(n, name=f"N{n}", reason=f"reason {n}") for n in range(5)]

    sentence = Failures(jobs, total=12).sentence(most=2)

    assert sentence == "N0: “reason 0”; N1: “reason 1”; 10 more jobs."

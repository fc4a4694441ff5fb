"""Which requests a misbehaviour hits, and what it does to what is said of a job."""

import pytest

from sandbox.misbehaviour import Call, Fault, Misbehaviour, Misbehaviours, edited

CALL = Call("model", "by-id", frozenset({"1"}))


def hits(call: Call = CALL, **scope) -> bool:
    return Misbehaviour(Fault.RESET, **scope).matches(call)


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ({}, True),
        ({"families": {"model"}}, True),
        ({"families": {"geohaz"}}, False),
        ({"kinds": {"by-id", "search"}}, True),
        ({"kinds": {"submit"}}, False),
        ({"job_ids": {"1", "2"}}, True),
        ({"job_ids": {"2"}}, False),
        ({"job_ids": [1]}, True),  # from JSON: a list, of numbers
        ({"families": {"model"}, "kinds": {"search"}}, False),  # all conditions must hold
        ({"times": 0}, False),
    ],
)
def test_a_misbehaviour_hits_what_its_scope_says(scope, expected):
    assert hits(**scope) is expected


def test_a_misbehaviour_for_one_job_hits_every_search_that_asks_for_it():
    assert hits(Call("model", "search", frozenset({"1", "2"})), job_ids={"2"})


def test_a_scope_that_is_a_string_is_refused():
    with pytest.raises(TypeError, match="families takes a list"):
        Misbehaviour(Fault.RESET, families="model")


def test_a_misbehaviour_for_the_next_few_requests_is_used_up():
    misbehaviours = Misbehaviours()
    reset = misbehaviours.add(Misbehaviour(Fault.RESET, times=2))
    fates = [misbehaviours.fate_of(CALL).misbehaviour for _ in range(3)]
    assert fates == [reset, reset, None]
    assert reset.hits == 2


def test_latencies_add_up_and_the_first_of_the_others_decides():
    misbehaviours = Misbehaviours()
    misbehaviours.add(Misbehaviour(Fault.LATENCY, seconds=0.25))
    first = misbehaviours.add(Misbehaviour(Fault.RESET))
    second = misbehaviours.add(Misbehaviour(Fault.HANG))
    misbehaviours.add(Misbehaviour(Fault.LATENCY, seconds=0.5))
    fate = misbehaviours.fate_of(CALL)
    assert (fate.delay_seconds, fate.misbehaviour) == (0.75, first)
    assert second.hits == 0


def test_lifting_ends_one_or_all():
    misbehaviours = Misbehaviours()
    first, second = (misbehaviours.add(Misbehaviour(Fault.HANG)) for _ in range(2))
    misbehaviours.lift(first)
    assert first.lifted
    assert misbehaviours.all() == [second]
    misbehaviours.lift()
    assert second.lifted
    assert misbehaviours.all() == []


BODY = {"jobId": "7", "status": "RUNNING", "name": "A"}


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault.UNKNOWN_STATUS, {**BODY, "status": "ARCHIVED"}),
        (Fault.LOWER_CASE_STATUS, {**BODY, "status": "running"}),
        (Fault.NO_STATUS, {"jobId": "7", "name": "A"}),
        (Fault.WRONG_JOB_ID, {**BODY, "jobId": "8"}),
        (Fault.NUL, {**BODY, "name": "half a\0name"}),
        (Fault.LONE_SURROGATE, {**BODY, "name": "half a character \ud83d"}),
    ],
)
def test_a_fault_changes_a_body_and_every_row_alike(fault, expected):
    how = Misbehaviour(fault)
    assert edited(BODY, how) == expected
    assert edited([BODY, BODY], how) == [expected, expected]


def test_a_legacy_body_keeps_an_int_for_its_id():
    assert edited({"id": 7, "status": "X"}, Misbehaviour(Fault.WRONG_JOB_ID))["id"] == 8


def test_only_the_rows_in_scope_are_changed():
    rows = [BODY, {**BODY, "jobId": "9"}]
    changed = edited(rows, Misbehaviour(Fault.NO_STATUS, job_ids={"9"}))
    assert ["status" in row for row in changed] == [True, False]


def test_rows_are_left_out_as_named_or_every_second_one():
    rows = [{**BODY, "jobId": str(number)} for number in range(4)]
    named = edited(rows, Misbehaviour(Fault.IDS_MISSING, job_ids={"0", "3"}))
    assert [row["jobId"] for row in named] == ["1", "2"]
    assert [r["jobId"] for r in edited(rows, Misbehaviour(Fault.IDS_MISSING))] == ["1", "3"]
    legacy = edited({"workflows": rows}, Misbehaviour(Fault.IDS_MISSING))
    assert [row["jobId"] for row in legacy["workflows"]] == ["1", "3"]


def test_an_answer_that_is_no_job_is_left_as_it_is():
    assert edited({"message": "x"}, Misbehaviour(Fault.NO_STATUS)) == {"message": "x"}

import json

from hypothesis import given
from hypothesis import strategies as st

from helpers.errors import MoodysError
from helpers.irp_integration.answers import Raw, job_body, search_rows
from helpers.irp_integration.bodies import failure_reason
from helpers.irp_integration.submissions import Outcome, judge
from helpers.text import clean, shorten, storable_json

anything = st.text(alphabet=st.characters(codec=None, exclude_categories=()))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | anything,
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(anything, children, max_size=4)
    ),
    max_leaves=20,
)
job_like = st.fixed_dictionaries(
    {},
    optional={
        "jobId": json_values,
        "id": json_values,
        "status": json_values | st.sampled_from(["RUNNING", "FAILED"]),
        "tasks": json_values | st.lists(st.fixed_dictionaries({"output": json_values})),
        "messages": json_values,
        "errorMessage": json_values,
        "details": json_values,
    },
)
contents = (
    st.binary()
    | json_values.map(lambda v: json.dumps(v).encode())
    | job_like.map(lambda v: json.dumps(v).encode())
)


def is_storable(text: str) -> bool:
    return "\x00" not in text and text.encode(errors="ignore").decode() == text


@given(anything)
def test_clean_text_can_be_stored_and_cleaned_again_without_change(text):
    cleaned = clean(text)

    assert is_storable(cleaned)
    assert "\x1b" not in cleaned
    assert clean(cleaned) == cleaned


@given(anything, st.integers(0, 300))
def test_a_shortened_text_is_never_too_long(text, limit):
    assert len(shorten(text, limit)) <= limit


@given(json_values)
def test_storable_json_is_json_that_the_database_holds(value):
    text = storable_json(value)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    assert is_storable(text)
    assert "\\u0000" not in text.replace("\\\\", "")
    json.loads(text, parse_constant=refuse)


def outcome(call, *args, **kwargs):
    """Return (what a call returned, None) or (None, the MoodysError that it raised)."""
    try:
        return call(*args, **kwargs), None
    except MoodysError as exc:
        return None, exc


@given(contents, st.sampled_from([200, 200, 200, 204, 400, 401, 403, 404, 429, 500]))
def test_no_answer_does_worse_than_to_be_no_job(content, http_status):
    """An answer is a job status only if every part of it says so."""
    body, error = outcome(job_body, Raw(http_status, content), workflow_id="23148952")

    if error is not None:
        assert error.http_status == http_status
        assert is_storable(str(error))
        return
    text = json.dumps(body, ensure_ascii=False)
    assert http_status == 200
    assert isinstance(body["status"], str)
    assert is_storable(text)
    assert "\\u0000" not in text.replace("\\\\", "")


@given(contents, st.sampled_from([200, 204, 401, 431, 500]))
def test_no_search_does_worse_than_to_find_nothing(content, http_status):
    rows, error = outcome(search_rows, Raw(http_status, content))

    if error is not None:
        assert error.http_status == http_status
    else:
        assert all(isinstance(row["status"], str) for row in rows.values())


@given(job_like)
def test_the_reason_of_a_failure_is_text_or_nothing(body):
    reason = failure_reason(body)

    assert reason is None or (reason == reason.strip() != "" and is_storable(reason))


@given(contents, st.integers(200, 599), anything)
def test_every_answer_to_a_submission_has_an_outcome_and_can_be_kept(content, status, location):
    """A submission is accepted only if Moody's says so and names the job."""
    judged = judge(Raw(status, content, {"Location": location}), is_polled=True)

    assert (judged.outcome is Outcome.ACCEPTED) == (judged.workflow_id is not None)
    assert is_storable(judged.response)
    assert json.loads(judged.response)["status"] == status

"""What an answer to a submission means, over the space of statuses, headers and bodies."""

import json

from hypothesis import example, given
from hypothesis import strategies as st

from helpers.irp_integration.submissions import Outcome, judge
from helpers.irp_integration.transport import Raw

texts = st.text(max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
own_errors = st.fixed_dictionaries(
    {"code": st.just("INT-999") | json_values, "message": texts | json_values},
    optional={"logId": texts},
)
bodies = st.one_of(
    st.just(b""),
    st.binary(max_size=30),
    st.sampled_from([b"<html>Log in</html>", b'{"message": "Forbidden"}', b'{"jobId": "7"']),
    (json_values | own_errors).map(lambda value: json.dumps(value).encode()),
)
locations = st.none() | st.sampled_from(["", "/login"]) | st.from_regex(r"/jobs/[0-9a-z]{1,9}/?")
answers = st.builds(
    lambda status, body, name, location: Raw(
        status, body, {} if location is None else {name: location}
    ),
    st.integers(100, 599) | st.sampled_from([200, 201, 204, 302, 400, 403, 404, 409, 429, 431]),
    bodies,
    st.sampled_from(["Location", "location"]),
    locations,
)


def value_of(raw: Raw) -> object:
    """Return the JSON value of a body; NotImplemented if it is none."""
    try:
        return json.loads(raw.content)
    except ValueError:
        return NotImplemented


def is_own_error(raw: Raw) -> bool:
    value = value_of(raw)
    return isinstance(value, dict) and all(
        isinstance(value.get(key), str) and value[key].strip() for key in ("code", "message")
    )


def names_a_job(raw: Raw) -> bool:
    last = "".join(raw.headers.values()).rstrip("/").rpartition("/")[2]
    return last.isascii() and last.isdecimal() and int(last) > 0


def is_result(raw: Raw) -> bool:
    if raw.content.strip() == b"":
        return raw.http_status in {201, 202, 204}
    return value_of(raw) is not NotImplemented


@given(answers, st.booleans())
@example(Raw(200, b"<html>", {}), False)
@example(Raw(302, b"", {"Location": "/jobs/7"}), True)
@example(Raw(201, b"", {"Location": "/jobs/000"}), True)
def test_only_moodys_own_acceptance_accepts(raw, is_polled):
    """A 2xx without an error: with the id of a job that is polled, else with a result."""
    own = names_a_job(raw) if is_polled else is_result(raw)
    accepted = 200 <= raw.http_status < 300 and not is_own_error(raw) and own

    judged = judge(raw, is_polled=is_polled)

    assert (judged.outcome is Outcome.ACCEPTED) == accepted
    assert (judged.workflow_id is not None) == (accepted and is_polled)
    assert (judged.problem == "") == accepted


@given(answers, st.booleans())
@example(Raw(403, b'{"message": "Forbidden"}', {}), True)
@example(Raw(201, b'{"code": "X", "message": "no"}', {"Location": "/jobs/7"}), True)
def test_only_moodys_own_error_ends_a_submission(raw, is_polled):
    """A key is dropped only after an error with code and message that no repeat would change."""
    judged = judge(raw, is_polled=is_polled)

    if judged.outcome is Outcome.REJECTED:
        assert is_own_error(raw)
        assert 400 <= raw.http_status < 500
        assert raw.http_status not in {401, 408, 409, 425, 429}


@given(answers, st.booleans())
def test_whatever_is_answered_is_described_without_a_page_of_html(raw, is_polled):
    judged = judge(raw, is_polled=is_polled)

    assert "<html" not in judged.problem
    assert json.loads(judged.response)["status"] == raw.http_status

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.irp_integration.answers import Raw, job_body
from helpers.irp_integration.bodies import MAX_BODY_BYTES, failure_reason, json_value, moodys_times

# --- A status that can be read counts, whatever else the body holds.

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
)
ODD = [
    pytest.param(b"NaN", "NaN", id="NaN"),
    pytest.param(b"-Infinity", "-Infinity", id="Infinity"),
    pytest.param(b"1e999", "1e999", id="infinite as a float"),
    pytest.param(b"1" * 5_000, "1" * 5_000, id="a number of 5,000 digits"),
    pytest.param(b"[" * 900 + b"]" * 900, None, id="900 levels"),
    pytest.param(b'{"x":' * 900 + b"0" + b"}" * 900, None, id="900 levels of objects"),
    pytest.param(b"[" * 100_000 + b"]" * 100_000, "(not kept: nested too deep)", id="100,000"),
    pytest.param(b'"M\xfcller"', "M\ufffdller", id="another encoding"),
    pytest.param(
        b'"' + b"x" * MAX_BODY_BYTES + b'"', f"(not kept: {MAX_BODY_BYTES + 2:,} bytes)", id="4 MB"
    ),
]


@pytest.mark.parametrize(("odd", "kept"), ODD)
@pytest.mark.parametrize("order", [b'"x": %s, "y": 1, %s', b'"y": 1, %s, "x": %s'])
def test_an_odd_value_keeps_no_job_from_its_end(odd, kept, order):
    status = b'"jobId": "7", "status": "FINISHED"'
    parts = (odd, status) if order.startswith(b'"x"') else (status, odd)

    body = job_body(Raw(200, b"{" + order % parts + b"}"), workflow_id="7")

    assert (body["status"], body["y"]) == ("FINISHED", 1)
    if kept is not None:
        assert body["x"] == kept
    json.dumps(body, allow_nan=False)


@given(rest=st.dictionaries(st.text(), JSON, max_size=5))
def test_whatever_stands_beside_a_status_the_status_counts(rest):
    content = json.dumps({**rest, "jobId": "7", "status": "FINISHED"}).encode()

    body = job_body(Raw(200, content), workflow_id="7")

    assert body["status"] == "FINISHED"
    stored = json.dumps(body, ensure_ascii=False, allow_nan=False)
    assert "\0" not in stored
    stored.encode()


@given(text=st.text(alphabet='{}[]:,"\\ax1 ', max_size=40), deep=st.integers(0, 1))
def test_the_members_of_a_deep_object_are_those_of_json(text, deep):
    """What is read in pieces, because it is deep, is read as the whole would be."""
    deep_text = '"deep": ' + "[" * 100_000 * deep + "]" * 100_000 * deep if deep else '"deep": 0'
    try:
        plain = json.loads(f'{{"deep": 0, {text}}}')
    except ValueError:
        plain = None
    try:
        value = json_value(f"{{{deep_text}, {text}}}".encode())
    except ValueError:
        value = None

    if plain is not None:
        assert value is not None
        assert {**value, "deep": 0} == {**plain, "deep": 0}
    elif value is not None:
        assert deep  # a member that cannot be read is no member


# --- Reasons.


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        # the first error that is not empty is the root cause
        (
            {
                "tasks": [
                    {"output": {"errors": []}},
                    {"output": {"errors": [{"message": ""}, {"message": "disk full"}]}},
                    {"output": {"errors": [{"message": "follows from it"}]}},
                ],
                "errorMessage": "generic",
            },
            "disk full",
        ),
        # then what older bodies have
        ({"tasks": [], "messages": [{"message": " late "}], "errorMessage": "x"}, "late"),
        ({"messages": [{"message": ""}], "errorMessage": "generic"}, "generic"),
        ({"details": {"summary": "EDM creation failed"}}, "EDM creation failed"),
        # nothing said
        ({}, None),
        ({"errorMessage": "   "}, None),
        # shapes that nobody expects
        ({"tasks": "none", "messages": 5, "details": []}, None),
        ({"tasks": [None, {"output": None}, {"output": {"errors": 5}}]}, None),
        ({"tasks": [{"output": {"errors": [None, {"message": 5}]}}], "errorMessage": "x"}, "x"),
        # errors as plain text, alone, or in an object
        ({"tasks": [{"output": {"errors": ["", "disk full"]}}]}, "disk full"),
        ({"tasks": [{"output": {"errors": "disk full"}}]}, "disk full"),
        ({"tasks": [{"output": {"errors": {"message": "disk full"}}}]}, "disk full"),
        ({"tasks": [{"error": {"message": "disk full"}}]}, "disk full"),
        ({"errors": [{"message": "disk full"}]}, "disk full"),
        ({"errors": ["disk full"]}, "disk full"),
        ({"message": "disk full"}, "disk full"),
        ({"error": "disk full"}, "disk full"),
        ({"error": {"message": "disk full"}}, "disk full"),
        # a legacy body
        ({"jobs": [{"output": {"errors": [{"message": "disk full"}]}}]}, "disk full"),
        ({"jobs": [{"output": {"uri": "/a/b", "log": "disk full"}}]}, "disk full"),
        ({"jobs": [{"output": "disk full"}], "summary": {"x": "has failed"}}, "disk full"),
        ({"summary": {"x": "Not Available", "y": "disk full"}}, "disk full"),
        (
            {
                "messages": [
                    {"message": "started", "type": "INFO"},
                    {"message": "x", "type": "ERROR"},
                ]
            },
            "x",
        ),
        # words that say nothing
        ({"tasks": [{"output": {"errors": ["Not Available", "disk full"]}}]}, "disk full"),
        ({"errorMessage": "Not Available: disk full"}, "disk full"),
        ({"errorMessage": "not available"}, None),
        ({"errorMessage": "Not available in this region"}, "Not available in this region"),
        # what a task that went well says is no reason
        (
            {
                "tasks": [{"status": "Succeeded", "output": {"summary": "all is well"}}],
                "summary": "it failed",
            },
            "it failed",
        ),
        # made fit to be stored and shown
        ({"errorMessage": "\x1b[31mbad\x00"}, "bad"),
    ],
)
def test_the_reason_of_a_failure_is_its_root_cause(body, reason):
    assert failure_reason(body) == reason


# --- Moody's own times.


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2026-03-02T14:00:38.251Z", datetime(2026, 3, 2, 14, 0, 38, 251_000, tzinfo=UTC)),
        ("2026-03-02T14:00:38Z", datetime(2026, 3, 2, 14, 0, 38, tzinfo=UTC)),
        ("2026-03-02T16:00:38+02:00", datetime(2026, 3, 2, 14, 0, 38, tzinfo=UTC)),
        # without a zone: UTC
        ("2026-03-02T14:00:38", datetime(2026, 3, 2, 14, 0, 38, tzinfo=UTC)),
        # never, or not a time
        ("0001-01-01T00:00:00Z", None),
        ("9999-12-31T23:59:59-14:00", None),
        ("yesterday", None),
        ("", None),
        (None, None),
        (5, None),
    ],
)
@pytest.mark.parametrize("keys", [("submittedAt", 0), ("startTime", 1), ("endedAt", 2)])
def test_times_are_read_in_each_form_that_moodys_writes(written, moment, keys):
    key, position = keys

    assert moodys_times({key: written})[position] == moment

import json

import pytest

from helpers.irp_integration.submissions import Outcome, deciphered
from helpers.irp_integration.transport import Raw


def answer(http_status: int, *, location: str | None = None, content: bytes = b"") -> Raw:
    return Raw(http_status, content, {} if location is None else {"Location": location})


@pytest.mark.parametrize(
    ("location", "workflow_id"),
    [
        ("https://api-euw1.rms.com/platform/model/v1/jobs/23148952", "23148952"),
        ("/platform/model/v1/jobs/23148952", "23148952"),
        ("platform/model/v1/jobs/23148952/", "23148952"),
        ("/jobs/23148952?expand=tasks#top", "23148952"),
        ("23148952", "23148952"),
    ],
)
def test_the_job_is_the_last_segment_of_location(location, workflow_id):
    said = deciphered(answer(201, location=location), needs_id=True)

    assert (said.outcome, said.workflow_id) == (Outcome.TAKEN, workflow_id)


@pytest.mark.parametrize(
    "location",
    [
        None,
        "",
        "/",
        "/jobs/",
        # no number
        "/jobs/abc",
        "/jobs/٣",
        # longer than the column
        "/jobs/" + "1" * 51,
        # no address at all
        "http://[broken/jobs/x",
    ],
)
def test_taken_without_a_job_named_is_in_doubt_and_not_refused(location):
    said = deciphered(answer(201, location=location), needs_id=True)

    assert (said.outcome, said.workflow_id) == (Outcome.IN_DOUBT, None)
    assert "Location" in said.problem


def test_a_synchronous_request_needs_no_job():
    said = deciphered(answer(200, content=b'{"id": 5}'), needs_id=False)

    assert said.outcome is Outcome.TAKEN
    assert json.loads(said.response)["body"] == {"id": 5}


@pytest.mark.parametrize(
    ("http_status", "outcome"),
    [
        # taken: 202 is the legacy family's
        (201, Outcome.TAKEN),
        (202, Outcome.TAKEN),
        # turned down for good
        (400, Outcome.REFUSED),
        # a gateway in place of Moody's
        (403, Outcome.IN_DOUBT),
        (404, Outcome.IN_DOUBT),
        (302, Outcome.REFUSED),
        (422, Outcome.REFUSED),
        # the first try is still at work
        (409, Outcome.IN_DOUBT),
        # to be tried again as it is
        (401, Outcome.IN_DOUBT),
        (408, Outcome.IN_DOUBT),
        (429, Outcome.IN_DOUBT),
        # carried out or not: nobody knows
        (500, Outcome.IN_DOUBT),
        (502, Outcome.IN_DOUBT),
        (503, Outcome.IN_DOUBT),
        (504, Outcome.IN_DOUBT),
    ],
)
def test_only_an_answer_that_turns_the_request_down_refuses_it(http_status, outcome):
    said = deciphered(answer(http_status, location="/jobs/1"), needs_id=True)

    assert said.outcome is outcome


@pytest.mark.parametrize("http_status", [403, 404])
def test_moodys_own_error_refuses_and_a_page_of_its_gateway_does_not(http_status):
    own, page = b'{"code": "X", "message": "no such portfolio"}', b"<html>Request blocked</html>"

    outcomes = [
        deciphered(answer(http_status, content=content), needs_id=True).outcome
        for content in (own, page)
    ]

    assert outcomes == [Outcome.REFUSED, Outcome.IN_DOUBT]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"code": "X", "message": "no such portfolio"}', '400: "no such portfolio"'),
        (b"<html>secret</html>", "(400)"),
        (b'{"message": 5}', "(400)"),
        (b"[]", "(400)"),
        (b"", "(400)"),
    ],
)
def test_a_refusal_tells_moodys_own_words_and_no_page(content, words):
    problem = deciphered(answer(400, content=content), needs_id=True).problem

    assert words in problem
    assert "<html>" not in problem


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        (b"", None),
        (b'{"jobId": "1"}', {"jobId": "1"}),
        # what jsonb cannot hold is kept as the text that it was
        (b'{"a": "b\\u0000"}', {"a": "b"}),
        (b'{"a": "b\\ud800"}', {"a": "b"}),
        (b'{"a": NaN}', '{"a": NaN}'),
        (b"nul\x00 and \xff", "nul and \ufffd"),
    ],
)
def test_any_answer_can_be_kept(content, kept):
    response = deciphered(answer(201, location="/jobs/1", content=content), needs_id=True).response

    assert json.loads(response) == {"status": 201, "location": "/jobs/1", "body": kept}

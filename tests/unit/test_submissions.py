import json

import pytest

from helpers.irp_integration.submissions import Outcome, judge
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
        ("https://api-euw1.rms.com/platform/model/v1/jobs/000777", "777"),
    ],
)
def test_the_job_is_the_last_segment_of_location(location, workflow_id):
    judged = judge(answer(201, location=location), is_polled=True)

    assert (judged.outcome, judged.workflow_id) == (Outcome.ACCEPTED, workflow_id)


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
        "/jobs/-7",
        # the ids begin with 1
        "/jobs/0",
        "/jobs/000",
        # longer than the column
        "/jobs/" + "1" * 51,
        # no address at all
        "http://[broken/jobs/x",
    ],
)
def test_taken_without_a_job_named_leaves_the_outcome_unknown(location):
    judged = judge(answer(201, location=location), is_polled=True)

    assert (judged.outcome, judged.workflow_id) == (Outcome.UNKNOWN, None)
    assert "Location" in judged.problem


OWN_ERROR = b'{"code": "INT-999", "message": "no such portfolio", "logId": "1"}'
NOT_OWN_ERRORS = [
    b"",
    b"<html>Request blocked</html>",
    # the gateways' own shapes
    b'{"message": "Forbidden"}',
    b'{"code": 403, "message": "Forbidden"}',
    b'{"code": "X", "message": ["no such portfolio"]}',
    b'{"code": " ", "message": "no such portfolio"}',
    b'{"error": {"code": "X", "message": "no such portfolio"}}',
    b'[{"code": "X", "message": "no such portfolio"}]',
    b'{"code": "X", "message": "cut o',
    b"null",
]


@pytest.mark.parametrize("http_status", [400, 403, 404, 415, 422, 431])
def test_moodys_own_error_rejects_a_request_for_good(http_status):
    judged = judge(answer(http_status, content=OWN_ERROR, location="/jobs/1"), is_polled=True)

    assert (judged.outcome, judged.workflow_id) == (Outcome.REJECTED, None)
    assert judged.problem == f'Moody\'s rejected the request ({http_status}: "no such portfolio").'


@pytest.mark.parametrize(
    "http_status",
    [
        # no error belongs here
        200, 201, 202,
        # not from Moody's
        302, 307, 407,
        # the first try is still processed
        409,
        # to be tried again as it is
        401, 408, 425, 429,
        # carried out or not: nobody knows
        500, 502, 503, 504,
    ],
)  # fmt: skip
def test_moodys_own_error_leaves_the_outcome_unknown_if_its_status_does_not_reject(http_status):
    judged = judge(answer(http_status, content=OWN_ERROR, location="/jobs/1"), is_polled=True)

    assert (judged.outcome, judged.workflow_id) == (Outcome.UNKNOWN, None)
    assert judged.problem.startswith(f"Moody's answered {http_status}")


@pytest.mark.parametrize("content", NOT_OWN_ERRORS)
@pytest.mark.parametrize("http_status", [302, 400, 403, 404, 407, 409, 422, 431, 500, 503])
@pytest.mark.parametrize("is_polled", [True, False])
def test_what_is_not_moodys_own_error_rejects_nothing(http_status, content, is_polled):
    judged = judge(answer(http_status, content=content, location="/jobs/1"), is_polled=is_polled)

    assert (judged.outcome, judged.workflow_id) == (Outcome.UNKNOWN, None)


@pytest.mark.parametrize("http_status", [200, 201, 202, 204])
def test_a_synchronous_request_needs_a_result_and_no_job(http_status):
    judged = judge(answer(http_status, content=b'{"id": 5}', location="/x/5"), is_polled=False)

    assert (judged.outcome, judged.workflow_id) == (Outcome.ACCEPTED, None)
    assert json.loads(judged.response)["body"] == {"id": 5}


@pytest.mark.parametrize(
    ("http_status", "content", "outcome"),
    [
        # done, with nothing to say
        (201, b"", Outcome.ACCEPTED),
        (202, b" ", Outcome.ACCEPTED),
        (204, b"", Outcome.ACCEPTED),
        # an empty page, or a login page
        (200, b"", Outcome.UNKNOWN),
        (200, b"<html>Log in</html>", Outcome.UNKNOWN),
        (201, b"<html>Log in</html>", Outcome.UNKNOWN),
        (200, b'{"id": 5', Outcome.UNKNOWN),
        (206, b"", Outcome.UNKNOWN),
    ],
)
def test_a_success_that_holds_no_result_is_no_success(http_status, content, outcome):
    assert judge(answer(http_status, content=content), is_polled=False).outcome is outcome


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (answer(400, content=b"<html>secret</html>"), "400, with an HTML page"),
        (
            answer(403, content=b'{"message": "Forbidden"}'),
            '403: "Forbidden", which is not an error of',
        ),
        (answer(400, content=b"[]"), "answered 400, which is not an error"),
        (answer(407), "Check HTTPS_PROXY"),
        (
            answer(302, location="https://u:pass@sso.test/login?to=1"),
            "redirect to https://sso.test/",
        ),
        (answer(307, location="/platform/model/v1/jobs/23148952"), "to /platform/model/v…/jobs/…"),
        (answer(302), "redirect to nowhere"),
        (answer(302, location="http://[broken"), "an address that makes no sense"),
        (answer(201, content=OWN_ERROR), "an error under a status of success"),
    ],
)
def test_an_unknown_outcome_says_what_to_look_at_and_shows_no_page(raw, words):
    problem = judge(raw, is_polled=True).problem

    assert words in problem
    assert "<html>" not in problem
    assert "pass" not in problem
    assert "23148952" not in problem  # the same for every job


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        (b"", None),
        (b'{"jobId": "1"}', {"jobId": "1"}),
        # what jsonb cannot hold is kept as the text that it was
        (b'{"a": "b\\u0000"}', {"a": "b"}),
        (b'{"a": "b\\ud800"}', {"a": "b"}),
        (b'{"a": NaN}', {"a": "NaN"}),
        (b"nul\x00 and \xff", "nul and \ufffd"),
    ],
)
def test_any_answer_can_be_kept(content, kept):
    response = judge(answer(201, location="/jobs/1", content=content), is_polled=True).response

    assert json.loads(response) == {"status": 201, "location": "/jobs/1", "body": kept}

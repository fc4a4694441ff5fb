import json

import pytest

from helpers.errors import MoodysCredentialsError, MoodysError
from helpers.irp_integration.answers import (
    is_down,
    job_body,
    search_rows,
    status_of,
)
from helpers.irp_integration.bodies import MAX_READ_BYTES

JOB = {"jobId": "23148952", "status": "RUNNING", "progress": 40}


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def read(content: bytes, *, http_status: int = 200) -> dict[str, object]:
    return job_body(content, http_status=http_status, workflow_id="23148952")


def test_a_job_is_returned_whole():
    assert read(encoded(JOB)) == JOB


@pytest.mark.parametrize(
    "body",
    [
        # the legacy body's id is a number
        {"id": 23148952, "status": "FINISHED"},
        # an export has no warnings, a legacy body no details
        {"jobId": "23148952", "status": "QUEUED"},
        # a label that nobody knows is still a status
        {"jobId": "23148952", "status": "HIBERNATING"},
        # no id at all: the path named it
        {"status": "RUNNING"},
    ],
)
def test_shapes_that_moodys_is_known_to_use_are_jobs(body):
    assert read(encoded(body)) == body


@pytest.mark.parametrize(
    ("http_status", "content", "message"),
    [
        # not ready: ask again
        (204, b"", "Moody's has nothing to say about job 23148952 yet (204)."),
        # wrong family, not visible, or gone
        (404, b"", "Moody's does not know job 23148952 (404)"),
        (404, encoded(JOB | {"status": "FINISHED"}), "Moody's does not know job 23148952 (404)"),
        # the CDN in front
        (
            403,
            b"<!DOCTYPE html><html>...",
            "denies access (403), with an HTML page.",
        ),
        (403, b"  <HTML>", "(403), with an HTML page."),
        (403, b'{"message": "Forbidden"}', '(403): "Forbidden".'),
        # throttled or down
        (429, b"slow down", "Moody's asks for fewer requests (429)."),
        (502, b"<html>Bad gateway</html>", "down or overloaded (502), with an HTML page."),
        (503, b"", "Moody's is down or overloaded (503)."),
        (504, b"", "Moody's is down or overloaded (504)."),
        # Moody's own shape
        (
            500,
            b'{"code": "INT-999", "message": "Internal", "logId": "x"}',
            'down or overloaded (500): "Internal".',
        ),
        # an error body that is anything
        (400, b'{"message": {"deep": 1}}', "answered job 23148952 with 400."),
        (400, b"[" * 100_000, "answered job 23148952 with 400."),
        (400, b"\xff\xfe\x00", "answered job 23148952 with 400."),
        (431, b"", "answered job 23148952 with 431."),
        # a redirect is not followed, and is no answer
        (302, b"", "Moody's answered 302, a redirect to nowhere"),
        (407, b"<html>Proxy</html>", "answered 407: a proxy wants a login. Check HTTPS_PROXY."),
        # created is no answer to a read
        (201, encoded(JOB), "answered job 23148952 with 201."),
    ],
)
def test_an_answer_that_is_no_job_is_described(http_status, content, message):
    with pytest.raises(MoodysError) as caught:
        read(content, http_status=http_status)

    assert message in str(caught.value)
    assert caught.value.http_status == http_status
    assert not isinstance(caught.value, MoodysCredentialsError)


@pytest.mark.parametrize("http_status", [301, 302, 303, 307, 308])
def test_a_redirect_is_described_in_the_same_words_for_every_job_with_its_target(http_status):
    message = set()
    for workflow_id in ("23148952", "23148953"):
        location = f"https://u:pass@sso.test/login/{workflow_id}?to={workflow_id}"
        with pytest.raises(MoodysError) as caught:
            job_body(b"", http_status=http_status, workflow_id=workflow_id, location=location)
        message.add(str(caught.value))

    [message] = message
    assert f"answered {http_status}, a redirect to https://sso.test/login/…: is a proxy" in message
    assert "RISK_MODELER_BASE_URL" in message


@pytest.mark.parametrize("content", [b'{"message": "Unauthorized"}', b"", b"<html>"])
def test_401_says_that_every_further_question_is_pointless(content):
    with pytest.raises(MoodysCredentialsError, match="RISK_MODELER_API_KEY") as caught:
        read(content, http_status=401)

    assert caught.value.http_status == 401


def test_an_error_is_never_repeated_whole():
    content = encoded({"message": "x" * 5_000 + "\x1b[31m\x00"})

    with pytest.raises(MoodysError) as caught:
        read(content, http_status=500)

    assert len(str(caught.value)) < 400
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"<html>login</html>", "not JSON"),
        # cut off
        (encoded(JOB)[:-5], "not JSON"),
        (b"\xff\xfe\xfa", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"status": "RUNNING", "x": ' + b"[" * 100_000, "not JSON"),
        (b'{"status": "RUNNING", "x": ' + b"[" * 100_000 + b"]" * 100_001, "not JSON"),
        # JSON, but no job
        (b"[]", "JSON that does not describe a job"),
        (b'"RUNNING"', "JSON that does not describe a job"),
        (b"null", "JSON that does not describe a job"),
        # what the database cannot hold
        (b'{"status": "FINI\\u0000SHED"}', "a status that is no text"),
        (b'{"status": "FINISHED\\ud800"}', "a status that is no text"),
        (b'{"status": "RUNNING", "sta\\u0000tus": "FINISHED"}', "a status that is no text"),
        (b'{"status": "RUNNING"}' + b" " * MAX_READ_BYTES, "more than 32 MB"),
        # a job without a status
        (b"{}", "no status"),
        (encoded(JOB | {"status": None}), "no status"),
        (encoded(JOB | {"status": ""}), "no status"),
        (encoded(JOB | {"status": "  "}), "no status"),
        (encoded(JOB | {"status": 3}), "no status"),
        (encoded(JOB | {"status": ["FINISHED"]}), "no status"),
        (encoded(JOB | {"status": "F" * 101}), "no status"),
        # somebody else's job
        (encoded(JOB | {"jobId": "99999999"}), "about job 99999999, not about job 23148952"),
        (encoded({"id": 1, "status": "FINISHED"}), "about job 1, not about job 23148952"),
        (encoded(JOB | {"jobId": None}), "not about job 23148952"),
        (encoded(JOB | {"jobId": {"x": 1}}), "not about job 23148952"),
    ],
)
def test_a_200_is_a_job_only_if_every_part_of_it_says_so(content, message):
    with pytest.raises(MoodysError, match=message) as caught:
        read(content)

    assert caught.value.http_status == 200


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        (b'{"status": "FAILED", "name": "a\\u0000b"}', {"name": "ab"}),
        (b'{"status": "FAILED", "name": "a\\\\\\u0000b"}', {"name": "a\\b"}),
        (b'{"status": "FAILED", "a\\u0000b": 1}', {"ab": 1}),
        (b'{"status": "FAILED", "name": "a\\ud800b"}', {"name": "ab"}),
    ],
)
def test_what_the_database_cannot_hold_does_not_keep_a_job_from_its_end(content, kept):
    """It stands in the body for ever."""
    assert read(content) == {"status": "FAILED", **kept}
    rows = search_rows(b'[{"jobId": "7", ' + content[1:] + b"]", http_status=200)
    assert rows == {"7": {"jobId": "7", "status": "FAILED", **kept}}


def test_an_escaped_backslash_before_u0000_is_no_nul():
    body = JOB | {"name": "C:\\u0000"}

    assert read(encoded(body)) == body


def test_a_body_as_deep_as_a_job_can_be_is_kept():
    deep: object = "x"
    for _ in range(150):
        deep = [deep]

    assert read(encoded(JOB | {"x": deep}))["x"] == deep


def test_rows_of_a_search_are_found_by_their_id_as_text():
    rows = [JOB, JOB | {"jobId": 23148953}]

    assert list(search_rows(encoded(rows), http_status=200)) == ["23148952", "23148953"]


def test_rows_that_are_no_job_are_left_out():
    rows = [None, "x", {}, {"jobId": "1"}, {"jobId": "2", "status": 5}, {"status": "RUNNING"}, JOB]

    assert list(search_rows(encoded(rows), http_status=200)) == ["23148952"]


@pytest.mark.parametrize(
    ("content", "http_status", "message"),
    [
        # an envelope where none belongs
        (b'{"totalMatchCount": 0, "workflows": []}', 200, "no list"),
        (b"null", 200, "no list"),
        # too long a query
        (b"", 431, "answered a search with 431"),
        (b"<html>", 403, r"denies access \(403\)"),
        (b"", 204, "nothing to say about a search"),
    ],
)
def test_a_search_that_is_no_list_is_described(content, http_status, message):
    with pytest.raises(MoodysError, match=message):
        search_rows(content, http_status=http_status)


def test_rows_that_disagree_about_a_job_are_left_out():
    rows = [JOB, JOB | {"status": "FINISHED"}, JOB, *[JOB | {"jobId": "1"}] * 2]

    assert list(search_rows(encoded(rows), http_status=200)) == ["1"]


def test_an_empty_search_is_no_error():
    assert search_rows(b"[]", http_status=200) == {}


@pytest.mark.parametrize(
    ("http_status", "down"),
    [(None, True), (429, True), (500, True), (503, True), (404, False), (403, False), (204, False)],
)
def test_an_answer_is_about_the_host_or_about_one_job(http_status, down):
    assert is_down(http_status) is down


def test_a_status_is_kept_word_for_word():
    assert status_of({"status": "Running "}, workflow_id="1") == "Running "

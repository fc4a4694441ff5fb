import json
import re

import pytest

from helpers.errors import MoodysCredentialsError, MoodysError
from helpers.irp_integration.answers import (
    DOWN_STATUSES,
    NOT_OF_THE_JOB,
    Raw,
    is_down,
    job_body,
    redirect,
    require_ok,
    search_rows,
    status_of,
    storable_body,
)
from helpers.irp_integration.bodies import MAX_READ_BYTES

JOB = {"jobId": "23148952", "status": "RUNNING", "progress": 40}


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def read(content: bytes, *, http_status: int = 200) -> dict[str, object]:
    return job_body(Raw(http_status, content), workflow_id="23148952")


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
        # as long a status as is kept
        {"jobId": "23148952", "status": "F" * 100},
    ],
)
def test_shapes_that_moodys_is_known_to_use_are_jobs(body):
    assert read(encoded(body)) == body


NOT_KNOWN = (
    "Moody's does not know job 23148952 (404): it belongs to another batch type, this key may not "
    "see it, or it is gone."
)


@pytest.mark.parametrize(
    ("http_status", "content", "message"),
    [
        # not ready: ask again
        (204, b"", "Moody's has nothing to say about job 23148952 yet (204)."),
        # wrong family, not visible, or gone
        (404, b"", NOT_KNOWN),
        (404, encoded(JOB | {"status": "FINISHED"}), NOT_KNOWN),
        # the CDN in front
        (
            403,
            b"<!DOCTYPE html><html>...",
            "Moody's denies access (403), with an HTML page.",
        ),
        (403, b"  <HTML>", "Moody's denies access (403), with an HTML page."),
        (403, b'{"message": "Forbidden"}', 'Moody\'s denies access (403): "Forbidden".'),
        # throttled or down
        (429, b"slow down", "Moody's asks for fewer requests (429)."),
        (
            502,
            b"<html>Bad gateway</html>",
            "Moody's is down or overloaded (502), with an HTML page.",
        ),
        (503, b"", "Moody's is down or overloaded (503)."),
        (504, b"", "Moody's is down or overloaded (504)."),
        # Moody's own shape
        (
            500,
            b'{"code": "INT-999", "message": "Internal", "logId": "x"}',
            'Moody\'s is down or overloaded (500): "Internal".',
        ),
        # an error body that is anything
        (400, b'{"message": {"deep": 1}}', "Moody's answered job 23148952 with 400."),
        (400, b'["message"]', "Moody's answered job 23148952 with 400."),
        (400, b"[" * 100_000, "Moody's answered job 23148952 with 400."),
        (400, b"\xff\xfe\x00", "Moody's answered job 23148952 with 400."),
        (431, b"", "Moody's answered job 23148952 with 431."),
        # a redirect is not followed, and is no answer
        (
            302,
            b"",
            (
                "Moody's answered 302, a redirect to nowhere: is a proxy or a login page in "
                "between? Check RISK_MODELER_BASE_URL and the proxy settings."
            ),
        ),
        (
            407,
            b"<html>Proxy</html>",
            "Moody's answered 407: a proxy wants a login. Check HTTPS_PROXY.",
        ),
        # created is no answer to a read
        (201, encoded(JOB), "Moody's answered job 23148952 with 201."),
    ],
)
def test_an_answer_that_is_no_job_is_described(http_status, content, message):
    with pytest.raises(MoodysError) as caught:
        read(content, http_status=http_status)

    assert str(caught.value) == message
    assert caught.value.http_status == http_status
    assert not isinstance(caught.value, MoodysCredentialsError)


@pytest.mark.parametrize("http_status", [301, 302, 303, 307, 308])
def test_a_redirect_is_described_in_the_same_words_for_every_job_with_its_target(http_status):
    message = set()
    for workflow_id in ("23148952", "23148953"):
        location = f"https://u:pass@sso.test/login/{workflow_id}?to={workflow_id}"
        with pytest.raises(MoodysError) as caught:
            job_body(Raw(http_status, b"", {"Location": location}), workflow_id=workflow_id)
        message.add(str(caught.value))

    [message] = message
    assert f"answered {http_status}, a redirect to https://sso.test/login/…: is a proxy" in message
    assert "RISK_MODELER_BASE_URL" in message


def test_of_a_long_redirect_the_beginning_is_shown():
    message = redirect(Raw(302, b"", {"Location": f"https://sso.test/{'login/' * 1000}"}))

    assert "a redirect to https://sso.test/login/login" in message
    assert len(message) < 500


@pytest.mark.parametrize("location", ["http://[::1", "http://[/"])
def test_a_redirect_to_what_is_no_address_says_so(location):
    message = redirect(Raw(302, b"", {"Location": location}))

    assert message.startswith("Moody's answered 302, a redirect to an address that makes no sense:")


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b'{"message": "Unauthorized"}', ': "Unauthorized"'),
        (b"", ""),
        (b"<html>", ", with an HTML page"),
    ],
)
def test_401_says_that_every_further_question_is_pointless(content, shown):
    with pytest.raises(MoodysCredentialsError) as caught:
        read(content, http_status=401)

    assert caught.value.http_status == 401
    assert str(caught.value) == (
        f"Moody's refuses the credentials (401){shown}. Check RISK_MODELER_API_KEY, or the tenant, "
        "user name and password, and RISK_MODELER_RESOURCE_GROUP_ID."
    )


def test_an_error_is_never_repeated_whole():
    content = encoded({"message": "\x1b[31m\x00" + "x" * 5_000})

    with pytest.raises(MoodysError) as caught:
        read(content, http_status=500)

    [quoted] = re.findall('"(.*)"', str(caught.value))
    assert len(quoted) == 300
    assert "\x1b" not in quoted


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "something that is not JSON"),
        (b"<html>login</html>", "something that is not JSON"),
        # cut off
        (encoded(JOB)[:-5], "something that is not JSON"),
        (b"\xff\xfe\xfa", "something that is not JSON"),
        (b"[" * 100_000, "something that is not JSON"),
        (b'{"status": "RUNNING", "x": ' + b"[" * 100_000, "something that is not JSON"),
        (
            b'{"status": "RUNNING", "x": ' + b"[" * 100_000 + b"]" * 100_001,
            "something that is not JSON",
        ),
        # JSON, but no job
        (b"[]", "JSON that does not describe a job"),
        (b'"RUNNING"', "JSON that does not describe a job"),
        (b"null", "JSON that does not describe a job"),
        # what the database cannot hold
        (b'{"status": "FINI\\u0000SHED"}', "a status that is no text"),
        (b'{"status": "FINISHED\\ud800"}', "a status that is no text"),
        (b'{"status": "RUNNING", "sta\\u0000tus": "FINISHED"}', "a status that is no text"),
        (
            encoded(JOB).ljust(MAX_READ_BYTES + 1),
            "more than 32 MB, more than a job can have",
        ),
        # a job without a status
        (b"{}", "a job that has no status"),
        (encoded(JOB | {"status": None}), "a job that has no status"),
        (encoded(JOB | {"status": ""}), "a job that has no status"),
        (encoded(JOB | {"status": "  "}), "a job that has no status"),
        (encoded(JOB | {"status": 3}), "a job that has no status"),
        (encoded(JOB | {"status": ["FINISHED"]}), "a job that has no status"),
        (encoded(JOB | {"status": "F" * 101}), "a job that has no status"),
    ],
)
def test_a_200_is_a_job_only_if_every_part_of_it_says_so(content, message):
    with pytest.raises(MoodysError) as caught:
        read(content)

    assert str(caught.value) == f"Moody's answered with {message}."
    assert caught.value.http_status == 200


def test_as_much_as_an_answer_can_hold_is_read():
    assert read(encoded(JOB).ljust(MAX_READ_BYTES)) == JOB


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (JOB | {"jobId": "99999999"}, "99999999"),
        ({"id": 1, "status": "FINISHED"}, "1"),
        (JOB | {"jobId": None}, "None"),
        (JOB | {"jobId": {"x": 1}}, "{'x': 1}"),
        # not the whole of what it may be
        (JOB | {"jobId": "9" * 60}, "9" * 22 + " […] " + "9" * 23),
    ],
)
def test_an_answer_about_another_job_is_none_about_this_one(body, named):
    with pytest.raises(MoodysError) as caught:
        read(encoded(body))

    assert str(caught.value) == f"Moody's answered about job {named}, not about job 23148952."
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
    rows = search_rows(Raw(200, b'[{"jobId": "7", ' + content[1:] + b"]"))
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

    assert list(search_rows(Raw(200, encoded(rows)))) == ["23148952", "23148953"]


def test_rows_that_are_no_job_are_left_out():
    rows = [None, "x", {}, {"jobId": "1"}, {"jobId": "2", "status": 5}, {"status": "RUNNING"}, JOB]

    assert list(search_rows(Raw(200, encoded(rows)))) == ["23148952"]


@pytest.mark.parametrize(
    ("content", "http_status", "message"),
    [
        # an envelope where none belongs
        (
            b'{"totalMatchCount": 0, "workflows": []}',
            200,
            "Moody's answered a search with no list.",
        ),
        (b"null", 200, "Moody's answered a search with no list."),
        (b"[", 200, "Moody's answered with something that is not JSON."),
        # too long a query
        (b"", 431, "Moody's answered a search with 431."),
        (b"<html>", 403, "Moody's denies access (403), with an HTML page."),
        (b"", 204, "Moody's has nothing to say about a search yet (204)."),
        # one that is answered without an address
        (b"", 302, redirect(Raw(302, b""))),
    ],
)
def test_a_search_that_is_no_list_is_described(content, http_status, message):
    with pytest.raises(MoodysError) as caught:
        search_rows(Raw(http_status, content))

    assert str(caught.value) == message
    assert caught.value.http_status == http_status


def test_a_search_that_is_redirected_says_where_to():
    with pytest.raises(MoodysError, match=r"a redirect to https://sso\.test/login: is a proxy"):
        search_rows(Raw(302, b"", {"Location": "https://sso.test/login"}))


def test_any_request_may_be_redirected_without_an_address():
    with pytest.raises(MoodysError) as caught:
        require_ok(Raw(307, b""), about="a request")

    assert str(caught.value) == redirect(Raw(307, b""))


@pytest.mark.parametrize(
    ("content", "value"), [(b'{"a\\u0000b": "c\\ud800"}', {"ab": "c"}), (b"[1]", [1])]
)
def test_any_json_is_kept_without_what_the_database_cannot_hold(content, value):
    assert storable_body(Raw(202, content)) == value


def test_what_is_no_json_is_not_kept():
    with pytest.raises(MoodysError, match="something that is not JSON") as caught:
        storable_body(Raw(202, b"<html>"))

    assert caught.value.http_status == 202


def test_rows_that_disagree_about_a_job_are_left_out():
    rows = [JOB, JOB | {"status": "FINISHED"}, JOB, *[JOB | {"jobId": "1"}] * 2]

    assert list(search_rows(Raw(200, encoded(rows)))) == ["1"]


def test_an_empty_search_is_no_error():
    assert search_rows(Raw(200, b"[]")) == {}


@pytest.mark.parametrize(
    ("http_status", "down"),
    [(None, True), (429, True), (500, True), (503, True), (404, False), (403, False), (204, False)],
)
def test_an_answer_is_about_the_host_or_about_one_job(http_status, down):
    assert is_down(http_status) is down


def test_what_the_host_or_a_proxy_says_is_not_of_the_one_job():
    assert {429, 500, 502, 503, 504} == DOWN_STATUSES
    assert DOWN_STATUSES | {301, 302, 303, 307, 308, 401, 407} == NOT_OF_THE_JOB


def test_a_status_is_kept_word_for_word():
    assert status_of({"status": "Running "}, workflow_id="1") == "Running "

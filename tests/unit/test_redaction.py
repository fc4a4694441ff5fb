"""No secret stands in what is stored, logged, shown or raised."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import redaction
from helpers.redaction import redact, redact_json, register_secret, shown
from helpers.settings import get_settings


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch):
    monkeypatch.setattr(redaction, "_registered", set())


def use(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"RISK_MODELER_API_KEY": "hunter2-key"}, "sent hunter2-key to Moody's"),
        ({"RISK_MODELER_PASSWORD": "hunter2-key"}, "hunter2-key"),
        ({"PGPASSWORD": "hunter2-key"}, "hunter2-key"),
        # the whole URL, its password as written, and as meant
        ({"DATABASE_URL": "postgresql://u:hunter2%2Fkey@h/d"}, "postgresql://u:hunter2%2Fkey@h/d"),
        ({"DATABASE_URL": "postgresql://u:hunter2%2Fkey@h/d"}, "password hunter2%2Fkey"),
        ({"DATABASE_URL": "postgresql://u:hunter2%2Fkey@h/d"}, "password hunter2/key"),
        ({"DATABASE_URL": "postgresql://h/d?user=u&password=hunter2%2Fkey"}, "hunter2/key"),
        ({"DATABASE_URL": "postgresql://h/d?user=u&password=hunter2%2Fkey"}, "hunter2%2Fkey"),
        # libpq's own form
        ({"DATABASE_URL": "host=h user=u password=hunter2-key dbname=d"}, "hunter2-key"),
        ({"DATABASE_URL": r"host=h password = 'hunter2 k\'ey'"}, "hunter2 k'ey"),
        ({"DATABASE_URL": r"host=h password = 'hunter2 k\'ey'"}, r"hunter2 k\'ey"),
        # %-encoded by whoever puts it into a URL
        ({"DATABASE_URL": "host=h password=hunter2/k@y"}, "postgresql://u:hunter2%2Fk%40y@h/d"),
        # as a page of HTML repeats it
        ({"RISK_MODELER_PASSWORD": "hunter2&<key>"}, "<p>hunter2&amp;&lt;key&gt; is wrong</p>"),
        # the password of a proxy, and of an address that is no secret by itself
        ({"HTTPS_PROXY": "http://u:hunter2-key@proxy:3128"}, "http://u:hunter2-key@proxy:3128"),
        ({"RISK_MODELER_BASE_URL": "https://u:hunter2%2F@h"}, "https://u:hunter2/@h refused"),
        ({"TEAMS_DEFAULT_DASHBOARD_URL": "https://hunter2-key@h/d"}, "hunter2-key is no user"),
        # what cannot be parsed is still a secret
        ({"DATABASE_URL": "postgresql://u:hunter2%ZZkey@h/d"}, "hunter2%ZZkey"),
        ({"DATABASE_URL": "host=h password='hunter2-key"}, "hunter2-key"),
        # a webhook without its host
        (
            {"TEAMS_WEBHOOK_URL": "https://prod.example.com/workflows/abc?sig=hunter2-key"},
            "Max retries exceeded with url: /workflows/abc?sig=hunter2-key",
        ),
        ({"TEAMS_WEBHOOK_URL": "https://prod.example.com/w?sig=hunter2-key"}, "sig=hunter2-key"),
        # a part of its path or query
        ({"TEAMS_WEBHOOK_URL": "https://h.example.com/w/hunter2-and-more/m"}, "hunter2-and-more"),
        ({"TEAMS_WEBHOOK_URL": "https://h.example.com/w?sig=hunter2%2Bmore"}, "hunter2+more"),
        # a URL without a host does not trip it
        ({"TEAMS_WEBHOOK_URL": "https:///hunter2-key"}, "https:///hunter2-key"),
    ],
)
def test_secrets_are_taken_out_of_any_text(monkeypatch, values, text):
    use(monkeypatch, **values)

    assert "hunter2" not in redact(text)
    assert "***" in redact(text)


def test_a_secret_is_taken_out_of_json(monkeypatch):
    use(monkeypatch, RISK_MODELER_PASSWORD='hunter2"\\é')

    kept = redact(json.dumps({"echo": 'you sent hunter2"\\é'}))

    assert json.loads(kept) == {"echo": "you sent ***"}


@pytest.mark.parametrize(
    "text",
    ["password abc is wrong", "?password=abc&x=1", '{"echo": "abc"}', "abc", "Basic u:abc@h"],
)
def test_a_short_secret_is_taken_out_where_it_stands_by_itself(monkeypatch, text):
    use(monkeypatch, RISK_MODELER_PASSWORD="abc")

    assert redact(text) == text.replace("abc", "***")


@pytest.mark.parametrize("text", ["abcd", "xabc", "abc_d", "job_abc", "1abc1"])
def test_a_short_secret_blanks_out_no_word_that_holds_it(monkeypatch, text):
    use(monkeypatch, RISK_MODELER_PASSWORD="abc")

    assert redact(text) == text


def test_what_is_shorter_than_three_characters_is_left_as_text(monkeypatch):
    use(monkeypatch, RISK_MODELER_PASSWORD="s")

    assert redact("Moody's") == "Moody's"


def test_names_of_users_hosts_and_paths_are_no_secrets(monkeypatch):
    use(
        monkeypatch,
        DATABASE_URL="postgresql://analyst@warehouse/metastore",
        RISK_MODELER_BASE_URL="https://api.example.com/riskmodeler",
    )

    text = "analyst at warehouse, database metastore, https://api.example.com/riskmodeler"
    assert redact(text) == text


def test_a_token_that_a_login_returned_is_known_from_then_on():
    register_secret("eyJhbGciOi.live-token")

    assert redact("Authorization: Bearer eyJhbGciOi.live-token") == "Authorization: Bearer ***"


def test_an_address_that_is_registered_is_known_in_all_its_parts():
    register_secret("https://prod.example.com/workflows/0123456789abcdef/run?sig=fedcba9876543210")

    for part in ("/workflows/0123456789abcdef/run", "0123456789abcdef", "fedcba9876543210"):
        assert redact(f"HTTP 404 at {part}") == "HTTP 404 at ***"


TEXT = st.text(st.characters(exclude_characters="\x1b"), max_size=30)


@given(before=TEXT, after=TEXT, limit=st.integers(min_value=0, max_value=80))
def test_what_is_shown_holds_no_part_of_a_secret_that_can_be_used(before, after, limit):
    """Cut anywhere and cleaned of anything, more than half of it never stands there."""
    register_secret("Zq7-Zq8-Zq9-Zq0")

    text = shown(f"{before}Zq7-Zq8\x00-Zq9-Zq0{after}", limit)

    assert len(text) <= limit
    assert "Zq7-Zq8" not in text
    assert "Zq9-Zq0" not in text


@pytest.mark.parametrize(
    "text",
    ["\x1b[1mhunter2-key\x1b[0m", "hun\x1b[1mter2-key", "\x1bhunter2-key", "hunter2\x00-key"],
)
def test_what_steers_terminals_hides_no_secret(text):
    """``ESC h`` is a sequence of its own: without it, the rest of the secret would stand there."""
    register_secret("hunter2-key")

    assert shown(text, 100).strip("\x1b") == "***"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


SYNTAX = ["123456", "true", "null", "[{}]", '", "', "4711", '"a"']


@given(value=JSON, secret=st.sampled_from(SYNTAX))
def test_json_stays_json_whatever_a_secret_is(value, secret):
    """A password may be a number or brackets; an answer that holds it is still recorded."""
    redaction._registered.clear()
    register_secret(secret)

    kept = json.loads(redact_json(json.dumps([value, secret, 123456])))

    assert isinstance(kept, list)
    assert len(kept) == 3
    assert kept[1] == "***"


def test_a_number_that_is_a_secret_becomes_a_text():
    register_secret("123456")

    assert json.loads(redact_json('{"pin": 123456, "jobId": "1234567"}')) == {
        "pin": "***",
        "jobId": "***7",
    }


@pytest.mark.parametrize("value", ["https://", "http://", "https:", "http"])
def test_a_scheme_without_a_host_is_no_secret(value):
    register_secret(value)
    assert redact("see https://elsewhere.example") == "see https://elsewhere.example"

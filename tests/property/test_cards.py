"""Laws of cards: whatever text the world sends, the message is valid, small and harmless."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.notifications.cards import MAX_MESSAGE_BYTES, card_message, digest_message, size_of
from helpers.notifications.links import Links, dashboard_address, notebook_address

_PLAIN_PROPERTIES = {"text", "title", "value", "fallbackText", "url"}
_MARKDOWN = set("[]*_`#~<>|\\{}!")

# Hypothesis draws short texts; long ones are made of them.
_texts = st.builds(
    lambda text, times: text * times,
    st.text(st.characters(codec=None), max_size=40) | st.sampled_from(["<at>", "{{DATE(", "](x)"]),
    st.integers(1, 600),
)
_names = _texts.map(lambda text: text[:255])
_links = st.builds(
    Links,
    dashboard=_texts.map(lambda text: dashboard_address(f"https://dash.example/{text}")),
    notebook=_texts.map(lambda text: notebook_address("https://lab.example", f"Active_{text}")),
)
_jobs = st.lists(
    st.fixed_dictionaries(
        {
            "job_id": st.integers(1, 2**31 - 1),
            "made_from": _texts.map(lambda text: text[:80]),
            "moodys_workflow_id": st.none() | _texts.map(lambda text: text[:50]),
            "status": st.sampled_from(["FAILED", "ERROR", "CANCELLED"]),
            "reason": st.none() | _texts,
        }
    ),
    max_size=12,
)
_location = {
    "cycle_name": _names,
    "stage_num": st.integers(1, 99),
    "stage_name": _names,
    "step_num": st.integers(1, 99),
    "step_name": _names,
    "batch_type": _names,
    "occurred_ts": st.just("2025-03-01T09:30:00+00:00"),
}
_batch_payloads = st.fixed_dictionaries(
    {
        **_location,
        "batch_status": st.sampled_from(["FAILED", "ERROR", "CANCELLED"]),
        "reason": _texts,
        "job_status_counts": st.dictionaries(
            st.sampled_from(["FAILED", "SKIPPED", "CANCELLED", "FINISHED"]), st.integers(0, 9999)
        ),
        "jobs": _jobs,
        "jobs_total": st.integers(12, 9999),
        "next_step": _texts,
    }
)
_chain_payloads = st.fixed_dictionaries(
    {
        **_location,
        "next_step_num": st.integers(2, 99),
        "notebook_path": st.none() | _texts,
        "executed_path": st.none() | _texts,
        "error": _texts,
    }
)


def _event(kind, payload):
    return {"kind": kind, "batch_id": 17, "activation_num": 2, "payload": payload}


_events = st.builds(
    _event, st.sampled_from(["BATCH_FAILED", "BATCH_RECOVERED"]), _batch_payloads
) | st.builds(_event, st.just("CHAIN_FAILED"), _chain_payloads)


def _elements(node):
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from _elements(item)


def _assert_good(message):
    assert size_of(message) <= MAX_MESSAGE_BYTES
    assert json.loads(json.dumps(message).encode("utf-8", "strict")) == message
    json.dumps(message, ensure_ascii=False).encode("utf-8", "strict")  # no lone surrogate
    for item in _elements(message):
        text = item.get("text", "")
        assert "<at" not in text.lower()
        assert "{{" not in text
        assert not any(ord(char) < 32 and char not in "\n\t" for char in text)
        if item.get("type") != "TextRun":  # understood as Markdown, or as an address
            for name in _PLAIN_PROPERTIES & item.keys():
                assert not _MARKDOWN - {"_", "~", "#"} & set(item[name]), name
        assert item.get("type") != "TextBlock"
        if "url" in item:
            assert item["url"].startswith(("https://dash.example/", "https://lab.example/"))
            assert item["url"].isascii()
            assert " " not in item["url"]


@settings(deadline=None, max_examples=60)
@given(_events, _links)
def test_any_text_gives_a_valid_card_under_the_limit(event, links):
    _assert_good(card_message(event, links=links))


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(_events, _links), min_size=1, max_size=8))
def test_any_events_give_valid_digests_under_the_limit_that_leave_none_out(events):
    left = events
    while left:
        message, count = digest_message(left)
        _assert_good(message)
        assert count >= 1
        left = left[count:]

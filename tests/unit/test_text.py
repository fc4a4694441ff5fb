import json

import pytest

from helpers.text import clean, counted, listed, shorten, storable_json


@pytest.mark.parametrize(
    ("dirty", "cleaned"),
    [
        # what people write stays
        ("Zürich – 100 % ✓\n\ttab", "Zürich – 100 % ✓\n\ttab"),
        # colours of a traceback
        ("\x1b[0;31mValueError\x1b[0m: no", "ValueError: no"),
        # a terminal's title, ended either way, and never ended
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;https://x\x1b\\link", "link"),
        ("\x1b]0;never ended", ""),
        # a single-byte CSI
        ("\x9b31mred", "31mred"),
        # what PostgreSQL cannot hold
        ("nul\x00gone, lone \ud800 too", "nulgone, lone  too"),
        # line ends of Windows, and a carriage return that overwrites
        ("one\r\ntwo", "one\ntwo"),
        ("sure\rno", "sureno"),
        # text that reads as what it is not
        ("file\u202egpj.exe", "filegpj.exe"),
        # a sequence inside a sequence
        ("\x1b\x1b[31m[32mred", "[32mred"),
    ],
)
def test_cleaning_keeps_what_can_be_seen_and_stored(dirty, cleaned):
    assert clean(dirty) == cleaned


@pytest.mark.parametrize("limit", [0, 1, 4, 5, 6, 7, 20, 999, 1000])
def test_shortening_never_exceeds_the_limit_and_keeps_both_ends(limit):
    text = "a" + "x" * 998 + "z"

    short = shorten(text, limit)

    assert len(short) == min(limit, 1000)
    if limit > 6:
        assert (short[0], short[-1]) == ("a", "z")


def test_a_text_that_fits_is_left_as_it_is():
    assert shorten("fits", 4) == "fits"


@pytest.mark.parametrize(
    ("most", "text"),
    [(3, "a, b, c"), (2, "a, b and 1 more")],
)
def test_a_list_is_cut_with_a_count_of_the_rest(most, text):
    assert listed(["a", "b", "c"], most=most) == text


@pytest.mark.parametrize(
    ("number", "text"), [(1, "1 job"), (0, "0 jobs"), (2, "2 jobs"), (10_000, "10,000 jobs")]
)
def test_numbers_agree_with_their_nouns(number, text):
    assert counted(number, "job") == text


def test_a_plural_that_is_no_s_is_given():
    assert counted(2, "batch", "batches") == "2 batches"


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ({"a": "nul\x00gone"}, {"a": "nulgone"}),
        # an escaped backslash before "u0000" is no NUL
        ({"a": "C:\\u0000"}, {"a": "C:\\u0000"}),
        ({"a": "\\\x00"}, {"a": "\\"}),
        ({"a": "\x00\x00\\"}, {"a": "\\"}),
        ({"a": "lone \ud800"}, {"a": "lone "}),
        ({"a": "pair 😀"}, {"a": "pair 😀"}),
        # no numbers in JSON
        ({"a": float("nan"), "b": float("-inf")}, {"a": "NaN", "b": "-Infinity"}),
    ],
)
def test_json_for_the_database_loses_only_what_it_cannot_hold(value, kept):
    assert json.loads(storable_json(value)) == kept

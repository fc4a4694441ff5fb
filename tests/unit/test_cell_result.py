"""How a cell ended, told from every kind of reply and output."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.notebooks.cell_result import CellResult, cell_result

ERROR = {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": []}
TEXT = {"output_type": "stream", "name": "stdout", "text": "error"}
GOES_ON, EXITS = CellResult(), CellResult(exits=True)
ANYTHING: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
)


def asks_exit(code: object, **reply: object) -> dict[str, object]:
    return {"status": "ok", **reply, "payload": [{"source": "ask_exit", "keepkernel": code}]}


def raised(name: str, value: str, *traceback: str) -> dict[str, object]:
    return {"status": "error", "ename": name, "evalue": value, "traceback": list(traceback)}


@pytest.mark.parametrize(
    ("reply", "outputs", "expected"),
    [
        ({"status": "ok"}, [TEXT], GOES_ON),
        ({"status": "ok"}, [ERROR, TEXT], CellResult("ValueError: no")),
        (raised("KeyError", "'a'"), [], CellResult("KeyError: 'a'")),
        (raised("RuntimeError", ""), [], CellResult("RuntimeError")),
        # The reply's own error counts, unless it names none.
        (raised("KeyError", "'a'"), [ERROR], CellResult("KeyError: 'a'")),
        (raised("NoneType", "None"), [ERROR], CellResult("ValueError: no")),
        (raised("NoneType", "None", "…", "TypeError: odd"), [], CellResult("TypeError: odd")),
        ({"status": "error"}, [], CellResult("an error without a name")),
        (raised("SystemExit", "0"), [], EXITS),
        (raised("SystemExit", "0"), [ERROR], CellResult("ValueError: no")),
        (raised("SystemExit", "1"), [], CellResult("SystemExit: 1")),
        (asks_exit(False), [], EXITS),
        (asks_exit(True), [], EXITS),
        (asks_exit(None), [], EXITS),
        (asks_exit(0), [], EXITS),
        (asks_exit(1), [], CellResult("SystemExit: 1")),
        (asks_exit(False, **raised("KeyError", "1")), [], CellResult("KeyError: 1")),
        (asks_exit(False), [ERROR], CellResult("ValueError: no")),
    ],
)
def test_a_cell_ends_as_its_reply_and_its_outputs_say(reply, outputs, expected):
    assert cell_result(reply, outputs, errors_allowed=False) == expected


@pytest.mark.parametrize(
    "reply", [raised("KeyError", "1"), raised("SystemExit", "1"), {"status": "ok"}]
)
def test_an_error_that_its_tag_allows_is_none(reply):
    assert cell_result(reply, [ERROR], errors_allowed=True) == GOES_ON


@given(reply=ANYTHING, allowed=st.booleans())
def test_a_cell_that_the_kernel_does_not_say_ran_has_failed(reply, allowed):
    result = cell_result(reply, [], errors_allowed=allowed)
    assert result.error is not None
    assert not result.exits


@given(
    reply=st.fixed_dictionaries(
        {"status": st.sampled_from(["ok", "error"])},
        optional=dict.fromkeys(("ename", "evalue", "traceback", "payload"), ANYTHING),
    )
)
def test_a_reply_of_any_shape_has_a_result(reply):
    result = cell_result(reply, [], errors_allowed=False)
    assert result.error != ""
    assert reply["status"] == "ok" or result != GOES_ON

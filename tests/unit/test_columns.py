"""What an analyst or a spreadsheet writes in a row, and what a call gets of it."""

from datetime import UTC, date, datetime
from typing import Any, Dict, List, Optional  # noqa: UP035 - as the published client writes them

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.errors import BuildError
from helpers.irp_integration.columns import arguments, columns_of
from helpers.irp_integration.prepared import PreparedRequest


def call(
    edm_name: str,
    version: str = "",
    limit: float = 1.0,
    count: Optional[int] = None,  # noqa: UP045
    flag: bool = False,
    tag_names: Optional[List[str]] = None,  # noqa: UP006, UP045
    group_names: Optional[set] = None,  # noqa: UP045
    layers: Optional[List[Dict[str, Any]]] = None,  # noqa: UP006, UP045
    currency: Optional[Dict[str, str]] = None,  # noqa: UP006, UP045
    hidden: int = 0,
) -> int: ...


COLUMNS = columns_of(call, without={"hidden"})


def test_the_columns_are_the_parameters_and_those_without_a_default_are_required():
    assert [column.name for column in COLUMNS][:3] == ["edm_name", "version", "limit"]
    assert [column.name for column in COLUMNS if column.required] == ["edm_name"]


@pytest.mark.parametrize(
    ("column", "written", "given"),
    [
        # a spreadsheet knows no whole numbers, and no texts that look like numbers
        ("version", 22.0, "22"),
        ("version", 22, "22"),
        ("version", " 22 ", "22"),
        ("version", datetime(2026, 1, 31, 12, tzinfo=UTC), "2026-01-31"),
        ("version", date(2026, 1, 31), "2026-01-31"),
        ("version", 'a "quoted" description', 'a "quoted" description'),
        ("count", 99.0, 99),
        ("count", "99", 99),
        ("count", 2**60 + 1, 2**60 + 1),
        ("limit", "1e6", 1_000_000.0),
        ("limit", 5, 5.0),
        ("flag", True, True),
        ("flag", "Yes", True),
        ("flag", 0.0, False),
        ("flag", "false", False),
        # lists, however they are written
        ("tag_names", ["a", "b"], ["a", "b"]),
        ("tag_names", "a, b", ["a", "b"]),
        ("tag_names", "a, with comma; b;", ["a, with comma", "b"]),
        ("tag_names", '["a", "b"]', ["a", "b"]),
        ("tag_names", "one", ["one"]),
        ("tag_names", 7.0, ["7"]),
        ("tag_names", 'say "x"', ['say "x"']),
        ("group_names", "a, b", {"a", "b"}),
        ("layers", [{"type": "geocode"}], [{"type": "geocode"}]),
        ("layers", '[{"type": "geocode"}]', [{"type": "geocode"}]),
        ("currency", '{"code": "USD"}', {"code": "USD"}),
    ],
)
def test_a_cell_becomes_what_the_call_wants(column, written, given):
    made = arguments(COLUMNS, {"edm_name": "E", column: written})[column]

    assert (made, type(made)) == (given, type(given))


@pytest.mark.parametrize(
    ("column", "kind", "given"), [("version", "int64", "22"), ("count", "int32", 22)]
)
def test_a_cell_of_a_data_frame_is_a_cell(column, kind, given):
    numpy = pytest.importorskip("numpy", reason="comes with pandas, which nobody needs to have")

    row = {"edm_name": "E", column: getattr(numpy, kind)(22)}

    assert arguments(COLUMNS, row)[column] == given


@pytest.mark.parametrize("empty", [None, "", "  ", float("nan")])
def test_an_empty_cell_is_left_to_the_default(empty):
    assert arguments(COLUMNS, {"edm_name": "E", "count": empty}) == {"edm_name": "E"}
    with pytest.raises(BuildError, match="edm_name is missing"):
        arguments(COLUMNS, {"edm_name": empty})


def test_everything_that_is_wrong_is_listed_at_once_by_column():
    row = {
        "emd_name": "E",
        "count": 1.5,
        "limit": "much",
        "flag": "perhaps",
        "layers": "geocode",
        "currency": "USD",
        "tag_names": ["it's"],
        "group_names": ['a "b"'],
        "version": ["22"],
    }

    with pytest.raises(BuildError) as caught:
        arguments(COLUMNS, row)

    assert caught.value.problems == [
        "'emd_name' is not a column; did you mean 'edm_name'?",
        "edm_name is missing.",
        "version: ['22'] is not a text.",
        "limit: 'much' is not a number.",
        "count: 1.5 is not a whole number.",
        "flag: 'perhaps' is neither true nor false.",
        "tag_names: [\"it's\"] holds ', which Moody's cannot search for.",
        "group_names: ['a \"b\"'] holds \", which Moody's cannot search for.",
        "layers: 'geocode' is not a JSON list.",
        "currency: 'USD' is not a JSON object.",
    ]


cells = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text())


@given(st.dictionaries(st.sampled_from([column.name for column in COLUMNS]) | st.text(), cells))
def test_any_row_gives_arguments_of_the_right_kinds_or_says_what_is_wrong(row):
    try:
        given_ = arguments(COLUMNS, row)
    except BuildError as exc:
        assert exc.problems  # noqa: PT017 - one of the two
    else:
        kinds = {column.name: column.kind for column in COLUMNS}
        assert all(type(value) is kinds[name] for name, value in given_.items())


requests = st.recursive(
    st.builds(PreparedRequest, st.just("POST"), st.just("/a/{id}"), st.none() | st.just({"a": 1})),
    lambda inner: st.builds(
        PreparedRequest, st.just("POST"), st.just("/a"), st.none(), st.lists(inner).map(tuple)
    ),
    max_leaves=4,
)


@given(requests)
def test_a_stored_request_is_read_as_it_was(request):
    assert PreparedRequest.read(request.record()) == request


@pytest.mark.parametrize(
    "record",
    [
        None,
        "POST /a",
        {"method": "GET", "path": "/a"},
        {"method": "POST", "path": "a"},
        {"resourceUri": "/a"},
        {"method": "POST", "path": "/a", "then": [{"method": "POST"}]},
        {"method": "POST", "path": "/a", "then": "/b"},
    ],
)
def test_what_cannot_be_sent_is_no_request(record):
    assert PreparedRequest.read(record) is None

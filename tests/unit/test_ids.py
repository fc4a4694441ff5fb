"""Ids of Moody's jobs have one form in which they are compared."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.errors import MoodysError
from helpers.irp_integration.answers import search_rows, status_of
from helpers.irp_integration.endpoints import normal_id, required_id
from helpers.irp_integration.submissions import job_id_in_location
from helpers.irp_integration.transport import Raw


@given(st.integers(1, 10**20), st.integers(0, 9))
def test_however_an_id_is_written_it_is_one_id(number, zeros):
    written = "0" * zeros + str(number)
    location = Raw(201, b"", {"Location": f"/platform/model/v1/jobs/{written}"})
    rows = search_rows(Raw(200, f'[{{"jobId": "{written}", "status": "RUNNING"}}]'.encode()))

    assert normal_id(number) == normal_id(written) == job_id_in_location(location) == str(number)
    assert list(rows) == [str(number)]
    for written_id in (number, written, str(number)):
        assert (
            status_of({"jobId": written_id, "status": "RUNNING"}, workflow_id=written) == "RUNNING"
        )


@given(st.integers(1, 10**9), st.integers(1, 10**9))
def test_two_ids_are_not_one(first, second):
    assert (normal_id(f"00{first}") == normal_id(second)) == (first == second)


@pytest.mark.parametrize(
    "value", ["", "0", "00", "-7", "+7", "7.0", "٣", "1_000", "0x7", "N/A", None, True, 7.0, 0, -7]
)
def test_what_is_no_positive_integer_is_no_id(value):
    assert normal_id(value) is None
    with pytest.raises(MoodysError, match="is not a valid job id"):
        required_id(value)

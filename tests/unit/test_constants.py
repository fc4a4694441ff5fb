import pytest

from helpers.constants import (
    API_CALLS,
    JOB_MOVES,
    BatchStatus,
    BatchType,
    ConfigurationStatus,
    CycleStatus,
    JobStatus,
    StepStatus,
)
from helpers.irp_integration.endpoints import FAMILIES, family_of


@pytest.mark.parametrize(
    ("enum", "labels"),
    [
        (CycleStatus, "ACTIVE ARCHIVED"),
        (StepStatus, "ACTIVE COMPLETED FAILED SKIPPED"),
        (ConfigurationStatus, "NEW VALID ACTIVE ERROR"),
        (BatchStatus, "INITIATED ACTIVE COMPLETED FAILED CANCELLED ERROR"),
        (
            JobStatus,
            (
                "INITIATED SUBMITTED PENDING QUEUED RUNNING FINISHED FAILED CANCEL_REQUESTED "
                "CANCELLING CANCELLED ERROR"
            ),
        ),
    ],
)
def test_the_labels_are_those_of_the_metastore_in_its_order(enum, labels):
    assert [member.value for member in enum] == labels.split()


def test_polling_stops_at_the_terminal_statuses_and_at_no_other():
    assert JobStatus.terminal() == {"FINISHED", "FAILED", "CANCELLED", "ERROR"}


def test_a_plain_label_is_found_among_the_terminal_statuses():
    assert "FINISHED" in JobStatus.terminal()
    assert "CANCELLING" not in JobStatus.terminal()


def test_what_moodys_sends_leaves_out_what_is_ours():
    assert JobStatus.of_moodys() == set(JobStatus) - {"INITIATED", "SUBMITTED", "ERROR"}


def test_a_batch_is_left_alone_at_its_four_ends():
    assert BatchStatus.terminal() == {"COMPLETED", "FAILED", "CANCELLED", "ERROR"}


def test_people_are_told_of_every_end_but_success():
    assert BatchStatus.announced() == {"FAILED", "CANCELLED", "ERROR"}


def test_every_job_status_has_its_moves():
    assert set(JOB_MOVES) == set(JobStatus)


@pytest.mark.parametrize("status", sorted(set(JobStatus) - JobStatus.terminal()))
def test_every_status_that_is_polled_may_end_in_each_terminal_one(status):
    assert JobStatus.terminal() <= JOB_MOVES[status]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # what runs does not wait again
        ("RUNNING", "QUEUED"),
        ("RUNNING", "PENDING"),
        # what is being cancelled does not run again
        ("CANCELLING", "RUNNING"),
        ("CANCEL_REQUESTED", "RUNNING"),
        # what was submitted is not prepared again
        ("SUBMITTED", "INITIATED"),
        ("RUNNING", "SUBMITTED"),
    ],
)
def test_no_move_leads_backwards(old, new):
    assert new not in JOB_MOVES[JobStatus(old)]


@pytest.mark.parametrize(
    ("batch_type", "call"),
    [
        (BatchType.EDM_CREATION, ("job", "get_risk_data_job")),
        (BatchType.MRI_IMPORT, ("mri_import", "get_import_job")),
        (BatchType.EDM_DB_UPGRADE, ("job", "get_risk_data_job")),
        (BatchType.GEOHAZ, ("geohaz", "get_geohaz_job")),
        (BatchType.ANALYSIS, ("analysis", "get_analysis_job")),
        (BatchType.GROUPING, ("analysis", "get_analysis_grouping_job")),
        (BatchType.GROUPING_ROLLUP, ("analysis", "get_analysis_grouping_job")),
        (BatchType.EXPORT_TO_RDM, ("rdm", "get_rdm_export_job")),
    ],
)
def test_each_polled_type_is_read_by_the_call_of_the_specification(batch_type, call):
    assert batch_type.api_call == call
    assert family_of(batch_type.value) is FAMILIES[call]


@pytest.mark.parametrize(
    "batch_type",
    [
        BatchType.DATA_EXTRACTION,
        BatchType.PORTFOLIO_CREATION,
        BatchType.REINSURANCE_TREATIES,
        BatchType.PORTFOLIO_MAPPING,
        # nobody's
        "Something New",
        "",
    ],
)
def test_a_synchronous_or_unknown_type_is_not_polled(batch_type):
    assert batch_type not in BatchType.polled()
    assert family_of(batch_type) is None


def test_a_type_is_polled_or_synchronous_and_nothing_else():
    assert set(API_CALLS) == BatchType.polled()
    assert len(BatchType) == 12

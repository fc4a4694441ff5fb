import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from helpers import constants
from helpers.constants import (
    BACKWARD_MOVES,
    JOB_MOVES,
    ActionKind,
    ActionStatus,
    BatchStatus,
    BatchType,
    ChainRunStatus,
    ConfigurationStatus,
    CycleStatus,
    Family,
    JobStatus,
    NotificationKind,
    NotificationStatus,
    StartedBy,
    StepStatus,
    unknown_batch_type,
)
from helpers.settings import PROJECT_DIR

MAKEFILE = PROJECT_DIR / "Makefile"


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
        (ChainRunStatus, "PENDING RUNNING COMPLETED FAILED CANCELLED"),
        (NotificationStatus, "PENDING SENT SUPPRESSED ABANDONED"),
        (
            NotificationKind,
            "BATCH_FAILED BATCH_RECOVERED CHAIN_FAILED JOBS_FAILED JOBS_LATE MORNING_REPORT",
        ),
        (
            ActionKind,
            "ARCHIVE RESUBMIT SKIP ACTIVATE RESOLVE CANCEL PRIORITY RERUN HOLD RELEASE",
        ),
        (ActionStatus, "PLANNED DONE FAILED REJECTED UNKNOWN"),
    ],
)
def test_the_labels_are_those_of_the_metastore_in_its_order(enum, labels):
    assert [member.value for member in enum] == labels.split()


def test_a_pass_is_started_by_a_command_a_person_in_a_shell_or_a_notebook():
    assert list(StartedBy) == ["command", "terminal", "notebook", "scheduled notebook"]


@pytest.mark.parametrize(
    ("family", "label", "part", "search_is_proven"),
    [
        (Family.RISK_DATA, "risk data", "riskdata", True),
        (Family.IMPORT, "import", "import", False),
        (Family.GEOHAZ, "geohaz", "geohaz", False),
        (Family.MODEL, "model", "model", True),
        (Family.GROUPING, "grouping", "grouping", False),
        (Family.EXPORT, "export", "export", False),
    ],
)
def test_each_family_says_what_it_is_called_and_where_its_jobs_are_read(
    family, label, part, search_is_proven
):
    assert family == Family(label) == label
    assert family.job_path("23148952") == f"/platform/{part}/v1/jobs/23148952"
    assert family.search_is_proven is search_is_proven


def test_polling_stops_at_the_terminal_statuses_and_at_no_other():
    assert JobStatus.terminal() == {"FINISHED", "FAILED", "CANCELLED", "ERROR"}


def test_a_plain_label_is_found_among_the_terminal_statuses():
    assert "FINISHED" in JobStatus.terminal()
    assert "CANCELLING" not in JobStatus.terminal()


def test_what_moodys_sends_leaves_out_what_is_ours():
    assert JobStatus.of_moodys() == set(JobStatus) - {"INITIATED", "SUBMITTED", "ERROR"}


def test_a_batch_is_left_alone_at_its_four_ends():
    assert BatchStatus.terminal() == {"COMPLETED", "FAILED", "CANCELLED", "ERROR"}


def test_people_hear_of_every_end_but_success():
    assert BatchStatus.announced() == {"FAILED", "CANCELLED", "ERROR"}


IN_WORK = {"PENDING", "QUEUED", "RUNNING"}
CANCELS = {"CANCEL_REQUESTED", "CANCELLING"}
ENDS = {"FINISHED", "FAILED", "CANCELLED", "ERROR"}


@pytest.mark.parametrize(
    ("status", "moves"),
    [
        ("INITIATED", {"SUBMITTED"} | IN_WORK | CANCELS | ENDS),
        ("SUBMITTED", IN_WORK | CANCELS | ENDS),
        ("PENDING", IN_WORK - {"PENDING"} | CANCELS | ENDS),
        ("QUEUED", IN_WORK - {"QUEUED"} | CANCELS | ENDS),
        ("RUNNING", IN_WORK - {"RUNNING"} | CANCELS | ENDS),
        # a cancellation that was asked for has not begun, or is refused
        ("CANCEL_REQUESTED", {"CANCELLING"} | IN_WORK | ENDS),
        ("CANCELLING", IN_WORK | ENDS),
        *[(end, set()) for end in sorted(ENDS)],
    ],
)
def test_every_job_status_has_its_moves(status, moves):
    assert JOB_MOVES[JobStatus(status)] == moves
    assert len(JOB_MOVES) == len(JobStatus)


@pytest.mark.parametrize("status", sorted(set(JobStatus) - JobStatus.terminal()))
def test_every_status_that_is_polled_may_end_in_each_terminal_one(status):
    assert JobStatus.terminal() <= JOB_MOVES[status]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # what is being cancelled has been asked for
        ("CANCELLING", "CANCEL_REQUESTED"),
        # what was submitted is not prepared again
        ("SUBMITTED", "INITIATED"),
        ("RUNNING", "SUBMITTED"),
    ],
)
def test_some_moves_never_happen(old, new):
    assert new not in JOB_MOVES[JobStatus(old)]


def test_a_move_back_is_a_restart_or_a_refused_cancellation():
    assert sorted(BACKWARD_MOVES) == [
        ("CANCELLING", "PENDING"),
        ("CANCELLING", "QUEUED"),
        ("CANCELLING", "RUNNING"),
        ("CANCEL_REQUESTED", "PENDING"),
        ("CANCEL_REQUESTED", "QUEUED"),
        ("CANCEL_REQUESTED", "RUNNING"),
        ("RUNNING", "PENDING"),
        ("RUNNING", "QUEUED"),
    ]
    assert all(new in JOB_MOVES[old] for old, new in BACKWARD_MOVES)


def test_every_other_move_leads_forward():
    """They have no circle but the one of a job that waits in one queue and then in another."""
    forward = {
        old: {new for new in moves if (old, new) not in BACKWARD_MOVES}
        for old, moves in JOB_MOVES.items()
    }
    assert forward[JobStatus.QUEUED] ^ forward[JobStatus.PENDING] == {"QUEUED", "PENDING"}
    forward[JobStatus.QUEUED] -= {JobStatus.PENDING}
    tuple(TopologicalSorter(forward).static_order())  # raises if there is one


@pytest.mark.parametrize(
    ("batch_type", "family"),
    [
        (BatchType.EDM_CREATION, Family.RISK_DATA),
        (BatchType.MRI_IMPORT, Family.IMPORT),
        (BatchType.EDM_DB_UPGRADE, Family.RISK_DATA),
        (BatchType.GEOHAZ, Family.GEOHAZ),
        (BatchType.ANALYSIS, Family.MODEL),
        (BatchType.GROUPING, Family.GROUPING),
        (BatchType.GROUPING_ROLLUP, Family.GROUPING),
        (BatchType.EXPORT_TO_RDM, Family.EXPORT),
        (BatchType.DATA_EXTRACTION, None),
        (BatchType.PORTFOLIO_CREATION, None),
        (BatchType.REINSURANCE_TREATIES, None),
        (BatchType.PORTFOLIO_MAPPING, None),
    ],
)
def test_each_type_says_where_its_jobs_run(batch_type, family):
    assert BatchType.known(batch_type.value) is batch_type
    assert batch_type.family is family
    assert (batch_type in BatchType.polled()) == (family is not None)


def test_there_are_twelve_types():
    assert len(BatchType) == 12


@pytest.mark.parametrize(
    ("label", "nearest"),
    [
        ("analysis", "Analysis"),
        ("ANALYSIS ", "Analysis"),
        ("Anaylsis", "Analysis"),
        ("EDM_Creation", "EDM Creation"),
        ("Grouping rollup", "Grouping Rollup"),
        ("export to rdm", "Export to RDM"),
        # near to none
        ("Windstorm", None),
        ("", None),
        (None, None),
        (7, None),
    ],
)
def test_an_unknown_type_is_none_of_the_twelve_which_are_named_with_the_nearest(label, nearest):
    message = unknown_batch_type(label)

    assert BatchType.known(label) is None
    hint = f"; did you mean {nearest!r}?" if nearest else "."
    assert message == (
        f"{label!r} is not a known batch type{hint} Known are: Analysis, Create Reinsurance "
        "Treaties, Data Extraction, EDM Creation, EDM DB Upgrade, Export to RDM, GeoHaz, Grouping, "
        "Grouping Rollup, MRI Import, Portfolio Creation, Portfolio Mapping."
    )


def with_row(table: str, row: str) -> str:
    """Return the source of the constants with one more row in a table."""
    source = Path(constants.__file__).read_text()
    head, begin, rows = source.partition(f"class {table}(StrEnum):\n")
    docstring, end, rest = rows.partition('"""\n\n')
    return f"{head}{begin}{docstring}{end}    {row}\n{rest}"


@pytest.mark.parametrize(
    ("table", "row"),
    [
        # does not say where its jobs run
        ("BatchType", 'HALF_ADDED = "Half Added"'),
        # does not say where its jobs are kept
        ("Family", 'HALF_ADDED = "half added"'),
    ],
)
def test_a_row_that_says_half_cannot_be_imported(table, row):
    with pytest.raises(ValueError, match="not enough values"):
        exec(with_row(table, row), {"__name__": "half_added"})


def test_the_type_checker_asks_how_the_jobs_of_a_new_family_are_read(tmp_path):
    half_added = tmp_path / "constants.py"
    half_added.write_text(with_row("Family", 'STORM = "storm", "/platform/storm/v1/jobs"'))
    options = ["--cache-dir", str(tmp_path / "cache"), "--follow-imports", "silent"]

    message = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            *options,
            "--shadow-file",
            "helpers/constants.py",
            str(half_added),
            "helpers/irp_integration/client.py",
        ],
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        check=False,
    )

    assert message.returncode == 1, message.stderr
    assert "Family.STORM" in message.stdout


def test_make_check_imports_the_tables_and_runs_the_type_checker():
    [recipe] = re.findall(r"^check:.*\n((?:\t.*\n)+)", MAKEFILE.read_text(), re.MULTILINE)

    assert "import helpers.constants" in recipe
    assert "/mypy" in recipe

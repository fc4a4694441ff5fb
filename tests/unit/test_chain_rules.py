import pytest

from helpers.constants import BatchStatus, BatchType
from helpers.steps.rules import CHAIN_RULES, fired_rule, stage_rules

# Stage, step, batch type, next step, and the statuses that fire it: the reference's table.
TABLE = [
    (2, 1, "Data Extraction", 2, "COMPLETED"),
    (3, 1, "EDM Creation", 2, "COMPLETED"),
    (3, 2, "Portfolio Creation", 3, "COMPLETED"),
    (3, 3, "MRI Import", 4, "COMPLETED"),
    (3, 4, "Create Reinsurance Treaties", 5, "COMPLETED"),
    (3, 5, "EDM DB Upgrade", 6, "COMPLETED"),
    (3, 6, "GeoHaz", 7, "COMPLETED"),
    (3, 7, "Portfolio Mapping", 8, "COMPLETED"),
    # partial results are worth a look
    (4, 1, "Analysis", 2, "COMPLETED FAILED"),
    # a rollup of groups that failed is not
    (5, 1, "Grouping", 2, "COMPLETED"),
    (5, 2, "Grouping Rollup", 3, "COMPLETED FAILED"),
    (6, 1, "Export to RDM", 2, "COMPLETED FAILED"),
]


def batch(stage_num: int, step_num: int, batch_type: str) -> dict:
    return {"stage_num": stage_num, "step_num": step_num, "batch_type": batch_type}


@pytest.mark.parametrize("status", list(BatchStatus))
@pytest.mark.parametrize("row", TABLE)
def test_a_rule_fires_on_its_statuses_and_on_no_other(row, status):
    stage, step, batch_type, next_step, fires_on = row

    rule, _ = fired_rule(batch(stage, step, batch_type), status)

    fired = rule.next_step_num if rule else None
    assert fired == (next_step if status in fires_on.split() else None)


def test_there_are_no_other_rules():
    rows = [(r.stage_num, r.step_num, r.batch_type.value, r.next_step_num) for r in CHAIN_RULES]

    assert rows == [row[:4] for row in TABLE]


@pytest.mark.parametrize("step", [(2, 2), (3, 8), (4, 2), (5, 3), (6, 2), (1, 1), (9, 9)])
def test_a_last_step_and_an_unknown_location_lead_nowhere(step):
    rule, why = fired_rule(batch(*step, BatchType.ANALYSIS), "COMPLETED")

    assert rule is None
    assert why == f"No chain rule leads on from stage {step[0]}, step {step[1]}."


def test_a_batch_of_another_type_in_the_right_location_does_not_chain():
    rule, why = fired_rule(batch(4, 1, BatchType.GROUPING), BatchStatus.COMPLETED)

    assert rule is None
    assert "chains after Analysis, and this batch is Grouping" in why


def test_the_reason_names_what_a_step_waits_for():
    _, why = fired_rule(batch(4, 1, BatchType.ANALYSIS), BatchStatus.ERROR)

    assert why == "Step 4.2 starts when this batch is COMPLETED or FAILED; it is ERROR."


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (BatchStatus.COMPLETED, "Step 4.2 starts by itself: the batch is COMPLETED."),
        (BatchStatus.FAILED, "Step 4.2 starts all the same: the batch is FAILED."),
    ],
)
def test_the_reason_names_the_step_that_starts_and_whether_it_should_surprise(status, sentence):
    assert fired_rule(batch(4, 1, BatchType.ANALYSIS), status)[1] == sentence


def test_a_stage_lists_its_rules_in_the_order_of_its_steps():
    assert [rule.step_num for rule in stage_rules(3)] == [1, 2, 3, 4, 5, 6, 7]
    assert stage_rules(1) == ()

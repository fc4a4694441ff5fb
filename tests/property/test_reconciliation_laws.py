from hypothesis import given
from hypothesis import strategies as st

from helpers.constants import BatchStatus, JobStatus
from helpers.reconciliation import BatchFacts, Decision, decide

TERMINAL = {status.value for status in JobStatus.terminal()}
# What a database may hold: known labels, and one that a later version knows.
LABELS = [*(status.value for status in JobStatus), "HIBERNATING"]

jobs_of_a_batch = st.lists(
    st.tuples(st.sampled_from(LABELS), st.booleans(), st.one_of(st.none(), st.integers(1, 5))),
    max_size=12,
)
configurations_of_a_batch = st.dictionaries(st.integers(1, 5), st.booleans(), max_size=5)


def counted(jobs, configurations) -> BatchFacts:
    """Count jobs of (label, skipped, configuration) and configurations of {id: skipped}."""
    live = [(i, label) for i, (label, skipped, _) in enumerate(jobs, 1) if not skipped]
    done = {c for label, skipped, c in jobs if label == "FINISHED" and not skipped}
    counts: dict[str, int] = {}
    for label, skipped, _ in jobs:
        key = "SKIPPED" if skipped else label
        counts[key] = counts.get(key, 0) + 1
    wanted = [c for c, skipped in configurations.items() if not skipped]
    return BatchFacts(
        total_jobs=len(jobs),
        non_skipped_jobs=len(live),
        job_status_counts=counts,
        failed_job_ids=[i for i, label in live if label == "FAILED"],
        cancelled_job_ids=[i for i, label in live if label == "CANCELLED"],
        error_job_ids=[i for i, label in live if label == "ERROR"],
        total_configs=len(configurations),
        non_skipped_configs=len(wanted),
        fulfilled_configs=len(set(wanted) & done),
        unfulfilled_config_ids=[c for c in wanted if c not in done],
    )


def decided(jobs, configurations) -> Decision:
    return decide(counted(jobs, configurations))


@given(jobs_of_a_batch, configurations_of_a_batch)
def test_while_one_job_still_runs_the_batch_stays_active(jobs, configurations):
    """The priorities decide among terminal jobs only."""
    if any(label not in TERMINAL and not skipped for label, skipped, _ in jobs):
        assert decided(jobs, configurations).status is BatchStatus.ACTIVE


@given(jobs_of_a_batch, configurations_of_a_batch)
def test_finished_jobs_are_judged_in_the_order_of_the_reference(jobs, configurations):
    """CANCELLED where all are, else ERROR, else FAILED, else COMPLETED where all is fulfilled."""
    live = [label for label, skipped, _ in jobs if not skipped]
    if not live or not set(live) <= TERMINAL:
        return
    status = decided(jobs, configurations).status
    if set(live) == {"CANCELLED"}:
        assert status is BatchStatus.CANCELLED
    elif "ERROR" in live:
        assert status is BatchStatus.ERROR
    elif "FAILED" in live:
        assert status is BatchStatus.FAILED
    else:
        unfulfilled = counted(jobs, configurations).unfulfilled_config_ids
        assert status is (BatchStatus.ACTIVE if unfulfilled else BatchStatus.COMPLETED)


@given(jobs_of_a_batch, configurations_of_a_batch)
def test_nothing_stays_active_without_a_reason(jobs, configurations):
    """Nothing may stay ACTIVE without a reason on the screen; what waits for nobody says so."""
    decision = decided(jobs, configurations)

    assert decision.reason.strip()
    if decision.status is BatchStatus.ACTIVE:
        open_jobs = any(label not in TERMINAL and not skipped for label, skipped, _ in jobs)
        assert decision.needs_attention is not open_jobs


@given(jobs_of_a_batch, configurations_of_a_batch, st.lists(st.sampled_from(LABELS)))
def test_skipped_jobs_decide_nothing(jobs, configurations, skipped_labels):
    """Skipped jobs are excluded from status determination."""
    more = [*jobs, *((label, True, 1) for label in skipped_labels)]

    assert decided(more, configurations).status is decided(jobs, configurations).status


@given(jobs_of_a_batch, configurations_of_a_batch)
def test_the_summary_accounts_for_every_job_and_configuration(jobs, configurations):
    summary = counted(jobs, configurations).summary()

    assert sum(summary["job_status_counts"].values()) == summary["total_jobs"] == len(jobs)
    assert (
        summary["fulfilled_configs"] + summary["unfulfilled_configs"]
        == summary["non_skipped_configs"]
    )

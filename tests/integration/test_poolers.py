"""A pooler that shares sessions would leak locks: it is noticed before anything is written."""

import pytest

from helpers.constants import BatchType
from helpers.database import AdvisoryLocks, close_pools
from helpers.database.migrations import migrate
from helpers.errors import SettingsError
from helpers.monitor import run_pass
from sandbox.seeding import add_cycle
from tests.support.passes import active_batch, configure, jobs_of, rows, running
from tests.support.pooler import transaction_pooler


@pytest.fixture
def seeded(metastore, moodys, workflows) -> str:
    """The URL of a metastore with work to do."""
    active_batch(add_cycle("Q1"), BatchType.ANALYSIS, [running(moodys, "model", "FINISHED")])
    close_pools()
    return metastore


@pytest.mark.parametrize("takes_turns", [False, True])
@pytest.mark.parametrize("sessions", [2, 5])
def test_a_pass_through_a_transaction_pooler_is_refused_with_one_sentence(
    seeded, sql, moodys, monkeypatch, sessions, takes_turns
):
    with transaction_pooler(seeded, sessions=sessions, takes_turns=takes_turns) as url:
        configure(monkeypatch, database_url=url)
        for _ in range(3):  # whatever session a connection gets
            with pytest.raises(SettingsError, match=r"pool_mode = transaction") as caught:
                run_pass()
        close_pools()

    assert "let DATABASE_URL lead to PostgreSQL itself" in str(caught.value)
    assert set(jobs_of(sql).values()) == {"SUBMITTED"}
    assert rows(sql, "SELECT count(*) FROM irp_monitor_run") == [(0,)]
    assert moodys.statistics()["requests_total"] == 0


def test_no_lock_is_taken_and_nothing_migrated_through_a_transaction_pooler(seeded, monkeypatch):
    with transaction_pooler(seeded, sessions=2) as url:
        configure(monkeypatch, database_url=url)
        for attempt in (lambda: AdvisoryLocks(owner="a"), migrate):
            with pytest.raises(SettingsError, match="pool_mode"):
                attempt()
        close_pools()


def test_a_direct_connection_is_none(seeded, sql):
    assert run_pass().batches_found == 1
    assert jobs_of(sql) == {1: "FINISHED"}

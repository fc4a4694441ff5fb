"""Who follows the metastore is told of what changes, and never writes."""

import queue

import psycopg
import pytest

from helpers.board import following
from helpers.board.following import Follower, Sight
from helpers.constants import BatchStatus, BatchType, JobStatus
from helpers.database import ChangeFeed, close_pools, queries, transaction
from helpers.errors import DatabaseError, DatabaseUnavailableError
from sandbox.seeding import PreparedJob, add_batch, add_cycle, add_step
from tests.support.passes import configure
from tests.support.pooler import transaction_pooler
from tests.support.waiting import PATIENCE_SECONDS, wait_until

OWNER = "batch-monitor page"


@pytest.fixture
def batch(metastore, sql):
    step = add_step(add_cycle("Q1"), stage_num=3, step_num=6)
    jobs = [PreparedJob(JobStatus.RUNNING, str(number)) for number in range(1, 51)]
    made = add_batch(step, BatchType.GEOHAZ, jobs, status=BatchStatus.ACTIVE)
    close_pools()
    return made


@pytest.fixture
def feed(batch):
    with ChangeFeed(owner=OWNER) as feed:
        assert feed.is_notified
        yield feed


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE irp_job SET status = 'FINISHED' WHERE id = 1",
        "UPDATE irp_batch SET status = 'FAILED', completed_ts = now()",
        "INSERT INTO irp_job (batch_id, status) VALUES (1, 'INITIATED')",
        "DELETE FROM irp_job WHERE id = 50",
        "UPDATE irp_cycle SET status = 'ARCHIVED'",
        "INSERT INTO irp_step_run (step_id, run_num, status) VALUES (1, 1, 'ACTIVE')",
        "INSERT INTO irp_acknowledgement (item, fingerprint, note, person) SELECT '', '', '', ''",
        "INSERT INTO irp_monitor_run (host, pid, package_version, started_by) SELECT '', 1, '', ''",
    ],
)
def test_any_change_of_the_work_is_noticed_whoever_makes_it(feed, sql, change):
    assert not feed.wait(0)
    sql.execute(change)
    assert feed.wait(PATIENCE_SECONDS)


def test_a_transaction_is_noticed_once_when_it_is_committed_and_not_if_it_is_rolled_back(
    feed, metastore
):
    with psycopg.connect(metastore) as other:
        for job_id in range(1, 51):
            other.execute("UPDATE irp_job SET status = 'FAILED' WHERE id = %s", [job_id])
        assert not feed.wait(0)
        other.rollback()
        other.execute("UPDATE irp_job SET status = 'FINISHED'")
        other.execute("UPDATE irp_batch SET status = 'COMPLETED'")
        other.commit()
        assert feed.wait(PATIENCE_SECONDS)
        other.execute("SELECT pg_notify('irp_change', 'the last')")
        other.commit()
        assert feed.wait(PATIENCE_SECONDS)
        assert not feed.wait(0)


def test_what_changes_while_it_reads_is_noticed_afterwards(feed, sql):
    with feed.reading():
        first = queries("board").steps()
        sql.execute("UPDATE irp_job SET status = 'FINISHED'")
        assert queries("board").steps() == first  # as of one moment
    assert feed.wait(PATIENCE_SECONDS)


def test_it_cannot_write(feed, sql):
    with pytest.raises(DatabaseError, match="read-only"), feed.reading(), transaction() as own:
        own.execute("UPDATE irp_job SET status = 'FINISHED'")
    assert sql.execute("SELECT count(*) FROM irp_job WHERE status = 'RUNNING'").fetchone() == (50,)


def test_a_lost_connection_is_an_error(feed, sql):
    sql.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s",
        [OWNER],
    )
    with pytest.raises(DatabaseUnavailableError):
        feed.wait(PATIENCE_SECONDS)


@pytest.mark.parametrize("sessions", [2, 5])
def test_through_a_transaction_pooler_nothing_is_listened_to(
    batch, metastore, monkeypatch, sessions
):
    with transaction_pooler(metastore, sessions=sessions) as url:
        configure(monkeypatch, database_url=url)
        with ChangeFeed(owner=OWNER) as feed, feed.reading():
            assert not feed.is_notified
            assert len(queries("board").steps()) == 1


class Seen:
    """What a follower has published, in order."""

    def __init__(self) -> None:
        self.sights: queue.Queue[Sight] = queue.Queue()

    def next(self) -> Sight:
        return self.sights.get(timeout=PATIENCE_SECONDS)


def running() -> dict[str, str]:
    [step] = queries("board").steps()
    return {"running": str(step["batches"][0]["counts"].get("RUNNING", 0))}


@pytest.fixture
def follow():
    """Follow the metastore, until the test has ended."""
    followers: list[Follower] = []

    def start(look=running) -> Seen:
        seen = Seen()
        followers.append(Follower(look, seen.sights.put))
        return seen

    yield start
    for follower in followers:
        follower.stop()
        follower.join(PATIENCE_SECONDS)


def connections(sql) -> int:
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
    return sql.execute(count, [OWNER]).fetchone()[0]


def test_a_follower_looks_at_once_and_again_when_something_has_changed(batch, follow, sql):
    seen = follow()
    assert seen.next() == Sight({"running": "50"})
    sql.execute("UPDATE irp_job SET status = 'FINISHED' WHERE id <= 10")
    assert seen.next() == Sight({"running": "40"})


def test_many_changes_are_a_few_looks(batch, follow, sql):
    seen = follow()
    seen.next()
    for job_id in range(1, 41):
        sql.execute("UPDATE irp_job SET status = 'FINISHED' WHERE id = %s", [job_id])
    looks = 1
    while seen.next().parts != {"running": "10"}:
        looks += 1
    assert looks < 20


def test_unnotified_it_looks_every_now_and_then(batch, metastore, follow, sql, monkeypatch):
    monkeypatch.setattr(following, "REFRESH_UNNOTIFIED_SECONDS", 0.1)
    with transaction_pooler(metastore, sessions=3) as url:
        configure(monkeypatch, database_url=url)
        seen = follow()
        assert seen.next() == Sight({"running": "50"}, is_notified=False)
        sql.execute("UPDATE irp_job SET status = 'FINISHED'")
        while seen.next().parts != {"running": "0"}:
            pass


def test_a_lost_connection_is_reported_and_made_anew(batch, follow, sql):
    seen = follow()
    seen.next()
    sql.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s",
        [OWNER],
    )
    lost = seen.next()
    assert lost.parts is None
    assert lost.problem.startswith("The database cannot be reached")
    assert seen.next() == Sight({"running": "50"})


@pytest.mark.parametrize("error", [DatabaseError("x is missing"), ZeroDivisionError("x")])
def test_what_cannot_be_shown_is_reported_and_tried_again(batch, follow, error):
    tries = iter([error])

    def look():
        for one in tries:
            raise one
        return running()

    seen = follow(look)
    assert "x" in seen.next().problem
    assert seen.next() == Sight({"running": "50"})


def test_a_follower_has_one_connection_and_closes_it(batch, sql):
    seen = Seen()
    first = Follower(running, seen.sights.put)
    seen.next()
    assert connections(sql) == 1
    first.stop()
    second = Follower(running, seen.sights.put, after=first)
    seen.next()
    assert connections(sql) == 1
    second.stop()
    second.join(PATIENCE_SECONDS)
    wait_until(lambda: connections(sql) == 0)

import threading
import time

import pytest

from helpers.batch import recon_batch
from helpers.chaining import runs as chain_runs
from helpers.chaining.runs import ChainRun, Heartbeat
from helpers.constants import BatchStatus
from helpers.database import queries, transaction
from helpers.errors import DatabaseUnavailableError
from helpers.identity import owner_id
from helpers.step_execution import StepExecution
from helpers.workflow_paths import workflows_dir
from sandbox.seeding import SeededBatch, add_batch, add_step
from sandbox.statements import statements
from tests.support.analysis import analysis_batch, job
from tests.support.waiting import wait_until


@pytest.fixture
def batch(metastore) -> SeededBatch:
    """A batch that has ended, and whose hand-over is due."""
    seeded = analysis_batch([job("FINISHED", "1")])
    assert recon_batch(seeded.batch_id) == "COMPLETED"
    return seeded


def rows(sql, columns: str = "status::text, attempt, owner, error_message"):
    return sql.execute(f"SELECT {columns} FROM irp_chain_run ORDER BY id").fetchall()


def age(sql, seconds: int) -> None:
    """Let the owners' last heartbeat be that old."""
    sql.execute(
        "UPDATE irp_chain_run SET heartbeat_ts = now() - make_interval(secs => %s), "
        "owner = 'a dead one'",
        [seconds],
    )


def activate_again(sql, batch_id: int, *, ends: bool = False) -> None:
    sql.execute("UPDATE irp_batch SET status = 'ACTIVE' WHERE id = %s", [batch_id])
    if ends:
        assert recon_batch(batch_id) == "COMPLETED"


def test_a_hand_over_that_is_due_is_claimed_with_all_that_is_needed(batch, sql):
    claim = chain_runs.claim()

    step = sql.execute("SELECT id FROM irp_step WHERE step_num = 2").fetchone()[0]
    assert claim == ChainRun(
        id=claim.id,
        batch_id=batch.batch_id,
        activation_num=1,
        stage_num=4,
        from_step_num=1,
        next_step_num=2,
        next_step_id=step,
        attempt=1,
    )
    assert rows(sql) == [("RUNNING", 1, owner_id(), None)]
    assert chain_runs.owner_at_work(step) == owner_id()


def test_exactly_one_of_many_gets_a_claim(batch):
    claims: list[ChainRun | None] = []
    barrier = threading.Barrier(8)

    def work() -> None:
        barrier.wait()
        claims.append(chain_runs.claim())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert len(claims) == 8
    assert sum(claim is not None for claim in claims) == 1


def test_several_hand_overs_are_claimed_oldest_first_each_once(metastore, sql):
    seeded = [analysis_batch([job("FINISHED", "1")], cycle=f"Cycle {i}") for i in range(3)]
    for batch in reversed(seeded):
        recon_batch(batch.batch_id)

    claims = [chain_runs.claim() for _ in range(4)]

    assert [claim and claim.batch_id for claim in claims] == [
        *(batch.batch_id for batch in reversed(seeded)),
        None,
    ]


def test_a_step_is_claimed_by_name_and_no_other_is(batch, sql):
    other = analysis_batch([job("FINISHED", "1")], cycle="Other")
    recon_batch(other.batch_id)
    [(step,)] = sql.execute(
        "SELECT next_step_id FROM irp_chain_run WHERE batch_id = %s", [other.batch_id]
    ).fetchall()

    assert chain_runs.claim(next_step_id=step).batch_id == other.batch_id
    assert chain_runs.claim(next_step_id=step) is None
    assert chain_runs.claim(next_step_id=999) is None


@pytest.mark.parametrize(
    ("silent_seconds", "claimable"),
    [
        # alive
        (0, False),
        (85, False),
        # dead
        (95, True),
    ],
)
def test_a_hand_over_is_taken_from_an_owner_that_fell_silent(batch, sql, silent_seconds, claimable):
    first = chain_runs.claim()
    age(sql, silent_seconds)

    second = chain_runs.claim()

    assert (second is not None) == claimable
    if claimable:
        assert (second.id, second.attempt) == (first.id, 2)


def begin(claim: ChainRun) -> None:
    with transaction() as connection:
        step = queries("steps").step_by_id(connection, step_id=claim.next_step_id)
    StepExecution(step, workflows_dir() / "x.ipynb", timeout_seconds=1, claim=claim).begin()


def step_runs(sql):
    return sql.execute(
        "SELECT status::text, error_message FROM irp_step_run ORDER BY id"
    ).fetchall()


def test_what_a_dead_owner_had_begun_is_ended_by_the_heir(batch, sql):
    begin(chain_runs.claim())
    age(sql, 95)

    begin(chain_runs.claim())

    ended = "The monitor that ran this notebook ended before it did."
    assert step_runs(sql) == [("FAILED", ended), ("ACTIVE", None)]


def test_a_start_that_was_recorded_although_it_seemed_to_fail_is_ended_by_the_next_try(batch, sql):
    claim = chain_runs.claim()

    begin(claim)
    begin(claim)

    assert [status for status, _ in step_runs(sql)] == ["FAILED", "ACTIVE"]


def test_a_notebook_that_is_about_to_run_is_a_sign_of_life(batch, sql):
    claim = chain_runs.claim()
    sql.execute("UPDATE irp_chain_run SET heartbeat_ts = now() - interval '80 s'")

    assert chain_runs.note_start(claim, step_run_id=None, notebook_path="x") is True

    assert rows(sql, "heartbeat_ts > now() - interval '10 s'") == [(True,)]


def test_whoever_lost_a_hand_over_has_no_say_in_it(batch, sql):
    lost = chain_runs.claim()
    sql.execute("UPDATE irp_chain_run SET owner = 'the heir'")
    before = rows(sql, "*")

    assert chain_runs.note_start(lost, step_run_id=None, notebook_path="x") is False
    assert chain_runs.finish(lost, error=None) is False
    chain_runs.release(lost, reason="x")

    assert rows(sql, "*") == before


@pytest.mark.parametrize(("error", "status"), [(None, "COMPLETED"), ("\x1b[31mNo\x00", "FAILED")])
def test_a_hand_over_ends_as_its_notebook_did_and_is_not_claimed_again(batch, sql, error, status):
    claim = chain_runs.claim()

    assert chain_runs.finish(claim, error=error) is True

    assert rows(sql, "status::text, error_message") == [(status, error and "No")]
    assert chain_runs.claim() is None
    assert chain_runs.open_runs() == []
    assert chain_runs.finish(claim, error=None) is False


def test_a_hand_over_that_is_given_back_is_due_again(batch, sql):
    claim = chain_runs.claim()

    chain_runs.release(claim, reason="interrupted")

    assert rows(sql) == [("PENDING", 1, None, "interrupted")]
    assert chain_runs.claim().attempt == 2


def test_a_hand_over_of_an_archived_cycle_waits(batch, sql):
    sql.execute("UPDATE irp_cycle SET status = 'ARCHIVED'")
    assert chain_runs.claim() is None
    [waiting] = chain_runs.open_runs()
    assert (waiting["status"], waiting["cycle_status"]) == ("PENDING", "ARCHIVED")

    sql.execute("UPDATE irp_cycle SET status = 'ACTIVE'")
    assert chain_runs.claim() is not None


def test_a_hand_over_whose_batch_became_active_again_is_not_started_but_cancelled(batch, sql):
    activate_again(sql, batch.batch_id)

    assert chain_runs.claim() is None
    assert chain_runs.close_abandoned() == []

    [(status, attempt, owner, error)] = rows(sql)
    assert (status, attempt, owner) == ("CANCELLED", 0, None)
    assert "became active again" in error


def test_each_activation_hands_over_once(batch, sql):
    chain_runs.finish(chain_runs.claim(), error=None)
    activate_again(sql, batch.batch_id, ends=True)

    second = chain_runs.claim()

    assert second.activation_num == 2
    assert chain_runs.claim() is None
    assert rows(sql, "activation_num, status::text") == [(1, "COMPLETED"), (2, "RUNNING")]


def test_a_step_that_still_runs_is_not_started_a_second_time(batch, sql):
    first = chain_runs.claim()
    activate_again(sql, batch.batch_id, ends=True)

    assert chain_runs.close_abandoned() == []  # its owner lives
    assert chain_runs.claim() is None

    chain_runs.finish(first, error=None)
    assert chain_runs.claim().activation_num == 2


def test_what_was_overtaken_under_a_dead_owner_makes_way(batch, sql):
    begin(chain_runs.claim())
    activate_again(sql, batch.batch_id, ends=True)
    sql.execute(
        "UPDATE irp_chain_run SET heartbeat_ts = now() - interval '95 s' WHERE status = 'RUNNING'"
    )

    assert chain_runs.close_abandoned() == []

    assert rows(sql, "status::text") == [("CANCELLED",), ("PENDING",)]
    assert step_runs(sql)[0][0] == "FAILED"
    assert chain_runs.claim().activation_num == 2


def test_two_batches_of_one_step_do_not_run_its_follower_at_the_same_time(batch, sql):
    step = sql.execute("SELECT step_id FROM irp_batch").fetchone()[0]
    other = add_batch(step, "Analysis", status=BatchStatus.ACTIVE)
    recon_batch(other.batch_id)

    first = chain_runs.claim()
    assert chain_runs.claim() is None
    chain_runs.finish(first, error=None)

    assert chain_runs.claim().batch_id == other.batch_id


def test_after_three_attempts_people_look_first(batch, sql):
    for attempt in (1, 2, 3):
        assert chain_runs.claim().attempt == attempt
        assert chain_runs.close_abandoned() == []
        age(sql, 95)

    assert chain_runs.claim() is None
    [abandoned] = chain_runs.close_abandoned()

    assert abandoned["batch_id"] == batch.batch_id
    assert "Each of 3 attempts" in abandoned["error_message"]
    assert rows(sql, "status::text, attempt") == [("FAILED", 3)]
    assert chain_runs.close_abandoned() == []


def test_a_hand_over_to_a_step_that_the_metastore_lacks_is_claimed_without_it(metastore, sql):
    seeded = analysis_batch([job("FINISHED", "1")])
    sql.execute("DELETE FROM irp_step WHERE step_num = 2")
    recon_batch(seeded.batch_id)

    claim = chain_runs.claim()

    assert (claim.next_step_num, claim.next_step_id) == (2, None)


def test_the_owner_at_work_is_nobody_once_it_fell_silent(batch, sql):
    step = chain_runs.claim().next_step_id
    age(sql, 95)

    assert chain_runs.owner_at_work(step) is None


def test_a_heartbeat_renews_what_is_owned_and_tells_what_was_lost(batch, sql):
    lost: list[int] = []
    claim = chain_runs.claim()
    heartbeat = Heartbeat(lost.append)
    heartbeat._renewed[claim.id] = time.monotonic() - 80
    sql.execute("UPDATE irp_chain_run SET heartbeat_ts = now() - interval '80 s'")

    heartbeat.beat()
    [(fresh,)] = sql.execute("SELECT heartbeat_ts > now() - interval '10 s' FROM irp_chain_run")
    assert fresh
    heartbeat.tell_the_silent()
    assert lost == []

    sql.execute("UPDATE irp_chain_run SET owner = 'the heir'")
    heartbeat.beat()
    heartbeat.beat()
    assert lost == [claim.id]


def test_an_owner_that_cannot_renew_stops_before_others_may_claim(batch, monkeypatch):
    lost: list[int] = []
    claim = chain_runs.claim()
    heartbeat = Heartbeat(lost.append)

    def unreachable(ids: list[int]) -> set[int]:
        raise DatabaseUnavailableError("gone")

    monkeypatch.setattr(heartbeat, "_renew", unreachable)
    for silent_seconds, expected in ((0, []), (40, []), (46, [claim.id]), (90, [claim.id])):
        if claim.id not in lost:
            heartbeat._renewed[claim.id] = time.monotonic() - silent_seconds
        heartbeat.beat()
        heartbeat.tell_the_silent()
        assert lost == expected


def test_a_beat_that_hangs_does_not_hide_the_silence(batch, monkeypatch):
    monkeypatch.setattr(chain_runs, "HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(chain_runs, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(chain_runs, "_SILENCE_SECONDS", 0.05)
    claim, lost, may_end = chain_runs.claim(), [], threading.Event()
    heartbeat = Heartbeat(lost.append)
    monkeypatch.setattr(heartbeat, "_renew", lambda ids: (may_end.wait(), set(ids))[1])

    heartbeat.add(claim)
    try:
        wait_until(lambda: lost == [claim.id])
    finally:
        may_end.set()
        heartbeat.stop()


def test_a_beat_waits_for_nobodys_lock_for_long(batch, sql, monkeypatch):
    monkeypatch.setattr(chain_runs, "_BEAT_LIMIT", "100ms")
    claim = chain_runs.claim()
    heartbeat = Heartbeat(lambda run_id: None)
    long_ago = time.monotonic() - 20
    heartbeat._renewed[claim.id] = long_ago

    with sql.transaction():
        sql.execute("SELECT FROM irp_chain_run FOR UPDATE")
        heartbeat.beat()
    assert heartbeat._renewed == {claim.id: long_ago}

    monkeypatch.setattr(chain_runs, "_BEAT_LIMIT", "60s")
    heartbeat.beat()
    assert heartbeat._renewed[claim.id] > long_ago


def test_whatever_keeps_a_beat_from_renewing_does_not_end_the_heartbeat(batch, monkeypatch):
    monkeypatch.setattr(chain_runs, "HEARTBEAT_SECONDS", 0.01)
    heartbeat, beats = Heartbeat(lambda run_id: None), []

    def out_of_descriptors(ids: list[int]) -> set[int]:
        beats.append(ids)
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(heartbeat, "_renew", out_of_descriptors)
    heartbeat.add(chain_runs.claim())
    wait_until(lambda: len(beats) > 2)
    heartbeat.stop()


def test_a_heartbeat_beats_by_itself_until_it_is_stopped(batch, sql, monkeypatch):
    beaten = threading.Event()
    monkeypatch.setattr(chain_runs, "HEARTBEAT_SECONDS", 0.01)
    heartbeat = Heartbeat(lambda run_id: None)
    renew = heartbeat._renew
    monkeypatch.setattr(heartbeat, "_renew", lambda ids: (renew(ids), beaten.set())[0])
    claim = chain_runs.claim()

    heartbeat.add(claim)
    assert beaten.wait(20)
    heartbeat.remove(claim)
    heartbeat.stop()

    assert not [t for t in threading.enumerate() if t.name == "heartbeat"]


def test_two_runs_of_a_step_that_start_together_take_two_numbers(metastore):
    step = add_step(analysis_cycle(), stage_num=4, step_num=1)
    numbers: list[int] = []
    barrier = threading.Barrier(4)

    def start() -> None:
        barrier.wait()
        with transaction() as connection:
            queries("steps").lock_step(connection, step_id=step)
            row = queries("steps").start_step_run(connection, step_id=step, started_by="x")
        numbers.append(row["run_num"])

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert sorted(numbers) == [1, 2, 3, 4]


def analysis_cycle() -> int:
    with transaction() as connection:
        cycle: int = statements().cycle(connection, name="Q1", status="ACTIVE")
    return cycle


def test_an_owner_is_known_to_no_other_process(monkeypatch):
    mine = owner_id()
    assert owner_id() == mine

    monkeypatch.setattr("os.getpid", lambda: 1)

    assert owner_id() != mine

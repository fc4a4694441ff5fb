import threading
import time

import pytest

from helpers.batch import recon_batch
from helpers.constants import BatchStatus
from helpers.database import queries, transaction
from helpers.errors import DatabaseUnavailableError
from helpers.identity import owner_id
from helpers.records import ChainRun
from helpers.steps import claims
from helpers.steps import heartbeat as beats
from helpers.steps.claims import Claim
from helpers.steps.execution import StepExecution
from helpers.steps.heartbeat import Heartbeat
from helpers.workflow_paths import workflows_dir
from sandbox.seeding import SeededBatch, add_batch, add_step
from sandbox.statements import statements
from tests.support.analysis import CYCLE, analysis_batch, job
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
    claim = claims.claim()

    step = sql.execute("SELECT id FROM irp_step WHERE step_num = 2").fetchone()[0]
    assert claim.attempt == 1
    assert (claim.step["step_id"], claim.step["step_name"]) == (step, "Step 2")
    assert claim.run == ChainRun(
        id=claim.id,
        batch_id=batch.batch_id,
        activation_num=1,
        batch_type="Analysis",
        cycle_name=CYCLE,
        stage_num=4,
        stage_name="Stage 4",
        step_num=1,
        step_name="Execute Analysis",
        next_step_num=2,
        next_step_id=step,
    )
    assert rows(sql) == [("RUNNING", 1, owner_id(), None)]
    assert claims.running_owner(step) == owner_id()


def test_exactly_one_of_many_gets_a_claim(batch):
    got: list[Claim | None] = []
    barrier = threading.Barrier(8)

    def work() -> None:
        barrier.wait()
        got.append(claims.claim())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert len(got) == 8
    assert sum(claim is not None for claim in got) == 1


def test_several_hand_overs_are_claimed_oldest_first_each_once(metastore, sql):
    seeded = [analysis_batch([job("FINISHED", "1")], cycle=f"Cycle {i}") for i in range(3)]
    for batch in reversed(seeded):
        recon_batch(batch.batch_id)

    got = [claims.claim() for _ in range(4)]

    assert [claim and claim.run["batch_id"] for claim in got] == [
        *(batch.batch_id for batch in reversed(seeded)),
        None,
    ]


def test_a_step_is_claimed_by_name_and_no_other_is(batch, sql):
    other = analysis_batch([job("FINISHED", "1")], cycle="Other")
    recon_batch(other.batch_id)
    [(step,)] = sql.execute(
        "SELECT next_step_id FROM irp_chain_run WHERE batch_id = %s", [other.batch_id]
    ).fetchall()

    assert claims.claim(next_step_id=step).run["batch_id"] == other.batch_id
    assert claims.claim(next_step_id=step) is None
    assert claims.claim(next_step_id=999) is None


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
    first = claims.claim()
    age(sql, silent_seconds)

    second = claims.claim()

    assert (second is not None) == claimable
    if claimable:
        assert (second.id, second.attempt) == (first.id, 2)


def begin(claim: Claim) -> None:
    StepExecution(claim.step, workflows_dir() / "x.ipynb", timeout_seconds=1, claim=claim).begin()


def step_runs(sql):
    return sql.execute(
        "SELECT status::text, error_message FROM irp_step_run ORDER BY id"
    ).fetchall()


def test_what_a_dead_owner_had_begun_is_ended_by_the_heir(batch, sql):
    begin(claims.claim())
    age(sql, 95)

    begin(claims.claim())

    ended = "The monitor that ran this notebook ended before it did."
    assert step_runs(sql) == [("FAILED", ended), ("ACTIVE", None)]


def test_a_start_that_was_recorded_although_it_seemed_to_fail_is_ended_by_the_next_try(batch, sql):
    claim = claims.claim()

    begin(claim)
    begin(claim)

    assert [status for status, _ in step_runs(sql)] == ["FAILED", "ACTIVE"]


def test_a_notebook_that_is_about_to_run_is_a_sign_of_life(batch, sql):
    claim = claims.claim()
    sql.execute("UPDATE irp_chain_run SET heartbeat_ts = now() - interval '80 s'")

    assert claims.note_start(claim, step_run_id=None, notebook_path="x") is True

    assert rows(sql, "heartbeat_ts > now() - interval '10 s'") == [(True,)]


def test_whoever_lost_a_hand_over_has_no_say_in_it(batch, sql):
    lost = claims.claim()
    sql.execute("UPDATE irp_chain_run SET owner = 'the heir'")
    before = rows(sql, "*")

    assert claims.note_start(lost, step_run_id=None, notebook_path="x") is False
    assert claims.finish(lost, error=None) is False
    claims.release(lost, reason="x")

    assert rows(sql, "*") == before


@pytest.mark.parametrize(("error", "status"), [(None, "COMPLETED"), ("\x1b[31mNo\x00", "FAILED")])
def test_a_hand_over_ends_as_its_notebook_did_and_is_not_claimed_again(batch, sql, error, status):
    claim = claims.claim()

    assert claims.finish(claim, error=error) is True

    assert rows(sql, "status::text, error_message") == [(status, error and "No")]
    assert claims.claim() is None
    assert claims.open_runs() == []
    assert claims.finish(claim, error=None) is False


def test_a_hand_over_that_is_given_back_is_due_again(batch, sql):
    claim = claims.claim()

    claims.release(claim, reason="interrupted")

    assert rows(sql) == [("PENDING", 1, None, "interrupted")]
    assert claims.claim().attempt == 2


def test_a_hand_over_of_an_archived_cycle_waits(batch, sql):
    sql.execute("UPDATE irp_cycle SET status = 'ARCHIVED'")
    assert claims.claim() is None
    [waiting] = claims.open_runs()
    assert (waiting["status"], waiting["cycle_status"]) == ("PENDING", "ARCHIVED")

    sql.execute("UPDATE irp_cycle SET status = 'ACTIVE'")
    assert claims.claim() is not None


def test_a_hand_over_whose_batch_became_active_again_is_not_started_but_cancelled(batch, sql):
    activate_again(sql, batch.batch_id)

    assert claims.claim() is None
    assert claims.close_abandoned() == []

    [(status, attempt, owner, error)] = rows(sql)
    assert (status, attempt, owner) == ("CANCELLED", 0, None)
    assert "became active again" in error


def test_each_activation_hands_over_once(batch, sql):
    claims.finish(claims.claim(), error=None)
    activate_again(sql, batch.batch_id, ends=True)

    second = claims.claim()

    assert second.run["activation_num"] == 2
    assert claims.claim() is None
    assert rows(sql, "activation_num, status::text") == [(1, "COMPLETED"), (2, "RUNNING")]


def test_a_step_that_still_runs_is_not_started_a_second_time(batch, sql):
    first = claims.claim()
    activate_again(sql, batch.batch_id, ends=True)

    assert claims.close_abandoned() == []  # its owner lives
    assert claims.claim() is None

    claims.finish(first, error=None)
    assert claims.claim().run["activation_num"] == 2


def test_what_was_overtaken_under_a_dead_owner_makes_way(batch, sql):
    begin(claims.claim())
    activate_again(sql, batch.batch_id, ends=True)
    sql.execute(
        "UPDATE irp_chain_run SET heartbeat_ts = now() - interval '95 s' WHERE status = 'RUNNING'"
    )

    assert claims.close_abandoned() == []

    assert rows(sql, "status::text") == [("CANCELLED",), ("PENDING",)]
    assert step_runs(sql)[0][0] == "FAILED"
    assert claims.claim().run["activation_num"] == 2


def test_two_batches_of_one_step_do_not_run_its_follower_at_the_same_time(batch, sql):
    step = sql.execute("SELECT step_id FROM irp_batch").fetchone()[0]
    other = add_batch(step, "Analysis", status=BatchStatus.ACTIVE)
    recon_batch(other.batch_id)

    first = claims.claim()
    assert claims.claim() is None
    claims.finish(first, error=None)

    assert claims.claim().run["batch_id"] == other.batch_id


def test_after_three_attempts_people_look_first(batch, sql):
    for attempt in (1, 2, 3):
        assert claims.claim().attempt == attempt
        assert claims.close_abandoned() == []
        age(sql, 95)

    assert claims.claim() is None
    [abandoned] = claims.close_abandoned()

    assert abandoned["batch_id"] == batch.batch_id
    assert "Each of 3 attempts" in abandoned["error_message"]
    assert rows(sql, "status::text, attempt") == [("FAILED", 3)]
    assert claims.close_abandoned() == []


def test_a_hand_over_to_a_step_that_the_metastore_lacks_is_claimed_without_it(metastore, sql):
    seeded = analysis_batch([job("FINISHED", "1")])
    sql.execute("DELETE FROM irp_step WHERE step_num = 2")
    recon_batch(seeded.batch_id)

    claim = claims.claim()

    assert (claim.run["next_step_num"], claim.run["next_step_id"]) == (2, None)


def test_the_owner_at_work_is_nobody_once_it_fell_silent(batch, sql):
    step = claims.claim().run["next_step_id"]
    age(sql, 95)

    assert claims.running_owner(step) is None


def test_a_heartbeat_renews_what_is_owned_and_tells_what_was_lost(batch, sql):
    lost: list[int] = []
    claim = claims.claim()
    heartbeat = Heartbeat(lost.append)
    heartbeat._renewed[claim.id] = time.monotonic() - 80
    sql.execute("UPDATE irp_chain_run SET heartbeat_ts = now() - interval '80 s'")

    heartbeat.beat()
    [(fresh,)] = sql.execute("SELECT heartbeat_ts > now() - interval '10 s' FROM irp_chain_run")
    assert fresh
    heartbeat.expire_silent()
    assert lost == []

    sql.execute("UPDATE irp_chain_run SET owner = 'the heir'")
    heartbeat.beat()
    heartbeat.beat()
    assert lost == [claim.id]


def test_an_owner_that_cannot_renew_stops_before_others_may_claim(batch, monkeypatch):
    lost: list[int] = []
    claim = claims.claim()
    heartbeat = Heartbeat(lost.append)

    def unreachable(ids: list[int]) -> set[int]:
        raise DatabaseUnavailableError("gone")

    monkeypatch.setattr(heartbeat, "_renew", unreachable)
    for silent_seconds, expected in ((0, []), (40, []), (46, [claim.id]), (90, [claim.id])):
        if claim.id not in lost:
            heartbeat._renewed[claim.id] = time.monotonic() - silent_seconds
        heartbeat.beat()
        heartbeat.expire_silent()
        assert lost == expected


def test_a_beat_that_hangs_does_not_hide_the_silence(batch, monkeypatch):
    monkeypatch.setattr(beats, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(beats, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(beats, "_SILENCE_SECONDS", 0.05)
    claim, lost, may_end = claims.claim(), [], threading.Event()
    heartbeat = Heartbeat(lost.append)
    monkeypatch.setattr(heartbeat, "_renew", lambda ids: (may_end.wait(), set(ids))[1])

    heartbeat.add(claim.id)
    try:
        wait_until(lambda: lost == [claim.id])
    finally:
        may_end.set()
        heartbeat.stop()


def test_a_beat_waits_for_nobodys_lock_for_long(batch, sql, monkeypatch):
    monkeypatch.setattr(beats, "_BEAT_LIMIT", "100ms")
    claim = claims.claim()
    heartbeat = Heartbeat(lambda run_id: None)
    long_ago = time.monotonic() - 20
    heartbeat._renewed[claim.id] = long_ago

    with sql.transaction():
        sql.execute("SELECT FROM irp_chain_run FOR UPDATE")
        heartbeat.beat()
    assert heartbeat._renewed == {claim.id: long_ago}

    monkeypatch.setattr(beats, "_BEAT_LIMIT", "60s")
    heartbeat.beat()
    assert heartbeat._renewed[claim.id] > long_ago


def test_whatever_keeps_a_beat_from_renewing_does_not_end_the_heartbeat(batch, monkeypatch):
    monkeypatch.setattr(beats, "BEAT_SECONDS", 0.01)
    heartbeat, tries = Heartbeat(lambda run_id: None), []

    def out_of_descriptors(ids: list[int]) -> set[int]:
        tries.append(ids)
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(heartbeat, "_renew", out_of_descriptors)
    heartbeat.add(claims.claim().id)
    wait_until(lambda: len(tries) > 2)
    heartbeat.stop()


def test_a_heartbeat_beats_by_itself_until_it_is_stopped(batch, sql, monkeypatch):
    beaten = threading.Event()
    monkeypatch.setattr(beats, "BEAT_SECONDS", 0.01)
    heartbeat = Heartbeat(lambda run_id: None)
    renew = heartbeat._renew
    monkeypatch.setattr(heartbeat, "_renew", lambda ids: (renew(ids), beaten.set())[0])
    claim = claims.claim()

    heartbeat.add(claim.id)
    assert beaten.wait(20)
    heartbeat.remove(claim.id)
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

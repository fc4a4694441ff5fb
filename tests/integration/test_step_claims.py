"""Claims on steps, and the chain runs that they serve."""

import json
import threading

import psycopg
import pytest

from helpers.batch import recon_batch
from helpers.constants import BatchStatus, StepStatus
from helpers.database import queries, transaction
from helpers.errors import DatabaseUnavailableError
from helpers.identity import owner_id
from helpers.notebooks.lease import lease_clock
from helpers.records import ChainRun
from helpers.step_chain import should_execute_next_step
from helpers.steps import claims, verdicts
from helpers.steps import heartbeat as beats
from helpers.steps.claims import Claim
from helpers.steps.heartbeat import Heartbeat
from helpers.steps.verdicts import fail_abandoned, judge
from helpers.workflow_paths import workflows_dir
from sandbox.seeding import SeededBatch, add_batch, add_cycle, add_step
from tests.support.analysis import CYCLE, analysis_batch, job
from tests.support.chains import age_claims, begin, finish, rows
from tests.support.waiting import wait_until


@pytest.fixture
def batch(metastore, workflows) -> SeededBatch:
    """A batch that has ended, and whose next step is due."""
    seeded = analysis_batch([job("FINISHED", "1")])
    assert recon_batch(seeded.batch_id) == "COMPLETED"
    return seeded


def activate_again(sql, batch_id: int, *, ends: bool = False) -> None:
    sql.execute("UPDATE irp_batch SET status = 'ACTIVE' WHERE id = %s", [batch_id])
    if ends:
        assert recon_batch(batch_id) == "COMPLETED"


def step_runs(sql, columns: str = "status::text, error_message"):
    return sql.execute(f"SELECT {columns} FROM irp_step_run ORDER BY id").fetchall()


def held(sql):
    """Return the claims that are held: attempt and verdict."""
    return sql.execute(
        "SELECT attempt, verdict::text FROM irp_step_claim WHERE owner IS NOT NULL"
    ).fetchall()


def overtake(sql) -> None:
    """Let another have claimed the step meanwhile."""
    sql.execute("UPDATE irp_step_claim SET owner = 'the heir', attempt = attempt + 1")


# --- Who gets a claim.


def test_a_step_that_is_due_is_claimed_with_all_that_is_needed(batch, sql):
    claim = claims.claim_due()

    [(step,)] = sql.execute("SELECT id FROM irp_step WHERE step_num = 2")
    assert claim.key == (step, 1)
    assert (claim.step["cycle_name"], claim.step["step_name"]) == (CYCLE, "Step 2")
    [served] = claim.served
    assert served == ChainRun(
        id=served["id"],
        batch_id=batch.batch_id,
        activation_num=1,
        batch_type="Analysis",
        cycle_name=CYCLE,
        stage_num=4,
        stage_name="Stage 4",
        step_num=1,
        step_name="Execute Analysis",
        next_step_num=2,
    )
    assert rows(sql) == [("RUNNING", 1, None)]
    assert rows(sql, "owner, served_by") == [(owner_id(), 1)]
    assert claims.holder_of(step)["owner"] == owner_id()


def test_exactly_one_of_many_gets_a_claim(batch):
    got: list[Claim | None] = []
    barrier = threading.Barrier(8)

    def work() -> None:
        barrier.wait()
        got.append(claims.claim_due())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert len(got) == 8
    assert sum(claim is not None for claim in got) == 1


def test_several_steps_are_claimed_oldest_first_each_once(metastore, sql):
    seeded = [analysis_batch([job("FINISHED", "1")], cycle=f"Cycle {i}") for i in range(3)]
    for batch in reversed(seeded):
        recon_batch(batch.batch_id)

    got = [claims.claim_due() for _ in range(4)]

    assert [claim and claim.served[0]["batch_id"] for claim in got] == [
        *(batch.batch_id for batch in reversed(seeded)),
        None,
    ]


def test_by_hand_a_step_is_claimed_due_or_not_and_by_one_at_a_time(batch, sql):
    [(due,), (other,)] = sql.execute("SELECT id FROM irp_step ORDER BY step_num DESC").fetchall()

    first = claims.claim_step(due)

    assert [run["batch_id"] for run in first.served] == [batch.batch_id]
    assert claims.claim_step(due) is None
    assert claims.claim_due() is None
    assert claims.claim_step(other).served == ()


@pytest.mark.parametrize(("silent_seconds", "claimable"), [(0, False), (85, False), (95, True)])
def test_a_claim_expires_when_its_owner_falls_silent(batch, sql, silent_seconds, claimable):
    claims.claim_due()
    age_claims(sql, silent_seconds)

    second = claims.claim_due()

    assert (second is not None) == claimable
    assert second is None or second.attempt == 2
    assert rows(sql, "status::text, attempt") == [("RUNNING", 1 + claimable)]


def test_an_expiry_that_no_beat_can_have_set_is_cut_down(batch, sql):
    """The server's clock was five hours ahead and was put right."""
    claims.claim_due()
    sql.execute("UPDATE irp_step_claim SET claim_expires_ts = now() + interval '5 hours'")

    assert claims.claim_due() is None  # a living owner renews it

    [(left,)] = sql.execute(
        "SELECT claim_expires_ts - clock_timestamp() < interval '91 s' FROM irp_step_claim"
    )
    assert left
    age_claims(sql, 91)
    assert claims.claim_due() is not None


def test_steps_of_an_archived_cycle_wait(batch, sql):
    sql.execute("UPDATE irp_cycle SET status = 'ARCHIVED'")
    assert claims.claim_due() is None
    [waiting] = claims.open_runs()
    assert (waiting["status"], waiting["cycle_status"]) == ("PENDING", "ARCHIVED")

    sql.execute("UPDATE irp_cycle SET status = 'ACTIVE'")
    assert claims.claim_due() is not None


# --- What an owner may still say.


def test_what_a_dead_owner_and_its_notebook_had_begun_has_failed(batch, sql):
    begin(claims.claim_due())
    sql.execute("INSERT INTO irp_step_run (step_id, run_num) SELECT step_id, 7 FROM irp_step_run")
    age_claims(sql, 95)

    begin(claims.claim_due())

    assert [status for status, _ in step_runs(sql)] == ["FAILED", "FAILED", "ACTIVE"]
    assert "before the notebook did" in step_runs(sql)[0][1]


def test_a_run_by_hand_whose_owner_died_does_not_stay_active(batch, sql):
    [(step,)] = sql.execute("SELECT id FROM irp_step WHERE step_num = 1")
    begin(claims.claim_step(step))
    age_claims(sql, 95)

    fail_abandoned()

    assert [status for status, _ in step_runs(sql)] == ["FAILED"]
    assert held(sql) == []


def test_a_start_that_was_recorded_although_no_reply_came_is_ended_by_the_next_try(batch, sql):
    claim = claims.claim_due()

    begin(claim)
    begin(claim)

    assert [status for status, _ in step_runs(sql)] == ["FAILED", "ACTIVE"]


@pytest.mark.parametrize("how", [overtake, lambda sql: age_claims(sql, 95) or claims.claim_due()])
def test_whoever_was_overtaken_changes_nothing(batch, sql, how):
    lost = claims.claim_due()
    run_id = begin(lost)._step_run_id
    how(sql)
    everything = (rows(sql, "*"), step_runs(sql, "*"), held(sql))

    assert claims.note_start(lost, step_run_id=run_id, notebook_path="x") is False
    assert claims.release(lost, reason="x") is False
    assert verdicts.fail(lost, "x") is False
    assert finish(lost, step_run_id=run_id) is False

    assert (rows(sql, "*"), step_runs(sql, "*"), held(sql)) == everything


def test_a_release_that_arrives_late_does_not_free_the_next_claim_of_the_same_owner(batch, sql):
    first = claims.claim_due()
    claims.release(first, reason="interrupted")
    second = claims.claim_due()

    assert claims.release(first, reason="late") is False

    assert (second.attempt, held(sql)) == (2, [(2, None)])


def test_a_claim_that_is_released_makes_what_it_served_due_again(batch, sql):
    claims.release(claims.claim_due(), reason="interrupted")

    assert rows(sql) == [("PENDING", 1, "interrupted")]
    assert claims.claim_due().attempt == 2


# --- Verdicts.


@pytest.mark.parametrize(("error", "status"), [(None, "COMPLETED"), ("\x1b[31mNo\x00", "FAILED")])
def test_a_chain_run_ends_as_its_notebook_did_and_is_not_claimed_again(batch, sql, error, status):
    claim = claims.claim_due()

    assert finish(claim, error=error) is True

    assert rows(sql, "status::text, error_message") == [(status, error and "No")]
    assert claims.claim_due() is None
    assert claims.open_runs() == []


def recorded(claim: Claim, run_id: int, error: str | None = None):
    folder = workflows_dir()
    return verdicts.record(
        claim,
        error=error,
        step_run_id=run_id,
        seconds=1.0,
        notebook=folder / "a.ipynb",
        executed_copy=folder / "runs" / "a.ipynb",
    )


def test_the_claim_is_kept_after_the_verdict_and_is_closed_not_run_again_when_it_expires(
    batch, sql
):
    claim = claims.claim_due()
    recorded(claim, begin(claim)._step_run_id)

    assert (rows(sql), held(sql)) == ([("COMPLETED", 1, None)], [(1, "COMPLETED")])
    assert claims.claim_step(claim.step_id) is None  # its kernel may still be ending
    age_claims(sql, 95)

    assert claims.claim_due() is None
    assert (held(sql), step_runs(sql)) == ([], [("COMPLETED", None)])


@pytest.mark.parametrize("then", [lambda sql: None, lambda sql: age_claims(sql, 95)])
@pytest.mark.parametrize("noted", [None, "COMPLETED"])
def test_a_verdict_that_arrived_although_no_reply_came_is_known_by_the_next_try(
    batch, sql, then, noted
):
    claim = claims.claim_due()
    run_id = begin(claim)._step_run_id
    if noted:
        note(sql, claim, noted)
    recorded(claim, run_id)
    then(sql)
    fail_abandoned()
    before = rows(sql, "*"), step_runs(sql, "*")

    assert recorded(claim, run_id).status is StepStatus.COMPLETED
    assert (rows(sql, "*"), step_runs(sql, "*")) == before


def test_a_served_row_whose_batch_is_active_again_is_cancelled_alone_and_there_is_one_card(
    batch, sql
):
    others = [sibling(sql, batch) for _ in range(2)]
    claim = claims.claim_due()
    activate_again(sql, batch.batch_id)

    finish(claim, error="No such peril.")

    assert rows(sql, "status::text") == [("CANCELLED",), ("FAILED",), ("FAILED",)]
    cards = sql.execute("SELECT kind::text, batch_id FROM irp_notification").fetchall()
    assert cards == [("CHAIN_FAILED", others[0])]


def test_what_falls_due_during_a_run_waits_for_the_next(batch, sql):
    first = claims.claim_due()
    activate_again(sql, batch.batch_id, ends=True)

    assert fail_abandoned() == []  # its owner lives
    assert claims.claim_due() is None

    finish(first)
    assert rows(sql, "status::text") == [("CANCELLED",), ("PENDING",)]
    assert [run["activation_num"] for run in claims.claim_due().served] == [2]


def test_what_was_overtaken_under_a_dead_owner_makes_way(batch, sql):
    begin(claims.claim_due())
    activate_again(sql, batch.batch_id, ends=True)
    age_claims(sql, 95)

    assert fail_abandoned() == []

    assert rows(sql, "status::text") == [("CANCELLED",), ("PENDING",)]
    assert step_runs(sql)[0][0] == "FAILED"
    assert [run["activation_num"] for run in claims.claim_due().served] == [2]


def test_a_chain_run_whose_batch_became_active_again_is_not_started_but_cancelled(batch, sql):
    activate_again(sql, batch.batch_id)

    assert claims.claim_due() is None
    assert fail_abandoned() == []

    [(status, attempt, error)] = rows(sql)
    assert (status, attempt) == ("CANCELLED", 0)
    assert "became active again" in error


def test_each_row_is_given_up_after_three_tries_of_its_own(batch, sql):
    for attempt in (1, 2, 3):
        assert claims.claim_due().attempt == attempt
        assert fail_abandoned() == []
        age_claims(sql, 95)
    other = sibling(sql, batch)

    [given_up] = fail_abandoned()

    assert given_up["batch_id"] == batch.batch_id
    assert "Each of 3 tries" in given_up["error_message"]
    assert rows(sql, "status::text, attempt") == [("FAILED", 3), ("PENDING", 0)]
    assert fail_abandoned() == []
    claim = claims.claim_due()
    assert (claim.attempt, claim.served[0]["batch_id"]) == (4, other)


def test_many_rows_that_are_given_up_together_are_one_card(batch, sql):
    for _ in range(5):
        sibling(sql, batch)
    sql.execute("UPDATE irp_chain_run SET attempt = 3")

    assert len(fail_abandoned()) == 6
    assert sql.execute("SELECT count(*) FROM irp_notification").fetchall() == [(1,)]


def test_a_step_that_the_cycle_lacks_fails_without_a_claim(metastore, sql):
    seeded = analysis_batch([job("FINISHED", "1")])
    sql.execute("DELETE FROM irp_step WHERE step_num = 2")
    recon_batch(seeded.batch_id)

    assert claims.claim_due() is None
    [failed] = fail_abandoned()

    assert failed["error_message"] == "The cycle has no step 2 in stage 4: it is not in irp_step."


# --- One run serves all, and waits for the other batches of its step.


def sibling(sql, batch: SeededBatch, *, ends: str | None = "COMPLETED") -> int:
    """Add another batch to the step of a batch; ``ends`` is how, None: it is still ACTIVE."""
    [(step_id,)] = sql.execute("SELECT step_id FROM irp_batch WHERE id = %s", [batch.batch_id])
    labels = {"COMPLETED": "FINISHED", None: "RUNNING"}
    prepared = [job(labels.get(ends, ends), "1")]
    other = add_batch(step_id, "Analysis", prepared, status=BatchStatus.ACTIVE).batch_id
    assert recon_batch(other) == (ends or "ACTIVE")
    return other


def test_one_run_serves_all_that_is_due(batch, sql):
    for _ in range(4):
        sibling(sql, batch)

    claim = claims.claim_due()

    assert len(claim.served) == 5
    assert claims.claim_due() is None
    finish(claim)
    assert {status for (status,) in rows(sql, "status::text")} == {"COMPLETED"}
    assert len(step_runs(sql)) == 1


@pytest.mark.parametrize(
    ("ends", "holds"),
    [
        (None, True),  # ACTIVE
        ("ERROR", True),  # a status that the rule does not name
        ("CANCELLED", False),  # out of account
        ("FAILED", False),  # named by the rule of stage 4
    ],
)
def test_a_chain_run_waits_for_the_other_batches_of_its_step(batch, sql, ends, holds):
    other = sibling(sql, batch, ends=ends)

    assert should_execute_next_step(batch.batch_id) is not holds
    waits = [wait["batch_id"] for wait in claims.open_runs()[0]["waits_for"]]
    assert waits == [other] * holds
    assert (claims.claim_due() is None) is holds


def test_a_batch_that_nobody_has_submitted_holds_nothing(batch, sql):
    [(step_id,)] = sql.execute("SELECT step_id FROM irp_batch")
    add_batch(step_id, "Analysis", [job("INITIATED")])

    assert claims.claim_due() is not None


def test_two_batches_that_end_at_once_start_the_step_once(metastore, workflows, sql):
    """The transaction that ends a batch decides nothing: each would see the other ACTIVE."""
    first = analysis_batch([job("FINISHED", "1")])
    [(step_id,)] = sql.execute("SELECT step_id FROM irp_batch")
    second = add_batch(step_id, "Analysis", [job("FINISHED", "2")], status=BatchStatus.ACTIVE)
    both, seen = threading.Barrier(2), []

    def end(batch_id: int) -> None:
        with transaction():
            seen.append(recon_batch(batch_id))
            both.wait(20)

    threads = [threading.Thread(target=end, args=[i]) for i in (first.batch_id, second.batch_id)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert seen == ["COMPLETED", "COMPLETED"]
    assert len(claims.claim_due().served) == 2


def test_a_person_releases_waiting_rows_and_no_others(batch, sql):
    sibling(sql, batch, ends="ERROR")
    sql.execute("UPDATE irp_chain_run SET released = true")

    assert should_execute_next_step(batch.batch_id)
    finish(claims.claim_due())
    activate_again(sql, batch.batch_id, ends=True)

    assert not should_execute_next_step(batch.batch_id)
    assert claims.claim_due() is None


def test_by_hand_the_waiting_rows_are_served_too(batch, sql):
    sibling(sql, batch, ends=None)
    [(step,)] = sql.execute("SELECT id FROM irp_step WHERE step_num = 2")

    assert len(claims.claim_step(step).served) == 1


@pytest.mark.parametrize(
    ("started", "holds"), [("now()", True), ("now() - interval '1 day'", False)]
)
def test_a_run_of_the_step_that_no_claim_names_holds_it(batch, sql, started, holds):
    """Some other tool runs it; what was left ACTIVE before the batch ended does not count."""
    sql.execute(
        "INSERT INTO irp_step_run (step_id, run_num, started_by, started_ts) "
        f"SELECT id, 1, 'an older monitor', {started} FROM irp_step WHERE step_num = 2"
    )

    waits = [wait["started_by"] for wait in claims.open_runs()[0]["waits_for"]]
    assert waits == ["an older monitor"] * holds
    assert (claims.claim_due() is None) is holds


# --- The notebook's own word.


def note(sql, claim: Claim, status: str, error: str | None = None, output: object = None) -> int:
    """Log a step run as the notebooks of such teams do; return its id."""
    [(run_id,)] = sql.execute(
        "INSERT INTO irp_step_run (step_id, run_num, status, error_message, output_data) "
        "VALUES (%s, 9, %s, %s, %s) RETURNING id",
        [claim.step_id, status, error, json.dumps(output) if output is not None else None],
    )
    return run_id


def test_the_notebooks_own_run_replaces_ours(batch, sql):
    claim = claims.claim_due()
    run_id = begin(claim)._step_run_id
    note(sql, claim, "FAILED", "an earlier try")
    theirs = note(sql, claim, "COMPLETED", output={"batch_id": 12, "execution_seconds": "mine"})

    verdict = recorded(claim, run_id)

    assert verdict.error is None
    [_, (found, output)] = step_runs(sql, "id, output_data")
    assert found == theirs
    assert output == {
        "batch_id": 12,
        "execution_seconds": "mine",
        "executed_notebook": "workflows/runs/a.ipynb",
    }
    assert rows(sql, "status::text, step_run_id") == [("COMPLETED", theirs)]


def test_a_notebook_that_notes_its_failure_and_ends_is_a_failed_step(batch, sql):
    claim = claims.claim_due()
    run_id = begin(claim)._step_run_id
    note(sql, claim, "FAILED", "3 portfolios have no geocoding.")

    assert recorded(claim, run_id).error == "3 portfolios have no geocoding."

    assert rows(sql) == [("FAILED", 1, "3 portfolios have no geocoding.")]
    assert step_runs(sql) == [("FAILED", "3 portfolios have no geocoding.")]
    assert sql.execute("SELECT count(*) FROM irp_notification").fetchall() == [(1,)]


@pytest.mark.parametrize(
    ("error", "noted", "expected"),
    [
        (None, None, (StepStatus.COMPLETED, None)),
        (None, ("ACTIVE", None), (StepStatus.COMPLETED, None)),  # it forgot to close it
        (None, ("COMPLETED", None), (StepStatus.COMPLETED, None)),
        (None, ("SKIPPED", None), (StepStatus.SKIPPED, None)),
        (None, ("FAILED", "Why."), (StepStatus.FAILED, "Why.")),
        (None, ("FAILED", None), (StepStatus.FAILED, verdicts._NO_REASON)),
        ("Cell 3 raised", ("COMPLETED", None), (StepStatus.FAILED, "Cell 3 raised")),
        ("Cell 3 raised", ("FAILED", "Why."), (StepStatus.FAILED, "Cell 3 raised")),
    ],
)
def test_the_verdict_on_a_notebook(error, noted, expected):
    word = noted and {"status": noted[0], "error_message": noted[1]}
    verdict = judge(error, word)
    assert (verdict.status, verdict.error) == expected


def test_a_status_that_nobody_knows_is_no_success():
    assert judge(None, {"status": "PARKED", "error_message": None}).error is not None


def test_a_stopped_run_adopts_nothing_and_closes_what_its_notebook_left_active(batch, sql):
    claim = claims.claim_due()
    begin(claim)
    note(sql, claim, "COMPLETED")
    note(sql, claim, "ACTIVE")

    assert claims.release(claim, reason="interrupted") is True

    assert [status for status, _ in step_runs(sql)] == ["FAILED", "COMPLETED", "FAILED"]
    assert rows(sql) == [("PENDING", 1, "interrupted")]
    assert claims.claim_due() is not None


# --- Monitors of version 0.1.0.


def test_an_older_monitor_is_refused_with_one_sentence_and_changes_nothing(batch, sql):
    claim_of_0_1_0 = (
        "UPDATE irp_chain_run SET status = 'RUNNING', attempt = attempt + 1, owner = 'old', "
        "heartbeat_ts = now(), started_ts = now(), error_message = NULL"
    )
    with pytest.raises(psycopg.errors.RaiseException, match="older than the metastore"):
        sql.execute(claim_of_0_1_0)
    claims.claim_due()
    with pytest.raises(psycopg.errors.RaiseException, match="older than the metastore"):
        sql.execute(claim_of_0_1_0)
    assert rows(sql) == [("RUNNING", 1, None)]


def test_a_step_that_an_older_monitor_ran_when_it_was_migrated_goes_on(batch, sql):
    """Its heartbeat renews the claim that the migration made for it, and its end ends the row."""
    claims.claim_due()
    sql.execute("UPDATE irp_chain_run SET owner = 'old', heartbeat_ts = now() - interval '60 s'")
    sql.execute("UPDATE irp_step_claim SET owner = 'old'")
    age_claims(sql, 80)

    sql.execute("UPDATE irp_chain_run SET heartbeat_ts = clock_timestamp() WHERE owner = 'old'")

    [(left,)] = sql.execute("SELECT claim_expires_ts > now() + interval '80 s' FROM irp_step_claim")
    assert left
    sql.execute("UPDATE irp_chain_run SET status = 'COMPLETED', completed_ts = now()")
    assert rows(sql) == [("COMPLETED", 1, None)]


# --- The heartbeat.


def test_a_heartbeat_renews_what_is_owned_and_tells_what_was_lost(batch, sql):
    lost: list[tuple[int, int]] = []
    claim = claims.claim_due()
    heartbeat = Heartbeat(lost.append)
    heartbeat._renewed[claim.key] = lease_clock() - 80
    age_claims(sql, 80)

    heartbeat.beat()
    [(fresh,)] = sql.execute(
        "SELECT claim_expires_ts > now() + interval '80 s' FROM irp_step_claim"
    )
    assert fresh
    assert heartbeat.holds(claim.key)
    assert lost == []

    overtake(sql)
    heartbeat.beat()
    heartbeat.beat()
    assert lost == [claim.key]
    assert not heartbeat.holds(claim.key)


def test_an_owner_that_cannot_renew_stops_before_others_may_claim(batch, monkeypatch):
    claim = claims.claim_due()
    heartbeat = Heartbeat()

    def unreachable(keys: list[tuple[int, int]]) -> set[tuple[int, int]]:
        raise DatabaseUnavailableError("gone")

    monkeypatch.setattr(heartbeat, "_renew", unreachable)
    for silent_seconds, is_held in ((0, True), (40, True), (46, False), (90, False)):
        heartbeat._renewed[claim.key] = lease_clock() - silent_seconds
        heartbeat.beat()
        assert heartbeat.holds(claim.key) is is_held


def test_the_times_of_the_heartbeat_fit_the_expiry():
    """Silence, and 15 s for ending the notebook, must be over before the claim expires."""
    assert beats.BEAT_SECONDS == 3
    assert beats.SILENCE_SECONDS == 45
    assert claims.LASTS.total_seconds() == 90


def test_a_beat_that_hangs_does_not_hide_the_silence(batch, monkeypatch):
    monkeypatch.setattr(beats, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(beats, "SILENCE_SECONDS", 0.05)
    claim, may_end = claims.claim_due(), threading.Event()
    heartbeat = Heartbeat()
    monkeypatch.setattr(heartbeat, "_renew", lambda keys: (may_end.wait(), set(keys))[1])

    heartbeat.add(claim.key)
    try:
        wait_until(lambda: not heartbeat.holds(claim.key))
    finally:
        may_end.set()
        heartbeat.stop()


def test_a_beat_waits_for_nobodys_lock_for_long(batch, sql, monkeypatch):
    monkeypatch.setattr(beats, "_BEAT_LIMIT", "100ms")
    claim = claims.claim_due()
    heartbeat = Heartbeat()
    long_ago = lease_clock() - 20
    heartbeat._renewed[claim.key] = long_ago

    with sql.transaction():
        sql.execute("SELECT FROM irp_step_claim FOR UPDATE")
        heartbeat.beat()
    assert heartbeat._renewed == {claim.key: long_ago}

    monkeypatch.setattr(beats, "_BEAT_LIMIT", "60s")
    heartbeat.beat()
    assert heartbeat._renewed[claim.key] > long_ago


def test_whatever_keeps_a_beat_from_renewing_does_not_end_the_heartbeat(batch, monkeypatch):
    monkeypatch.setattr(beats, "BEAT_SECONDS", 0.01)
    heartbeat, tries = Heartbeat(), []

    def out_of_descriptors(keys: list[tuple[int, int]]) -> set[tuple[int, int]]:
        tries.append(keys)
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(heartbeat, "_renew", out_of_descriptors)
    heartbeat.add(claims.claim_due().key)
    wait_until(lambda: len(tries) > 2)
    heartbeat.stop()


def test_a_heartbeat_beats_by_itself_until_it_is_stopped(batch, sql, monkeypatch):
    beaten = threading.Event()
    monkeypatch.setattr(beats, "BEAT_SECONDS", 0.01)
    heartbeat = Heartbeat()
    renew = heartbeat._renew
    monkeypatch.setattr(heartbeat, "_renew", lambda keys: (renew(keys), beaten.set())[0])
    claim = claims.claim_due()

    heartbeat.add(claim.key)
    assert beaten.wait(20)
    heartbeat.remove(claim.key)
    heartbeat.stop()

    assert not [t for t in threading.enumerate() if t.name == "heartbeat"]


def test_two_runs_of_a_step_that_start_together_take_two_numbers(metastore):
    step = add_step(add_cycle("Q1"), stage_num=4, step_num=1)
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


def test_an_owner_is_known_to_no_other_process(monkeypatch):
    mine = owner_id()
    assert owner_id() == mine

    monkeypatch.setattr("os.getpid", lambda: 1)

    assert owner_id() != mine

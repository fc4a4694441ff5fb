"""The fourth section of a pass: what it starts, what it refuses, and what it survives."""

import contextlib
import threading
from functools import partial
from pathlib import Path

import psutil
import psycopg
import pytest

from helpers.constants import BatchType, JobStatus
from helpers.database import connection as database_connection
from helpers.errors import DatabaseUnavailableError
from helpers.monitor import Monitor, run_pass
from helpers.notebook_executor import execute_next_step
from helpers.notebooks.lease import Lease
from helpers.settings import get_settings
from helpers.steps import claims, execution, heartbeat, signals
from helpers.steps.claims import Claim
from helpers.steps.execution import StepExecution
from helpers.steps.heartbeat import Heartbeat
from helpers.steps.runner import INTERRUPTED
from sandbox.seeding import PreparedJob, add_batch, add_cycle, add_step
from tests.support.notebooks import step_notebook, write_notebook
from tests.support.passes import active_batch, configure, finished_batch, one_pass, rows, wait_until

CYCLE = "Analysis-2025-Q1"
GATED = """
import os, time
open("started", "w").close()
while not os.path.exists("gate"):
    time.sleep(0.02)
"""


@pytest.fixture
def cycle(metastore, workflows, teams) -> int:
    return add_cycle(CYCLE)


def notebook(workflows: Path, stage_num: int, step_num: int, *cells: str, **how: str) -> Path:
    return step_notebook(
        workflows, *cells, cycle=CYCLE, stage_num=stage_num, step_num=step_num, **how
    )


def chains(sql: psycopg.Connection) -> list[tuple]:
    return rows(sql, "SELECT status::text, error_message FROM irp_chain_run ORDER BY batch_id")


def kernels() -> list[int]:
    """Return the kernels that run below this process."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # or a zombie
            if any("ipykernel" in part for part in process.cmdline()):
                found.append(process.pid)
    return found


# --- Nothing follows, and the report says why.


def test_where_no_rule_leads_on_that_is_reported_and_nothing_is_due(cycle, sql):
    batch = active_batch(cycle, "Homemade")
    elsewhere = add_batch(
        add_step(cycle, stage_num=4, step_num=1), BatchType.GEOHAZ, status="ACTIVE"
    )

    done = one_pass()

    assert [item.outcome.chain for item in done.reconciled.batches] == [
        "No chain rule leads on from stage 9, step 1.",
        "Stage 4, step 1 chains after Analysis, and this batch is GeoHaz.",
    ]
    assert "No chain rule leads on from stage 9, step 1." in str(done.reconciled)
    assert set(done.became) == {batch.batch_id, elsewhere.batch_id}
    assert (done.chained.steps, chains(sql), done.summary.errors) == ([], [], [])


# --- A step that cannot be started: FAILED, a clear reason, a card, and no run of it.


def _no_notebook(workflows: Path, cycle: int) -> str:
    return "Stage 4, step 2 has no notebook: nothing matches Active_Analysis-2025-Q1/notebooks"


def _two_candidates(workflows: Path, cycle: int) -> str:
    notebook(workflows, 4, 2, "1", name="One")
    notebook(workflows, 4, 2, "1", name="Two")
    return "has 2 notebooks, and only one may be started: Step_02_One.ipynb, Step_02_Two.ipynb."


def _outside(workflows: Path, cycle: int) -> str:
    outside = write_notebook(workflows.parent / "elsewhere" / "Step_02_X.ipynb", "1")
    add_step(cycle, stage_num=4, step_num=2, notebook_path=str(outside))
    return f"{outside} lies outside the workflows folder"


@pytest.mark.parametrize("prepare", [_no_notebook, _two_candidates, _outside])
def test_a_step_without_one_notebook_to_start_fails_with_its_reason_and_a_card(
    cycle, workflows, teams, sql, prepare
):
    step = add_step(cycle, stage_num=4, step_num=1)
    batch = add_batch(step, BatchType.ANALYSIS, status="ACTIVE")
    expected = prepare(workflows, cycle)
    add_step(cycle, stage_num=4, step_num=2)

    done = one_pass()

    [(status, error)] = chains(sql)
    assert status == "FAILED"
    assert expected in error
    [failed] = done.chained.failed
    assert (failed.after, failed.error) == (f"batch {batch.batch_id}", error)
    assert failed.seconds is None
    assert [(e.about, e.text) for e in done.summary.errors] == [(f"Step 4.2 of {CYCLE}", error)]
    assert error in str(done.summary)
    assert (done.summary.chains_executed, done.summary.chains_failed) == (0, 1)
    assert done.summary.cards_sent == len(teams.messages) == 1
    assert rows(sql, "SELECT count(*) FROM irp_step_run") == [(0,)]
    assert one_pass().chained.steps == []  # people look first


def test_a_step_that_the_cycle_does_not_have_fails_with_its_reason(cycle, sql):
    step = add_step(cycle, stage_num=4, step_num=1)
    add_batch(step, BatchType.ANALYSIS, status="ACTIVE")

    done = one_pass()

    error = "The cycle has no step 2 in stage 4: it is not in irp_step."
    assert chains(sql) == [("FAILED", error)]
    assert done.chained.failed[0].error == error


# --- A notebook that fails.


def test_notebooks_that_fail_in_four_ways_fail_alone_each_with_its_own_error(
    cycle, workflows, teams, sql
):
    kinds = [
        BatchType.EDM_CREATION,
        BatchType.PORTFOLIO_CREATION,
        BatchType.MRI_IMPORT,
        BatchType.REINSURANCE_TREATIES,
    ]
    for kind in kinds:
        finished_batch(cycle, kind)
    notebook(workflows, 3, 2, "raise ValueError('no such peril <b>')")
    notebook(workflows, 3, 3, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    notebook(workflows, 3, 4, "1").write_text("no JSON")
    good = notebook(workflows, 3, 5, "print('fine')")

    done = one_pass()

    errors = {step.next_step_num: step.error for step in done.chained.steps}
    assert errors.pop(5) is None
    assert errors[2].endswith("ValueError: no such peril <b>")
    assert "killed" in errors[3]
    assert errors[4] == "Step_04_Work.ipynb is not a notebook: it does not hold JSON."
    assert [status for status, _ in chains(sql)] == ["FAILED", "FAILED", "FAILED", "COMPLETED"]
    assert (done.summary.chains_executed, done.summary.chains_failed) == (4, 3)
    assert {error.about for error in done.summary.errors} == {
        f"Step 3.{n} of {CYCLE}" for n in (2, 3, 4)
    }
    assert len(done.summary.waiting.items) == 3
    runs = "SELECT status::text FROM irp_step_run ORDER BY id"
    assert sorted(status for (status,) in rows(sql, runs)) == ["COMPLETED"] + ["FAILED"] * 3
    assert "&lt;b&gt;" in done.chained._repr_html_()
    assert good.read_bytes()
    assert kernels() == []


def test_a_notebook_that_takes_too_long_is_stopped_and_failed(cycle, workflows, sql, monkeypatch):
    configure(monkeypatch, monitor_step_timeout_seconds=1)
    finished_batch(cycle, BatchType.ANALYSIS)
    notebook(workflows, 4, 2, GATED)

    done = one_pass()

    [(status, error)] = chains(sql)
    assert status == "FAILED"
    assert "longest that the notebook may take" in error
    assert done.chained.failed[0].error == error
    assert kernels() == []


# --- What breaks beside the notebook.

REFUSE = (
    "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    "RAISE EXCEPTION 'this row is broken'; END $$; CREATE TRIGGER refuse BEFORE "
)


def test_a_chain_run_that_cannot_be_started_fails_and_the_next_one_runs(
    cycle, workflows, teams, sql
):
    finished_batch(cycle, BatchType.ANALYSIS)
    finished_batch(cycle, BatchType.GROUPING)
    notebook(workflows, 4, 2, "1")
    notebook(workflows, 5, 2, "1")
    [(step,)] = rows(
        sql,
        "SELECT s.id FROM irp_step s JOIN irp_stage t ON t.id = stage_id "
        "WHERE stage_num = 4 AND step_num = 2",
    )
    sql.execute(
        f"{REFUSE} INSERT ON irp_step_run FOR EACH ROW WHEN (NEW.step_id = {step}) "
        "EXECUTE FUNCTION refuse()"
    )

    done = one_pass()

    assert chains(sql) == [("FAILED", "this row is broken"), ("COMPLETED", None)]
    assert [(e.about, e.text) for e in done.chained.errors] == [
        (f"Step 4.2 of {CYCLE}", "this row is broken")
    ]
    assert len(teams.messages) == 1


def test_a_run_whose_end_cannot_be_logged_is_failed_and_not_run_again(cycle, workflows, teams, sql):
    finished_batch(cycle, BatchType.ANALYSIS)
    source = notebook(workflows, 4, 2, "open('ran', 'a').write('x')")
    sql.execute(f"{REFUSE} UPDATE ON irp_step_run FOR EACH ROW EXECUTE FUNCTION refuse()")

    done = one_pass()

    assert chains(sql) == [("FAILED", "this row is broken")]
    assert done.chained.errors[0].text == "this row is broken"
    assert one_pass().chained.steps == []
    assert source.with_name("ran").read_text() == "x"


def test_a_chain_run_that_cannot_even_be_failed_is_released(cycle, workflows, sql):
    finished_batch(cycle, BatchType.ANALYSIS)
    notebook(workflows, 4, 2, "1")
    sql.execute(
        f"{REFUSE} UPDATE ON irp_chain_run FOR EACH ROW WHEN (NEW.status = 'COMPLETED' "
        "OR NEW.status = 'FAILED') EXECUTE FUNCTION refuse()"
    )

    done = one_pass()

    assert {e.text for e in done.chained.errors} == {"this row is broken"}
    [(status, error)] = chains(sql)
    assert status == "PENDING"
    assert error == INTERRUPTED
    assert "due; the next pass starts it" in str(done.chained)


def test_what_was_given_up_is_reported_and_a_broken_one_does_not_stop_the_section(
    cycle, workflows, teams, sql
):
    given_up = finished_batch(cycle, BatchType.ANALYSIS)
    finished_batch(cycle, BatchType.GROUPING)
    notebook(workflows, 5, 2, "1")
    add_step(cycle, stage_num=4, step_num=2)
    sql.execute(
        "INSERT INTO irp_chain_run (batch_id, activation_num, stage_num, from_step_num, "
        "next_step_num, next_step_id, attempt) SELECT %s, 1, 4, 1, 2, id, 3 FROM irp_step "
        "WHERE step_num = 2 ORDER BY id LIMIT 1",
        [given_up.batch_id],
    )
    sql.execute(f"{REFUSE} INSERT ON irp_notification FOR EACH ROW EXECUTE FUNCTION refuse()")

    first = one_pass()

    assert [(e.about, e.text) for e in first.chained.errors] == [
        ("Chain runs that were given up", "this row is broken")
    ]
    assert [status for status, _ in chains(sql)] == ["PENDING", "COMPLETED"]

    sql.execute("DROP TRIGGER refuse ON irp_notification")
    second = one_pass()

    [step] = second.chained.failed
    assert step.name == f"Step 4.2 of {CYCLE}"
    assert step.error.startswith("Each of 3 tries ended with the monitor that ran it.")
    assert [status for status, _ in chains(sql)] == ["FAILED", "COMPLETED"]
    assert len(teams.messages) == 1


# --- A metastore that goes away while notebooks run.


@pytest.fixture
def away(server_url, metastore):
    """Takes the metastore away, and brings it back."""
    name = psycopg.conninfo.conninfo_to_dict(metastore)["dbname"]

    def switch(on: bool) -> None:
        with psycopg.connect(server_url, autocommit=True) as admin:
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {on}")
            if not on:
                admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                    [name],
                )

    yield switch
    switch(True)


@pytest.fixture
def gated(cycle, workflows) -> Path:
    """A notebook that is due, and waits for a file beside it."""
    finished_batch(cycle, BatchType.ANALYSIS)
    return notebook(workflows, 4, 2, GATED)


@pytest.fixture
def short_patience(monkeypatch):
    """Connections that give up soon."""
    monkeypatch.setattr(database_connection, "_CONNECT_TIMEOUT_SECONDS", 1)
    database_connection.close_pools()


def run_aside(failures: list[BaseException]) -> threading.Thread:
    def run() -> None:
        try:
            run_pass()
        except DatabaseUnavailableError as exc:
            failures.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.fixture
def in_vain(monkeypatch) -> threading.Event:
    """Set when a verdict could not be recorded, because the database is away."""
    event = threading.Event()
    judge = StepExecution.judge

    def noticed(execution: StepExecution) -> None:
        try:
            judge(execution)
        except DatabaseUnavailableError:
            event.set()
            raise

    monkeypatch.setattr(StepExecution, "judge", noticed)
    return event


def test_a_restart_of_the_database_costs_neither_the_notebook_nor_its_result(
    gated, metastore, away, short_patience, in_vain
):
    failures: list[BaseException] = []
    thread = run_aside(failures)
    wait_until(gated.with_name("started").exists)
    away(False)
    gated.with_name("gate").touch()
    assert in_vain.wait(60)
    away(True)
    thread.join(60)

    assert failures == []
    with psycopg.connect(metastore) as sql:
        assert chains(sql) == [("COMPLETED", None)]
        assert rows(sql, "SELECT status::text FROM irp_step_run") == [("COMPLETED",)]


@pytest.mark.usefixtures("short_patience")
def test_a_verdict_outlasts_a_database_that_is_away_longer_than_a_notebook_may_run_without_it(
    gated, cycle, metastore, away, monkeypatch, in_vain
):
    monkeypatch.setattr(execution, "Lease", partial(Lease, seconds=15.0))
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.5)
    finished_batch(cycle, BatchType.GROUPING)
    other = notebook(get_settings().irp_workflows_dir, 5, 2, GATED)
    failures: list[BaseException] = []
    thread = run_aside(failures)
    wait_until(lambda: gated.with_name("started").exists() and other.with_name("started").exists())
    away(False)
    gated.with_name("gate").touch()
    assert in_vain.wait(60)
    wait_until(lambda: kernels() == [])  # the watchdog has ended the other one
    other.with_name("gate").touch()
    away(True)
    thread.join(60)

    assert failures == []
    with psycopg.connect(metastore, autocommit=True) as sql:
        ended = rows(sql, "SELECT status::text, attempt FROM irp_chain_run ORDER BY stage_num")
        assert ended == [("COMPLETED", 1), ("COMPLETED", 2)]


def test_a_claim_that_another_monitor_has_taken_meanwhile_is_not_started(gated, sql, monkeypatch):
    claim_due = claims.claim_due

    def claim_and_lose_it() -> Claim | None:
        claimed = claim_due()
        sql.execute("UPDATE irp_step_claim SET owner = 'the heir'")
        return claimed

    monkeypatch.setattr(claims, "claim_due", claim_and_lose_it)
    done = one_pass()

    [step] = done.chained.steps
    assert step.error == "Another monitor has claimed this step."
    assert not gated.with_name("started").exists()
    assert rows(sql, "SELECT FROM irp_step_run") == []
    assert chains(sql) == [("RUNNING", None)]


@pytest.fixture
def lost_once(gated, monkeypatch) -> None:
    """The claim of the gated notebook is lost once, and nobody else takes it.

    As in an outage that no monitor could see through.
    """
    losses: list[tuple[int, int]] = []
    renew = Heartbeat._renew

    def renew_all_but_once(beat: Heartbeat, keys: list[tuple[int, int]]) -> set[tuple[int, int]]:
        if not losses and gated.with_name("started").exists():
            losses.extend(keys)
            return set()
        return renew(beat, keys)

    monkeypatch.setattr(Heartbeat, "_renew", renew_all_but_once)
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.05)


@pytest.mark.usefixtures("lost_once")
@pytest.mark.parametrize(
    ("last_words", "status", "cards"),
    [("", "COMPLETED", 0), ("raise ValueError('its own')", "FAILED", 1)],
)
def test_a_notebook_that_was_stopped_because_its_claim_was_lost_is_started_again(
    gated, workflows, metastore, last_words, status, cards
):
    notebook(workflows, 4, 2, GATED, last_words)
    failures: list[BaseException] = []
    thread = run_aside(failures)
    with psycopg.connect(metastore, autocommit=True) as sql:
        wait_until(lambda: rows(sql, "SELECT attempt FROM irp_chain_run") == [(2,)])
        gated.with_name("gate").touch()
        thread.join(60)

        assert failures == []
        assert rows(sql, "SELECT status::text, attempt FROM irp_chain_run") == [(status, 2)]
        ended = "SELECT status::text FROM irp_step_run ORDER BY id"
        assert rows(sql, ended) == [("FAILED",), (status,)]
        assert rows(sql, "SELECT count(*) FROM irp_notification") == [(cards,)]


def test_a_start_that_the_database_cut_off_is_made_up_for_before_the_next_claim(
    gated, cycle, metastore, monkeypatch
):
    for batch_type, location in ((BatchType.GROUPING, (5, 2)), (BatchType.EXPORT_TO_RDM, (6, 2))):
        finished_batch(cycle, batch_type)
        notebook(get_settings().irp_workflows_dir, *location, "1")
    begin, begun = StepExecution.begin, []

    def cut_off_once(execution: StepExecution) -> None:
        begun.append(execution.claim.step["stage_num"])
        if len(begun) == 2:
            raise DatabaseUnavailableError("restarting")
        begin(execution)

    monkeypatch.setattr(StepExecution, "begin", cut_off_once)
    failures: list[BaseException] = []
    thread = run_aside(failures)
    with psycopg.connect(metastore, autocommit=True) as sql:
        wait_until(lambda: [status for status, _ in chains(sql)].count("COMPLETED") == 2)
        gated.with_name("gate").touch()
        thread.join(60)

        assert failures == []
        assert sorted(begun) == sorted([4, 5, 6, begun[1]])  # batches end in any order
        assert begun[1] == begun[2]
        assert (
            rows(sql, "SELECT status::text, attempt FROM irp_chain_run") == [("COMPLETED", 1)] * 3
        )


def test_a_step_run_by_hand_whose_end_cannot_be_recorded_at_once_is_not_run_again(
    cycle, workflows, sql, monkeypatch
):
    finished_batch(cycle, BatchType.ANALYSIS)
    source = notebook(workflows, 4, 2, "open('runs', 'a').write('x')")
    monitor = Monitor()
    monitor.find_batches()
    monitor.reconcile_batches()
    judge, tries = StepExecution.judge, []

    def away_twice(execution: StepExecution) -> None:
        tries.append(execution)
        if len(tries) < 3:
            raise DatabaseUnavailableError("restarting")
        judge(execution)

    monkeypatch.setattr(StepExecution, "judge", away_twice)
    monkeypatch.setattr(signals, "_PAUSE_SECONDS", 0.01)
    assert execute_next_step(source)["success"]
    run_pass()

    assert chains(sql) == [("COMPLETED", None)]
    assert source.with_name("runs").read_text() == "x"


def test_a_step_that_somebody_runs_or_works_on_is_not_run_by_hand(gated, sql):
    [(step_id,)] = rows(sql, "SELECT id FROM irp_step WHERE step_num = 2")
    with psycopg.connect(get_settings().database_url.get_secret_value()) as other:
        other.execute(
            "INSERT INTO irp_step_claim (step_id, attempt, owner, claimed_ts, claim_expires_ts)"
            " VALUES (%s, 1, 'anna@laptop pid 7 #1', '2026-01-02 03:04Z', now() + '1 minute')",
            [step_id],
        )

    result = execute_next_step(gated)

    assert result["error"] == (
        "This step is being run by anna@laptop pid 7 since 2026-01-02 03:04 UTC. "
        "Wait until it has ended."
    )
    assert not gated.with_name("started").exists()


NOTES_ITSELF = """
from helpers.database import transaction
with transaction() as sql:
    sql.execute(
        "INSERT INTO irp_step_run (step_id, run_num, status, error_message, completed_ts,"
        " output_data) SELECT id, 2, %s, %s, now(), %s FROM irp_step WHERE step_num = 2", {0!r})
"""


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_notebook_that_notes_its_failure_and_ends_quietly_has_failed(
    cycle, workflows, teams, sql, by_hand
):
    finished_batch(cycle, BatchType.ANALYSIS)
    word = ["FAILED", "3 portfolios have no geocoding.", None]
    source = notebook(workflows, 4, 2, NOTES_ITSELF.format(word))

    if by_hand:
        monitor = Monitor()
        monitor.find_batches()
        monitor.reconcile_batches()
        result = execute_next_step(source)
        assert (result["success"], result["error"]) == (False, word[1])
    done = one_pass()

    assert chains(sql) == [("FAILED", word[1])]
    assert done.summary.waiting.total == 1
    assert rows(sql, "SELECT status::text, error_message FROM irp_step_run") == [tuple(word[:2])]
    assert len(teams.messages) == 1


def test_those_who_look_up_the_last_run_that_completed_find_the_notebooks_output(
    cycle, workflows, sql
):
    finished_batch(cycle, BatchType.ANALYSIS)
    notebook(workflows, 4, 2, NOTES_ITSELF.format(["COMPLETED", None, '{"batch_id": 12}']))

    run_pass()

    [(output,)] = rows(
        sql,
        "SELECT output_data FROM irp_step_run WHERE status = 'COMPLETED'"
        " ORDER BY completed_ts DESC LIMIT 1",
    )
    assert output["batch_id"] == 12
    assert output["executed_notebook"].startswith("workflows/")


TAKES_THE_NAME = """
from pathlib import Path
from helpers.workflow_paths import executed_copy_path
runs = Path.cwd().parents[1] / "runs"
runs.mkdir(exist_ok=True)
for _ in range(3):  # the name of this very run is unknown to its kernel
    executed_copy_path(Path.cwd() / "{name}").write_text("theirs")
"""


def test_a_copy_whose_name_is_taken_during_the_run_is_found_where_it_went(cycle, workflows, sql):
    finished_batch(cycle, BatchType.ANALYSIS)
    source = notebook(workflows, 4, 2, "pass")
    notebook(workflows, 4, 2, TAKES_THE_NAME.format(name=source.name))

    [step] = one_pass().chained.steps

    [(output,)] = rows(sql, "SELECT output_data FROM irp_step_run")
    assert step.error is None
    assert output["executed_notebook"] == step.executed_path
    copy = workflows.joinpath(*step.executed_path.split("/")[1:])
    others = [path for path in copy.parent.iterdir() if path != copy]
    assert [path.read_text() for path in others] == ["theirs"] * 3


def test_the_report_says_what_a_step_waits_for(cycle, workflows, sql):
    finished_batch(cycle, BatchType.ANALYSIS)
    other = active_batch(cycle, BatchType.ANALYSIS, [PreparedJob()])

    done = one_pass()

    assert done.chained.steps == []
    assert f"waits for batch {other.batch_id} (ACTIVE)" in str(done.chained)
    assert "Next step" not in str(done.summary)  # it goes on by itself


def test_a_step_that_is_held_by_a_batch_that_ended_badly_waits_for_people(cycle, workflows, sql):
    finished_batch(cycle, BatchType.ANALYSIS)
    other = active_batch(cycle, BatchType.ANALYSIS, [PreparedJob(JobStatus.ERROR)])

    done = one_pass()

    assert done.chained.steps == []
    held = f"Next step 4.2 of {CYCLE}: waits for batch {other.batch_id} (ERROR). Correct that"
    assert held in str(done.summary)


@pytest.mark.parametrize("path", ["Mine (2).ipynb", "C:\\work\\Active_{}\\Mine (2).ipynb"])
@pytest.mark.parametrize("by_hand", [True, False])
def test_a_notebook_that_only_the_metastore_names_is_its_steps_by_hand_and_chained(
    cycle, workflows, sql, path, by_hand
):
    finished_batch(cycle, BatchType.ANALYSIS)
    knows = "from helpers.stage import open_step\nprint(open_step().step['step_num'])"
    source = write_notebook(workflows / f"Active_{CYCLE}" / "Mine (2).ipynb", knows)
    named = path.format(CYCLE)
    sql.execute("UPDATE irp_step SET notebook_path = %s WHERE step_num = 2", [named])
    monitor = Monitor()
    monitor.find_batches()
    monitor.reconcile_batches()

    if by_hand:
        result = execute_next_step(source)
        assert (result["error"], result["stdout"]) == (None, "2\n")
    run_pass()

    assert chains(sql) == [("COMPLETED", None)]
    assert rows(sql, "SELECT count(*) FROM irp_step_run") == [(1,)]


def test_an_empty_batch_completes_at_once_and_hands_over(cycle, workflows, sql):
    active_batch(cycle, BatchType.GROUPING)
    notebook(workflows, 5, 2, "1")

    run_pass()

    assert chains(sql) == [("COMPLETED", None)]

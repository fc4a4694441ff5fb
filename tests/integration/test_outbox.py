import json
import shutil
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest

from helpers.batch import recon_batch
from helpers.constants import BatchStatus as Status
from helpers.constants import BatchType, JobStatus
from helpers.database import AdvisoryLocks, LockSpace, transaction
from helpers.errors import (
    DatabaseError,
    DatabaseUnavailableError,
    MessageRejectedError,
    NotificationError,
)
from helpers.notifications.cards import MAX_MESSAGE_BYTES, size_of
from helpers.notifications.outbox import pending, send_due
from helpers.settings import PROJECT_DIR, get_settings
from helpers.steps import claims, verdicts
from sandbox.misbehaviour import Fault
from sandbox.seeding import PreparedJob, add_batch, add_cycle, add_step
from sandbox.teams import TeamsStandIn

DAY = timedelta(days=1)


@pytest.fixture
def teams(monkeypatch):
    with TeamsStandIn() as stand_in:
        monkeypatch.setenv("TEAMS_WEBHOOK_URL", stand_in.webhook_url)
        get_settings.cache_clear()
        yield stand_in


@pytest.fixture
def step(metastore):
    cycle = add_cycle("Q1")
    return add_step(cycle, stage_num=4, step_num=1, stage_name="Analysis", step_name="Submit")


@pytest.fixture
def fail(step, sql):
    """Let batches fail, each with the reason of its one job; returns their ids in order."""

    def fail(*reasons):
        return [fail_one(reason) for reason in reasons]

    def fail_one(reason):
        jobs = [PreparedJob(JobStatus.FAILED, "900")]
        seeded = add_batch(step, BatchType.ANALYSIS, jobs, status=Status.ACTIVE)
        sql.execute("UPDATE irp_job SET last_error = %s WHERE id = %s", [reason, *seeded.job_ids])
        assert recon_batch(seeded.batch_id) == Status.FAILED
        return seeded.batch_id

    return fail


def recover(sql, batch_id):
    """Resubmit a failed batch, with success."""
    sql.execute("UPDATE irp_batch SET status = 'ACTIVE' WHERE id = %s", [batch_id])
    sql.execute("UPDATE irp_job SET status = 'FINISHED' WHERE batch_id = %s", [batch_id])
    assert recon_batch(batch_id) == Status.COMPLETED


def rows(sql, columns="kind, status"):
    query = psycopg.sql.SQL("SELECT {} FROM irp_notification ORDER BY id")
    return sql.execute(query.format(psycopg.sql.SQL(columns))).fetchall()


def statuses(sql):
    return [status for (status,) in rows(sql, "status")]


def let_pass(sql, time):
    """Make everything in the outbox so much older."""
    sql.execute(
        "UPDATE irp_notification SET created_ts = created_ts - %(time)s,"
        " sent_ts = sent_ts - %(time)s, next_attempt_ts = next_attempt_ts - %(time)s",
        {"time": time},
    )


def configure(monkeypatch, **variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()


def titles(messages):
    cards = [message["attachments"][0]["content"] for message in messages]
    return [card["body"][0]["inlines"][0]["text"] for card in cards]


def reasons_in(messages):
    """The words of each failed job, in the order in which Teams got them."""
    text = json.dumps(messages)
    starts = sorted((text.find(f'"reason {n}."'), n) for n in range(500))
    return [n for start, n in starts if start >= 0]


def test_a_failed_batch_gets_one_card(fail, teams, sql):
    fail("The EDM does not exist.")

    first, second = send_due(), send_due()

    assert (first.cards, first.events, first.waiting, first.problem) == (1, 1, 0, None)
    assert (second.cards, second.waiting, second.problem) == (0, 0, None)
    assert titles(teams.messages) == ["FAILED: Analysis, batch 1 — cycle Q1"]
    assert "The EDM does not exist." in json.dumps(teams.messages)
    assert rows(sql) == [("BATCH_FAILED", "SENT")]


def test_a_failed_chain_run_gets_one_card_with_links(step, teams, sql, monkeypatch):
    configure(
        monkeypatch,
        TEAMS_DEFAULT_DASHBOARD_URL="https://dash.example",
        TEAMS_DEFAULT_JUPYTERLAB_URL="https://lab.example",
    )
    [(cycle,)] = sql.execute("SELECT id FROM irp_cycle").fetchall()
    add_step(cycle, stage_num=4, step_num=2, stage_name="Analysis")
    jobs = [PreparedJob(JobStatus.FINISHED, "900")]
    batch = add_batch(step, BatchType.ANALYSIS, jobs, status=Status.ACTIVE)
    recon_batch(batch.batch_id)

    verdicts.fail(claims.claim_due(), "Stage 4, step 2 has no notebook.")
    send_due()

    assert titles(teams.messages) == ["FAILED: step 2 of stage 4 (Analysis) — cycle Q1"]
    assert "Stage 4, step 2 has no notebook." in json.dumps(teams.messages)
    assert "https://dash.example" in json.dumps(teams.messages)
    assert rows(sql) == [("CHAIN_FAILED", "SENT")]


def test_a_batchs_card_leads_to_the_notebook_of_its_step(
    fail, workflows, teams, monkeypatch, jupyter_folders
):
    configure(monkeypatch, TEAMS_DEFAULT_JUPYTERLAB_URL="https://lab.example")
    folder = workflows / "Active_Q1" / "notebooks" / "Stage_04_Analysis"
    folder.mkdir(parents=True)
    (folder / "Step_01_Submit (new).ipynb").write_text("{}")

    fail("Reason.")
    send_due()

    [action] = teams.messages[0]["attachments"][0]["content"]["actions"]
    assert action["url"] == (
        "https://lab.example/lab/tree/workflows/Active_Q1/notebooks/Stage_04_Analysis/"
        "Step_01_Submit%20%28new%29.ipynb"
    )


def test_a_card_leads_to_where_the_notebook_lies_when_it_is_sent(
    fail, workflows, teams, monkeypatch
):
    """The folder is not looked at in the transaction that ends a batch: it may be slow."""
    configure(monkeypatch, TEAMS_DEFAULT_JUPYTERLAB_URL="https://lab.example")
    fail("Reason.")

    folder = workflows / "Active_Q1" / "notebooks" / "Stage_04_Analysis"
    folder.mkdir(parents=True)
    (folder / "Step_01_Renamed.ipynb").write_text("{}")
    send_due()

    actions = teams.messages[0]["attachments"][0]["content"]["actions"]
    assert actions[0]["url"].endswith("/Stage_04_Analysis/Step_01_Renamed.ipynb")


@pytest.fixture
def jupyter_folders(tmp_path, monkeypatch) -> Path:
    """The only folder in which Jupyter looks for what is enabled."""
    monkeypatch.setattr("jupyter_core.paths.jupyter_config_path", lambda: [str(tmp_path / "etc")])
    folder = tmp_path / "etc" / "jupyter_server_config.d"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize(
    ("is_installed", "dashboard", "leads_to"),
    [
        (True, "", "https://lab.example/user/me/batch-monitoring/"),
        (True, "https://board.example/", "https://board.example/"),
        (False, "", None),
        (False, "https://board.example/", "https://board.example/"),
    ],
)
def test_the_live_page_is_the_dashboard_if_it_is_installed_and_no_other_is_set(
    fail, workflows, teams, monkeypatch, jupyter_folders, is_installed, dashboard, leads_to
):
    configure(
        monkeypatch,
        TEAMS_DEFAULT_JUPYTERLAB_URL="https://lab.example/user/me/lab/tree/workspace",
        TEAMS_DEFAULT_DASHBOARD_URL=dashboard,
    )
    if is_installed:
        shutil.copy(PROJECT_DIR / "jupyter" / "batch-monitoring.json", jupyter_folders)
    fail("Reason.")
    send_due()

    actions = teams.messages[0]["attachments"][0]["content"]["actions"]
    urls = [action["url"] for action in actions if action["title"] == "Open dashboard"]
    assert urls == ([leads_to] if leads_to else [])


@pytest.mark.parametrize("is_there", [True, False])
def test_a_card_leads_to_an_executed_copy_only_if_there_is_one(
    fail, workflows, teams, sql, monkeypatch, jupyter_folders, is_there
):
    configure(monkeypatch, TEAMS_DEFAULT_JUPYTERLAB_URL="https://lab.example")
    fail("Reason.")
    copy = "workflows/Active_Q1/runs/Step_02 1.ipynb"
    sql.execute(
        "UPDATE irp_notification SET payload = payload"
        " || jsonb_build_object('executed_path', %s::text)",
        [copy],
    )
    if is_there:
        path = workflows / "Active_Q1" / "runs" / "Step_02 1.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text("{}")
    send_due()

    actions = teams.messages[0]["attachments"][0]["content"]["actions"]
    assert [action["title"] for action in actions] == ["Open executed notebook"] * is_there


def test_an_event_goes_with_the_transaction_that_made_it(step):
    jobs = [PreparedJob(JobStatus.FAILED, "900")]
    batch = add_batch(step, BatchType.ANALYSIS, jobs, status=Status.ACTIVE)

    def finish_and_fail():
        with transaction():
            assert recon_batch(batch.batch_id) == Status.FAILED
            raise DatabaseError("the commit failed")

    with pytest.raises(DatabaseError):
        finish_and_fail()
    assert pending() == []


def test_failure_and_recovery_are_sent_in_order_also_when_both_are_over(fail, teams, sql):
    [batch] = fail("Reason.")
    recover(sql, batch)

    sending = send_due()

    assert sending.cards == 2
    assert titles(teams.messages) == [
        "FAILED: Analysis, batch 1 — cycle Q1",
        "RECOVERED: Analysis, batch 1 — cycle Q1",
    ]


@pytest.mark.parametrize(
    ("status", "is_announced"),
    [
        ("PENDING", True),  # people will be told of the failure
        ("SENT", True),
        ("SUPPRESSED", False),
        ("ABANDONED", False),
    ],
)
def test_a_recovery_is_announced_only_after_an_announced_failure(fail, sql, status, is_announced):
    [batch] = fail("Reason.")
    sql.execute(
        "UPDATE irp_notification SET status = %(status)s::text::notification_status_enum,"
        " sent_ts = CASE WHEN %(status)s::text = 'SENT' THEN now() END",
        {"status": status},
    )

    recover(sql, batch)

    kinds = [kind for (kind,) in rows(sql, "kind")]
    assert kinds == ["BATCH_FAILED", *(["BATCH_RECOVERED"] if is_announced else [])]


def test_a_batch_that_never_failed_is_not_announced(step, sql):
    jobs = [PreparedJob(JobStatus.FINISHED, "900")]
    batch = add_batch(step, BatchType.ANALYSIS, jobs, status=Status.ACTIVE)

    recon_batch(batch.batch_id)

    assert rows(sql) == []


def test_three_events_get_a_card_each_and_four_get_one_digest(fail, teams, sql):
    fail("reason 1.", "reason 2.", "reason 3.")
    assert send_due().cards == 3
    let_pass(sql, timedelta(seconds=2))

    fail("reason 4.", "reason 5.", "reason 6.", "reason 7.")
    sending = send_due()

    assert (sending.cards, sending.events) == (1, 4)
    assert reasons_in(teams.messages) == [1, 2, 3, 4, 5, 6, 7]
    assert titles(teams.messages)[-1] == "4 events: 4 failed"


def test_a_storm_becomes_digests_that_later_passes_go_on_with(fail, teams, sql):
    fail(*(f"reason {n}." for n in range(200)))
    passes = []
    while pending():
        passes.append(send_due())
        let_pass(sql, timedelta(seconds=2))

    assert sum(sending.events for sending in passes) == 200
    assert all(1 <= sending.cards <= 4 for sending in passes)
    assert len(teams.messages) <= 15
    assert max(map(size_of, teams.messages)) <= MAX_MESSAGE_BYTES
    assert reasons_in(teams.messages) == list(range(200))
    assert all("will follow" in sending.problem for sending in passes[:-1])


def test_no_more_than_four_messages_go_within_one_second(fail, teams, sql):
    fail("reason 1.", "reason 2.", "reason 3.")
    send_due()
    sql.execute("UPDATE irp_notification SET sent_ts = now() + id * interval '1 millisecond'")
    fail("reason 4.", "reason 5.")

    sending = send_due()

    assert (sending.cards, sending.waiting) == (1, 1)


def test_no_more_than_a_hundred_messages_go_within_an_hour(fail, teams, sql):
    [batch] = fail("reason 1.")
    sql.execute(
        "INSERT INTO irp_notification (kind, batch_id, activation_num, payload, status, sent_ts)"
        " SELECT 'BATCH_FAILED', %s, 100 + n, '{}', 'SENT', now() - n * interval '30 seconds'"
        " FROM generate_series(1, 100) AS n",
        [batch],
    )

    full = send_due()
    let_pass(sql, timedelta(minutes=11))
    free = send_due()

    assert (full.cards, full.waiting) == (0, 1)
    assert "will follow" in full.problem
    assert (free.cards, free.waiting, free.problem) == (1, 0, None)


def test_without_a_webhook_events_wait_for_who_has_one(fail, sql, monkeypatch):
    fail("Reason.")

    sending = send_due()

    assert (sending.cards, sending.waiting, sending.suppressed) == (0, 1, 0)
    assert "not configured" in sending.problem
    assert statuses(sql) == ["PENDING"]
    with TeamsStandIn() as teams:
        configure(monkeypatch, TEAMS_WEBHOOK_URL=teams.webhook_url)
        assert send_due().cards == 1


def test_without_a_webhook_events_are_closed_after_a_day(fail, sql):
    fail("Reason.")
    let_pass(sql, DAY)
    fail("Another.")

    sending = send_due()

    assert (sending.suppressed, sending.waiting) == (1, 1)
    assert rows(sql, "status, last_error")[0] == ("SUPPRESSED", sending.problem)
    assert statuses(sql) == ["SUPPRESSED", "PENDING"]


def test_that_no_webhook_is_configured_is_shown_before_it_is_needed(metastore):
    assert "not configured" in send_due().problem


def test_where_cards_are_switched_off_events_wait_a_day_for_another_process(
    fail, teams, sql, monkeypatch
):
    configure(monkeypatch, TEAMS_NOTIFICATION_ENABLED="false")
    fail("Reason.")

    sending = send_due()

    assert (sending.cards, sending.waiting, sending.problem) == (0, 0, None)
    assert statuses(sql) == ["PENDING"]
    let_pass(sql, DAY)
    assert send_due().suppressed == 1
    assert statuses(sql) == ["SUPPRESSED"]
    assert teams.messages == []


def test_a_recovery_is_closed_with_the_failure_that_was_not_announced(fail, sql):
    [batch] = fail("Reason.")
    let_pass(sql, DAY)
    recover(sql, batch)

    sending = send_due()

    assert sending.suppressed == 2
    assert statuses(sql) == ["SUPPRESSED", "SUPPRESSED"]


def test_what_teams_does_not_take_is_tried_again_in_order(fail, teams, sql):
    fail("reason 1.", "reason 2.")
    teams.misbehave(Fault.HTTP_STATUS, http_status=503, times=1)

    down = send_due()
    too_early = send_due()
    let_pass(sql, timedelta(minutes=1))
    up = send_due()

    assert (down.cards, down.waiting) == (0, 2)
    assert "HTTP 503" in down.problem
    assert (too_early.cards, too_early.waiting) == (0, 2)
    assert "Next try at" in too_early.problem
    assert (up.cards, up.waiting, up.problem) == (2, 0, None)
    assert reasons_in(teams.messages) == [1, 2]
    assert rows(sql, "status, attempts, last_error") == [("SENT", 2, None), ("SENT", 1, None)]


class Picky:
    """A webhook that rejects every message that holds one of these words, in whatever form."""

    def __init__(self, *words):
        self.words = words
        self.messages = []
        self.tries = 0

    def __call__(self, message):
        self.tries += 1
        if any(word in json.dumps(message) for word in self.words):
            raise MessageRejectedError("Teams answered HTTP 400: Bad payload.")
        self.messages.append(message)


@pytest.mark.parametrize("number", [2, 3, 7])
def test_an_event_that_teams_rejects_waits_alone_and_the_others_are_sent(fail, sql, number):
    """A card each, or a digest that holds it."""
    fail(*(f"reason {n}." for n in range(number)))
    picky = Picky("reason 1.")
    passes = []
    for _ in range(6):
        passes.append(send_due(send=picky))
        let_pass(sql, timedelta(seconds=2))

    assert reasons_in(picky.messages) == [n for n in range(number) if n != 1]
    assert sum(sending.events for sending in passes) == number - 1
    assert rows(sql, "status, last_error")[1] == (
        "PENDING",
        "Teams answered HTTP 400: Bad payload.",
    )
    assert passes[-1].waiting == 1
    assert passes[-1].problem.startswith(
        "Teams rejects the card of 1 event, and others are sent: "
        "Teams answered HTTP 400: Bad payload. Next try at "
    )


def test_a_rejected_event_holds_back_nothing_that_comes_later(fail, sql):
    picky = Picky("reason 0.")
    fail("reason 0.")
    send_due(send=picky)

    fail("reason 1.")
    sending = send_due(send=picky)

    assert (sending.cards, sending.waiting) == (1, 1)
    assert reasons_in(picky.messages) == [1]


def test_a_card_that_is_rejected_for_its_form_is_sent_in_a_plain_one(fail, sql):
    fail("reason 0.")
    picky = Picky("FactSet")

    sending = send_due(send=picky)

    assert (sending.cards, sending.waiting, sending.problem) == (1, 0, None)
    assert reasons_in(picky.messages) == [0]
    assert statuses(sql) == ["SENT"]


def test_a_rejected_event_is_given_up_alone_after_a_day(fail, sql):
    fail("reason 0.")
    picky = Picky("reason 0.")
    send_due(send=picky)
    let_pass(sql, DAY)
    fail(*(f"reason {n}." for n in range(1, 6)))

    for _ in range(3):
        send_due(send=picky)
        let_pass(sql, timedelta(seconds=2))

    assert statuses(sql) == ["ABANDONED", *["SENT"] * 5]
    assert reasons_in(picky.messages) == [1, 2, 3, 4, 5]


def test_nobody_hears_of_a_recovery_before_the_failure(fail, sql):
    [batch] = fail("reason 0.")
    picky = Picky("FAILED:")
    send_due(send=picky)
    recover(sql, batch)

    sending = send_due(send=picky)

    assert (sending.cards, sending.waiting) == (0, 2)
    assert picky.messages == []


def test_a_round_makes_few_tries_while_everything_is_rejected(fail, sql):
    """As by a webhook that was deleted; when it is back, all are sent in order."""
    fail(*(f"reason {n}." for n in range(10)))
    deleted, restored = Picky(""), Picky("nothing")
    for number in range(1, 6):
        assert send_due(send=deleted).cards == 0
        assert deleted.tries <= 4 * number
        let_pass(sql, timedelta(minutes=16))

    sending = send_due(send=restored)

    assert (sending.cards, sending.events, sending.waiting) == (1, 10, 0)
    assert reasons_in(restored.messages) == list(range(10))


def test_a_rejection_while_teams_goes_down_keeps_the_order_of_the_others(fail, sql):
    fail("reason 0.", "reason 1.", "reason 2.")
    picky = Picky("reason 0.")
    send_due(send=picky)

    def down(_message):
        raise NotificationError("Teams is down.")

    fail("reason 3.", "reason 4.")
    assert send_due(send=down).problem == "Teams is down."
    assert "Teams is down." in send_due(send=picky).problem
    let_pass(sql, timedelta(minutes=2))
    send_due(send=picky)

    assert reasons_in(picky.messages) == [1, 2, 3, 4]


@pytest.mark.parametrize("hours", [5, 24 * 400])
def test_cards_do_not_wait_for_a_time_that_a_wrong_clock_has_set(fail, teams, sql, hours):
    """The server's clock was ahead while cards were sent and put off; then it was put right."""
    fail(*(f"reason {n}." for n in range(8)))
    sql.execute(
        "UPDATE irp_notification SET status = 'SENT', sent_ts = now() + %(ahead)s WHERE id <= 4",
        {"ahead": timedelta(hours=hours)},
    )
    sql.execute(
        "UPDATE irp_notification SET next_attempt_ts = now() + %(ahead)s,"
        " created_ts = now() + %(ahead)s, last_error = 'down' WHERE status = 'PENDING'",
        {"ahead": timedelta(hours=hours)},
    )

    sending = send_due()

    assert (sending.cards, sending.events, sending.waiting) == (1, 4, 0)


def refuse(_message):
    raise NotificationError("Teams is down.")


def test_the_delay_between_tries_grows(fail, sql):
    fail("Reason.")
    delays = []
    for _ in range(7):
        send_due(send=refuse)
        [(next_attempt,)] = rows(sql, "next_attempt_ts")
        delays.append((next_attempt - datetime.now(UTC)).total_seconds() / 60)
        let_pass(sql, timedelta(minutes=15))

    assert [round(delay) for delay in delays] == [1, 2, 4, 8, 15, 15, 15]
    assert all(earlier <= later + 0.1 for earlier, later in pairwise(delays))


def test_after_a_day_of_tries_an_event_is_given_up_and_that_is_shown(fail, sql):
    [batch] = fail("Reason.")
    recover(sql, batch)
    send_due(send=refuse)
    let_pass(sql, DAY)

    last_try = send_due(send=refuse)
    afterwards = send_due(send=lambda _: None)

    assert statuses(sql) == ["ABANDONED", "SUPPRESSED"]  # and nobody hears of a recovery from it
    assert (last_try.cards, last_try.waiting, last_try.abandoned) == (0, 0, 1)
    assert "Teams is down." in last_try.problem
    assert (afterwards.cards, afterwards.abandoned) == (0, 1)
    assert "1 event of the last week never reached Teams" in afterwards.problem


def test_a_crash_after_the_send_doubles_that_card_and_no_other(fail, sql):
    fail("reason 1.", "reason 2.", "reason 3.")
    delivered = []

    def send_and_crash(message):
        delivered.append(message)
        if len(delivered) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        send_due(send=send_and_crash)
    send_due(send=delivered.append)

    assert [reasons_in([message]) for message in delivered] == [[1], [2], [2], [3]]
    assert set(statuses(sql)) == {"SENT"}


def test_one_pass_sends_at_a_time(fail, teams, sql):
    fail("Reason.")

    with AdvisoryLocks(owner="monitor elsewhere pid 1") as locks:
        locks.try_acquire(LockSpace.SEND_CARDS, [0])
        sending = send_due()

    assert (sending.cards, sending.waiting) == (0, 1)
    assert sending.problem == "Cards are being sent by monitor elsewhere pid 1."
    assert teams.messages == []
    assert send_due().cards == 1


def test_a_pass_that_lost_its_lock_sends_nothing_more(fail, sql):
    fail("reason 1.", "reason 2.")
    delivered = []

    def send_and_lose_the_lock(message):
        delivered.append(message)
        sql.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )

    with pytest.raises(DatabaseUnavailableError):
        send_due(send=send_and_lose_the_lock)

    assert reasons_in(delivered) == [1]
    assert statuses(sql) == ["SENT", "PENDING"]


def test_no_secret_is_stored_or_sent(fail, teams, sql, monkeypatch):
    key = 'Kéy "planted" 0123'  # as JSON it would look different
    configure(monkeypatch, RISK_MODELER_API_KEY=key)
    fail(f"Not authorised: \x1b[1m{key}\x1b[0m")

    def repeat_the_address(_message):
        raise NotificationError(f"no route to {teams.webhook_url}")

    problem = send_due(send=repeat_the_address).problem
    [(payload, last_error)] = rows(sql, "payload, last_error")
    let_pass(sql, timedelta(minutes=1))
    send_due()

    assert "planted" not in json.dumps(payload)
    assert "Not authorised: ***" in json.dumps(payload)
    assert teams.webhook_url.rsplit("sig=")[-1] not in f"{problem} {last_error}"
    assert "planted" not in json.dumps(teams.messages)
    assert statuses(sql) == ["SENT"]

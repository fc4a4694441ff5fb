"""Laws of batches that must hold at every step of any walk, on a real database.

The decision table, the moves of statuses and the chain rules are written down here a second
time, from the sentences of the reference and the design, as slowly and plainly as possible.
A walk is whatever Moody's, analysts, their own tools and several passes do, in any order.
"""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from helpers import recording
from helpers.batch import get_active_batches, recon_batch, reconcile
from helpers.constants import BatchStatus, BatchType, JobStatus
from helpers.database import close_pools, transaction
from helpers.irp_integration.questions import Answer, Question
from helpers.monitor.poll_list import each_job_to_poll
from helpers.settings import get_settings
from helpers.step_chain import should_execute_next_step
from helpers.steps import claims, verdicts
from helpers.steps.claims import Claim
from helpers.steps.verdicts import fail_abandoned
from sandbox.postgres import drop_database, recreate_database
from sandbox.seeding import (
    PreparedJob,
    add_batch,
    add_configurations,
    add_cycle,
    add_jobs,
    add_step,
)
from tests.support.chains import finish

# --- What the documents say, once more.

# Polling stops at these.
TERMINAL = {"FINISHED", "FAILED", "CANCELLED", "ERROR"}
# Moody's: "Terminal: FINISHED, FAILED, CANCELLED. Not terminal: QUEUED, PENDING, RUNNING,
# CANCEL_REQUESTED, CANCELLING."
MOODYS = ["QUEUED", "PENDING", "RUNNING", "CANCEL_REQUESTED", "CANCELLING"]
MOODYS += ["FINISHED", "FAILED", "CANCELLED"]
# Three of these are ours and Moody's never sends them; the others nobody knows.
UNKNOWN = ["ERROR", "SUBMITTED", "INITIATED", "finished", " FINISHED", "HIBERNATING", "DONE"]
# How far a job has come; waiting in a queue or for one is the same distance.
DISTANCE = {
    "INITIATED": 0,
    "SUBMITTED": 1,
    "QUEUED": 2,
    "PENDING": 2,
    "RUNNING": 3,
    "CANCEL_REQUESTED": 4,
    "CANCELLING": 5,
    "FINISHED": 6,
    "FAILED": 6,
    "CANCELLED": 6,
    "ERROR": 6,
}
# Moody's may restart a job, or refuse to cancel it; a read by id, as all are here, is believed.
RESTARTED = {"RUNNING", "CANCEL_REQUESTED", "CANCELLING"}
WAITING_AGAIN = {"QUEUED", "PENDING", "RUNNING"}
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "ERROR"}
# Stage 3: "Step 1 → 2 → 3 → … → 8: COMPLETED"; stage 4: "COMPLETED or FAILED"; stage 5: "Step 2→3:
# COMPLETED or FAILED".
LOCATIONS = {
    BatchType.MRI_IMPORT: (3, 3, {"COMPLETED"}),
    BatchType.ANALYSIS: (4, 1, {"COMPLETED", "FAILED"}),
    BatchType.GROUPING: (5, 1, {"COMPLETED"}),
    BatchType.GROUPING_ROLLUP: (5, 2, {"COMPLETED", "FAILED"}),
}


@dataclass
class Job:
    """A job as this test believes it to be."""

    id: int
    configuration: int | None
    status: str
    workflow_id: str | None
    skipped: bool = False
    asked: int = -1  # when the latest question was asked that was answered


@dataclass
class Batch:
    """A batch as this test believes it to be."""

    id: int
    kind: BatchType
    step_id: int
    jobs: list[Job] = field(default_factory=list)
    configurations: dict[int, bool] = field(default_factory=dict)  # to whether it is skipped
    status: str = "ACTIVE"
    activation: int = 1
    ends: list[tuple[int, str]] = field(default_factory=list)  # activation, status

    def decided(self) -> str:
        """Return what the batch is: the first row of the decision table that applies."""
        jobs = [job.status for job in self.jobs if not job.skipped]
        wanted = {i for i, skipped in self.configurations.items() if not skipped}
        if not jobs and not wanted:
            return "COMPLETED"
        if any(status not in TERMINAL for status in jobs):
            return "ACTIVE"
        if jobs and all(status == "CANCELLED" for status in jobs):
            return "CANCELLED"
        if any(status == "ERROR" for status in jobs):
            return "ERROR"
        if any(status == "FAILED" for status in jobs):
            return "FAILED"
        done = {j.configuration for j in self.jobs if not j.skipped and j.status == "FINISHED"}
        return "COMPLETED" if wanted <= done else "ACTIVE"

    def reconcile(self) -> None:
        if self.status == "ACTIVE" and (became := self.decided()) != "ACTIVE":
            self.status = became
            self.ends.append((self.activation, became))

    @property
    def chain_runs(self) -> set[int]:
        """The activations in which the batch ended so that a rule fires."""
        return {activation for activation, status in self.ends if status in LOCATIONS[self.kind][2]}

    @property
    def events(self) -> list[tuple[int, str]]:
        """What people are to be told, in order."""
        message: list[tuple[int, str]] = []
        for activation, status in self.ends:
            if status != "COMPLETED":
                message.append((activation, "BATCH_FAILED"))
            elif message and message[-1][1] == "BATCH_FAILED":
                message.append((activation, "BATCH_RECOVERED"))
        return message


@dataclass
class Poll:
    """A question that was asked and whose answer is on its way."""

    question: Question
    asked: int


def _may_follow(before: str, after: str) -> bool:
    return DISTANCE[after] >= DISTANCE[before] or (before in RESTARTED and after in WAITING_AGAIN)


def answer_to(poll: Poll, message: str | None) -> Answer:
    """Return the answer in which Moody's says this; None is no usable answer."""
    asked_ts = T0 + timedelta(seconds=poll.asked)
    if message is None:
        return Answer(poll.question, asked_ts, error="Moody's did not answer in time.")
    body = {"jobId": poll.question.workflow_id, "status": message, "errorMessage": "Why."}
    return Answer(poll.question, asked_ts, message, body, 200)


T0 = datetime(2025, 1, 1, tzinfo=UTC)
numbers = st.integers(0, 10**6)
answers = st.one_of(
    st.sampled_from(MOODYS[:5]),
    st.sampled_from(MOODYS[:5]),
    st.sampled_from(MOODYS[5:]),
    st.sampled_from([*UNKNOWN, None]),
)
ways_to_end = st.sampled_from(["finish", "fail", "release", "die"])
first_statuses = st.sampled_from(["SUBMITTED"] * 4 + ["RUNNING", "ERROR", "INITIATED"])


class Walk(RuleBasedStateMachine):
    """Everything that anybody may do, and what must hold after each of it."""

    sql: psycopg.Connection

    @initialize(kind=st.sampled_from(sorted(LOCATIONS)))
    def begin(self, kind: BatchType) -> None:
        self.sql.execute(f"TRUNCATE {', '.join(TABLES)} RESTART IDENTITY CASCADE")
        self.cycle_id = add_cycle("Cycle")
        self.batches: list[Batch] = []
        self.passes: list[list[Poll]] = []  # what each has asked and not heard yet
        self.now = 0
        self.archived = False
        self.logged: list[tuple[int, int, str | None]] = []  # job, asked, status
        self.ended: dict[int, str] = {}  # chain run -> how this test believes it ended
        self.tries: dict[int, int] = {}  # chain run -> claims that have served it
        self.held: list[Claim] = []
        self.failed_cards: list[int] = []  # chain runs of which a card tells
        self.submit(kind=kind, statuses=["SUBMITTED", "SUBMITTED"], shared=False)

    # -- Analysts and their tools.

    @rule(
        kind=st.sampled_from(sorted(LOCATIONS)),
        statuses=st.lists(first_statuses, max_size=4),
        shared=st.booleans(),
    )
    def submit(self, kind: BatchType, statuses: list[str], shared: bool) -> None:
        if len(self.batches) == 3:
            return
        stage, step, _ = LOCATIONS[kind]
        step_id = add_step(self.cycle_id, stage_num=stage, step_num=step)
        add_step(self.cycle_id, stage_num=stage, step_num=step + 1)
        made = add_batch(step_id, kind, status=BatchStatus.ACTIVE)
        batch = Batch(made.batch_id, kind, step_id)
        configurations = add_configurations(
            batch.id, [{}] * (min(len(statuses), 1) if shared else len(statuses))
        )
        batch.configurations = dict.fromkeys(configurations, False)
        for number, status in enumerate(statuses):
            self._add_job(batch, configurations[0 if shared else number], status)
        self.batches.append(batch)

    def _add_job(self, batch: Batch, configuration: int | None, status: str) -> None:
        sent = status not in {"ERROR", "INITIATED"}
        workflow_id = str(23_000_000 + len(batch.jobs) + 100 * batch.id) if sent else None
        job = PreparedJob(JobStatus(status), workflow_id)
        [job_id] = add_jobs(batch.id, [job], configuration_ids=[configuration])
        batch.jobs.append(Job(job_id, configuration, status, workflow_id))

    @rule(
        what=st.sampled_from(["skip job", "skip configuration", "resubmit", "activate", "archive"]),
        which=numbers,
        skipped=st.booleans(),
    )
    def somebody_steps_in(self, what: str, which: int, skipped: bool) -> None:
        match what:
            case "skip job":
                self._skip_a_job(which, skipped)
            case "skip configuration":
                self._skip_a_configuration(which, skipped)
            case "resubmit":
                self._resubmit(which)
            case "activate":
                self._activate_again(which)
            case "archive":
                self._archive_or_open_the_cycle()

    def _skip_a_job(self, which: int, skipped: bool) -> None:
        if job := self._job(which):
            self._by_hand("UPDATE irp_job SET skipped = %s WHERE id = %s", skipped, job.id)
            job.skipped = skipped

    def _skip_a_configuration(self, which: int, skipped: bool) -> None:
        owners = [(b, c) for b in self.batches for c in b.configurations]
        if owners:
            batch, configuration = owners[which % len(owners)]
            query = "UPDATE irp_job_configuration SET skipped = %s WHERE id = %s"
            self._by_hand(query, skipped, configuration)
            batch.configurations[configuration] = skipped

    def _resubmit(self, which: int) -> None:
        """As the team's tool does: skip a job, add one for its configuration, watch the batch."""
        if job := self._job(which):
            batch = next(batch for batch in self.batches if job in batch.jobs)
            with self.sql.transaction():
                self._by_hand("SELECT FROM irp_batch WHERE id = %s FOR UPDATE", batch.id)
                self._by_hand("UPDATE irp_job SET skipped = true WHERE id = %s", job.id)
                self._activate(batch)
            job.skipped = True
            self._add_job(batch, job.configuration, "SUBMITTED")

    def _activate_again(self, which: int) -> None:
        ended = [batch for batch in self.batches if batch.status != "ACTIVE"]
        if ended:
            self._activate(ended[which % len(ended)])

    def _activate(self, batch: Batch) -> None:
        query = "UPDATE irp_batch SET status = 'ACTIVE', completed_ts = NULL WHERE id = %s"
        self._by_hand(query, batch.id)
        batch.activation += batch.status != "ACTIVE"
        batch.status = "ACTIVE"

    def _archive_or_open_the_cycle(self) -> None:
        self.archived = not self.archived
        status = "ARCHIVED" if self.archived else "ACTIVE"
        self._by_hand("UPDATE irp_cycle SET status = %s::cycle_status_enum", status)

    def _by_hand(self, query: str, *parameters: object) -> None:
        self.sql.execute(query, parameters)  # type: ignore[arg-type]

    def _job(self, which: int) -> Job | None:
        jobs = [job for batch in self.batches for job in batch.jobs]
        return jobs[which % len(jobs)] if jobs else None

    # -- Passes: each asks, and records what it was told sooner or later.

    @rule(message=st.lists(answers, min_size=1, max_size=4))
    def poll(self, message: list[str | None]) -> None:
        """A pass asks about all jobs and hears at once."""
        if polls := self._ask():
            self._hear(polls, list(itertools.islice(itertools.cycle(message), len(polls))))

    @precondition(lambda self: len(self.passes) < 3)
    @rule()
    def ask(self) -> None:
        """A pass asks about all jobs, and will hear later."""
        if polls := self._ask():
            self.passes.append(polls)

    def _ask(self) -> list[Poll]:
        """Ask about the jobs that are to be polled now."""
        due = list(each_job_to_poll([batch["batch_id"] for batch in get_active_batches()]))
        assert {job["job_id"] for job in due} == {
            job.id
            for batch in self.batches
            if batch.status == "ACTIVE" and not self.archived
            for job in batch.jobs
            if not job.skipped and job.status not in TERMINAL
        }
        self.now += 1
        return [
            Poll(Question(job["job_id"], job["workflow_id"], family, job["status"]), self.now)
            for job in due
            if job["workflow_id"] is not None and (family := BatchType(job["batch_type"]).family)
        ]

    @precondition(lambda self: self.passes)
    @rule(which=numbers, message=st.lists(answers, min_size=1, max_size=3), again=st.booleans())
    def hear(self, which: int, message: list[str | None], again: bool) -> None:
        """Answers arrive and are recorded, a chunk at a time, in whatever order, even twice."""
        polls = self.passes[which % len(self.passes)]
        self._hear(polls[: len(message)], message[: len(polls)])
        if not again:
            del polls[: len(message)]
        self.passes = [polls for polls in self.passes if polls]

    def _hear(self, polls: list[Poll], message: list[str | None]) -> None:
        recorded = recording.record(list(map(answer_to, polls, message)))
        for poll, status, what in zip(polls, message, recorded, strict=True):
            self._take_in(poll, status, (what.old_status, what.new_status))

    def _take_in(
        self, poll: Poll, message: str | None, moved: tuple[str | None, str | None]
    ) -> None:
        job = next(j for b in self.batches for j in b.jobs if j.id == poll.question.job_id)
        before = job.status
        self.logged.append((job.id, poll.asked, message and message.strip()))
        if poll.asked < job.asked:  # a later question was answered before
            assert moved == (None, None)
            return
        job.asked = poll.asked
        if message in MOODYS and before not in TERMINAL and _may_follow(before, message):
            job.status = message
        assert moved == (before, job.status)

    @precondition(lambda self: self.batches)
    @rule(which=numbers, twice=st.booleans())
    def reconcile_one(self, which: int, twice: bool) -> None:
        batch = self.batches[which % len(self.batches)]
        before = batch.status
        outcome = reconcile(batch.id)
        batch.reconcile()
        assert outcome.status == batch.status
        assert outcome.old_status == before
        assert outcome.reason
        if twice:
            assert recon_batch(batch.id) == batch.status

    @rule()
    def reconcile_all(self) -> None:
        """Section 3 of a pass: the ACTIVE batches of an ACTIVE cycle."""
        found = [batch["batch_id"] for batch in get_active_batches()]
        expected = [b.id for b in self.batches if b.status == "ACTIVE" and not self.archived]
        assert found == expected
        for batch in self.batches:
            if batch.id in found:
                assert recon_batch(batch.id) == batch.decided()
                batch.reconcile()

    # -- Next steps.

    @rule(
        what=st.sampled_from(["claim", "end", "do the housekeeping"]),
        which=numbers,
        how=ways_to_end,
    )
    def next_steps(self, what: str, which: int, how: str) -> None:
        match what:
            case "claim":
                self._claim()
            case "end":
                self._end_a_step(which, how)
            case "do the housekeeping":
                self._do_housekeeping()

    def _claim(self) -> None:
        """Some pass claims what is due; it gets nothing of an archived cycle."""
        due = self._due()
        claimed = claims.claim_due()
        if claimed is None:
            assert due == []
            return
        served = [run["id"] for run in claimed.served]
        assert served == due
        for run_id in served:
            self.tries[run_id] = self.tries.get(run_id, 0) + 1
        self.held.append(claimed)

    def _chain_runs(self) -> dict[int, tuple[Batch, int, int]]:
        """Return each chain run's batch, activation and next step."""
        rows = self.sql.execute(
            "SELECT id, batch_id, activation_num, next_step_id FROM irp_chain_run ORDER BY id"
        ).fetchall()
        batches = {batch.id: batch for batch in self.batches}
        return {row[0]: (batches[row[1]], row[2], row[3]) for row in rows}

    def _due(self) -> list[int]:
        """Return the chain runs that the next claim serves, by the rules of the design."""
        taken = {claim.step_id for claim in self.held}
        due: dict[int, list[int]] = {}
        for run_id, (batch, activation, step_id) in self._chain_runs().items():
            is_open = run_id not in self.ended and self.tries.get(run_id, 0) < 3
            current = batch.activation == activation and not self.archived
            if is_open and current and step_id not in taken and not self.waits(batch):
                due.setdefault(step_id, []).append(run_id)
        return next(iter(due.values()), [])

    def waits(self, batch: Batch) -> bool:
        """Tell whether another batch of the same step keeps the next step from starting."""
        others = [b for b in self.batches if b.step_id == batch.step_id and b is not batch]
        return any(b.status not in LOCATIONS[b.kind][2] | {"CANCELLED"} for b in others)

    def _end_a_step(self, which: int, how: str) -> None:
        if not self.held:
            return
        claim = self.held.pop(which % len(self.held))
        match how:
            case "finish":
                assert finish(claim)
                assert not verdicts.fail(claim, "too late")
                self._believe(claim, "COMPLETED")
            case "fail":
                assert finish(claim, error="the notebook failed")
                self._believe(claim, "FAILED")
            case "release":
                assert claims.release(claim, reason="interrupted")
            case "die":
                self._die(claim)

    def _believe(self, claim: Claim, status: str) -> None:
        """Note how the rows that a claim served must have ended; one card tells of a failure."""
        rows = self._chain_runs()
        for run in claim.served:
            batch, activation, _ = rows[run["id"]]
            is_current = batch.activation == activation
            self.ended[run["id"]] = status if is_current else "CANCELLED"
        failed = [run["id"] for run in claim.served if self.ended[run["id"]] == "FAILED"]
        self.failed_cards += failed[:1]

    def _die(self, claim: Claim) -> None:
        """Its monitor falls silent; after 90 s others do the housekeeping and may claim it."""
        self._by_hand(
            "UPDATE irp_step_claim SET claim_expires_ts = clock_timestamp() - interval '1 s'"
            " WHERE step_id = %s",
            claim.step_id,
        )
        self._do_housekeeping()
        assert claims.release(claim, reason="late") is False

    def _do_housekeeping(self) -> None:
        fail_abandoned()
        served = {run["id"] for claim in self.held for run in claim.served}
        given_up: dict[int, int] = {}  # step -> the first chain run, of which the card tells
        for run_id, (batch, activation, step_id) in self._chain_runs().items():
            if run_id in self.ended or run_id in served:
                continue
            if batch.activation != activation:
                self.ended[run_id] = "CANCELLED"
            elif self.tries.get(run_id, 0) == 3:
                self.ended[run_id] = "FAILED"
                given_up.setdefault(step_id, run_id)
        self.failed_cards += given_up.values()

    # -- What holds at every step.

    @invariant()
    def the_recorded_statuses_are_those_that_the_tables_give(self) -> None:
        if not hasattr(self, "batches"):
            return
        assert dict(self.sql.execute("SELECT id, status::text FROM irp_job").fetchall()) == {
            job.id: job.status for batch in self.batches for job in batch.jobs
        }
        rows = self.sql.execute(
            "SELECT id, status::text, activation_num, completed_ts IS NOT NULL FROM irp_batch"
        ).fetchall()
        assert set(rows) == {
            (batch.id, batch.status, batch.activation, batch.status in ENDED)
            for batch in self.batches
        }

    @invariant()
    def a_batch_is_active_only_with_a_reason(self) -> None:
        for batch in getattr(self, "batches", []):
            if batch.status != "ACTIVE":
                continue
            with transaction() as connection:
                outcome = reconcile(batch.id)
                connection.rollback()
            assert outcome.reason
            if outcome.status == "ACTIVE":
                moving = [j for j in batch.jobs if not j.skipped and j.status not in TERMINAL]
                unsent = [job for job in moving if job.workflow_id is None]
                assert moving or outcome.needs_attention
                assert not unsent or outcome.needs_attention

    @invariant()
    def a_chain_run_exists_exactly_where_a_rule_fired_for_that_activation(self) -> None:
        if not hasattr(self, "batches"):
            return
        found = self.sql.execute("SELECT batch_id, activation_num FROM irp_chain_run").fetchall()
        expected = {(batch.id, a) for batch in self.batches for a in batch.chain_runs}
        assert len(found) == len(set(found))
        assert set(found) == expected
        for batch in self.batches:
            fires = batch.status in LOCATIONS[batch.kind][2] and not self.archived
            assert should_execute_next_step(batch.id) == (fires and not self.waits(batch))
        ended = self.sql.execute(
            "SELECT id, status::text FROM irp_chain_run WHERE status NOT IN ('PENDING', 'RUNNING')"
        )
        assert dict(ended.fetchall()) == self.ended

    @invariant()
    def there_is_one_card_per_event(self) -> None:
        if not hasattr(self, "batches"):
            return
        query = (
            "SELECT activation_num, kind::text FROM irp_notification"
            " WHERE batch_id = %s AND kind <> 'CHAIN_FAILED' ORDER BY id"
        )
        for batch in self.batches:
            assert self.sql.execute(query, [batch.id]).fetchall() == batch.events
        cards = self.sql.execute(
            "SELECT chain_run_id FROM irp_notification WHERE kind = 'CHAIN_FAILED' ORDER BY 1"
        ).fetchall()
        assert [row[0] for row in cards] == sorted(self.failed_cards)

    @invariant()
    def counts_add_up(self) -> None:
        if not hasattr(self, "batches"):
            return
        logged = self.sql.execute(
            "SELECT job_id, extract(epoch FROM tracked_ts - %s)::int, job_status"
            " FROM irp_job_tracking_log ORDER BY id",
            [T0],
        ).fetchall()
        assert [(j, a, s and s.strip()) for j, a, s in logged] == self.logged
        summaries = self.sql.execute(
            "SELECT recon_summary, recon_result::text FROM irp_batch_recon_log"
        ).fetchall()
        for summary, result in summaries:
            assert_adds_up(summary, result)
        ends = sum(len(batch.ends) for batch in self.batches)
        assert sum(result != "ACTIVE" for _, result in summaries) == ends


def assert_adds_up(summary: dict[str, Any], result: str) -> None:
    counts = summary["job_status_counts"]
    assert sum(counts.values()) == summary["total_jobs"]
    assert summary["total_jobs"] - counts.get("SKIPPED", 0) == summary["non_skipped_jobs"]
    for status in ("failed", "cancelled", "error"):
        assert len(summary[f"{status}_job_ids"]) == counts.get(status.upper(), 0)
    wanted = summary["non_skipped_configs"]
    assert summary["fulfilled_configs"] + summary["unfulfilled_configs"] == wanted
    assert summary["unfulfilled_configs"] == len(summary["unfulfilled_config_ids"])
    assert summary["reason"]
    assert result in {"ACTIVE", *ENDED}


TABLES = ("irp_cycle", "irp_stage", "irp_step", "irp_batch", "irp_job", "irp_job_configuration")


@pytest.fixture
def walking_metastore(server_url: str, template: str, monkeypatch) -> Iterator[psycopg.Connection]:
    """One metastore for all walks of a test; each begins by emptying it."""
    name = f"walks_{uuid4().hex[:12]}"
    monkeypatch.setenv("DATABASE_URL", recreate_database(server_url, name, template=template))
    get_settings.cache_clear()
    url = get_settings().database_url
    assert url is not None
    with psycopg.connect(url.get_secret_value(), autocommit=True) as sql:
        yield sql
    close_pools()
    drop_database(server_url, name)


@contextmanager
def machine(sql: psycopg.Connection) -> Iterator[type[Walk]]:
    yield type("Walk", (Walk,), {"sql": sql})


WALKS = settings(
    deadline=None,  # the machine may be busy
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("examples", [12, pytest.param(60, marks=pytest.mark.faults)])
def test_the_laws_hold_at_every_step_of_any_walk(walking_metastore, examples):
    with machine(walking_metastore) as walk:
        run_state_machine_as_test(
            walk, settings=settings(WALKS, max_examples=examples, stateful_step_count=30)
        )


@pytest.mark.faults
@pytest.mark.timeout(3600)
def test_the_laws_hold_at_every_step_of_many_long_walks(walking_metastore):
    """Others each time, in the number of FAULTS_WALKS."""
    examples = int(os.environ.get("FAULTS_WALKS", "200"))
    many = settings(WALKS, max_examples=examples, stateful_step_count=60, derandomize=False)
    with machine(walking_metastore) as walk:
        run_state_machine_as_test(walk, settings=many)

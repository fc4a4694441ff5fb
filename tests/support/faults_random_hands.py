"""Random acts of people: each takes what the metastore holds, makes a plan, and applies it."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg

from helpers import batch as hands
from helpers.constants import BatchStatus, BatchType
from helpers.errors import BatchMonitoringError
from helpers.irp_integration import IRPClient
from sandbox.seeding import PreparedJob, add_batch
from tests.support.analysis import request

CYCLE = "Q1"
JOBS_A_BATCH = 4
STEPS = (1, 2, 3)


@dataclass
class Hand:
    """One person with a connection to look and a client to act with."""

    seed: int
    step_ids: list[int]
    sql: psycopg.Connection
    client: IRPClient
    done: list[str] = field(default_factory=list)  # what was tried, for the report of a failure

    def act(self, number: int) -> None:
        """Do act ``number``, which the seed and the number decide; a refusal is an end as well."""
        rng = random.Random(f"{self.seed} {number}")
        name, act = rng.choices(list(ACTS.items()), weights=WEIGHTS)[0]
        self.done.append(f"{number} {name}")
        try:
            act(self, rng, number)
        except BatchMonitoringError as exc:
            self.done[-1] += f": {type(exc).__name__}"

    def one_of(self, rng: random.Random, query: str) -> int:
        """Return one of the ids that a query finds, the later ones more often; 1 without any."""
        ids = [row[0] for row in self.sql.execute(f"{query} ORDER BY id DESC LIMIT 30")]
        return rng.choice(ids) if ids else 1

    def apply(self, rng: random.Random, plan: Any, *, asks: bool = False) -> None:
        """Apply a plan; sometimes again, which has to return the same."""
        client = (self.client,) if asks else ()
        first = plan.apply(*client, reason="random")
        if rng.random() < 0.2:
            again = plan.apply(*client, reason="a second click")
            assert again["done"] >= first["done"], (first, again)
            assert again.get("new_job_ids") == first.get("new_job_ids"), (first, again)


def _prepare(hand: Hand, rng: random.Random, number: int) -> None:
    names = [
        f"{'FAILS' if rng.random() < 0.6 else 'WORKS'} {hand.seed} {number} {n}"
        for n in range(JOBS_A_BATCH)
    ]
    jobs = [PreparedJob(request=request(name), configuration={"job_name": name}) for name in names]
    made = add_batch(rng.choice(hand.step_ids), BatchType.ANALYSIS, jobs)
    hands.submit_batch(made.batch_id, hand.client)


def _submit(hand: Hand, rng: random.Random, _: int) -> None:
    hands.submit_batch(hand.one_of(rng, "SELECT id FROM irp_batch"), hand.client)


def _batch(hand: Hand, rng: random.Random) -> int:
    return hand.one_of(rng, "SELECT id FROM irp_batch WHERE status <> 'COMPLETED'")


def _resubmit(hand: Hand, rng: random.Random, _: int) -> None:
    hand.apply(rng, hands.plan_resubmit(_batch(hand, rng)), asks=True)


def _resubmit_one(hand: Hand, rng: random.Random, _: int) -> None:
    failed = "SELECT id FROM irp_job WHERE status IN ('FAILED', 'CANCELLED', 'ERROR')"
    hands.resubmit_job(hand.one_of(rng, failed), hand.client, "Analysis")


def _skip(hand: Hand, rng: random.Random, _: int) -> None:
    batch_id = _batch(hand, rng)
    job_id = hand.one_of(rng, f"SELECT id FROM irp_job WHERE batch_id = {batch_id}")
    hand.apply(rng, hands.plan_skip(batch_id, [job_id]))


def _skip_one(hand: Hand, rng: random.Random, _: int) -> None:
    hands.skip_job(hand.one_of(rng, "SELECT id FROM irp_job WHERE status = 'FAILED'"))


def _cancel(hand: Hand, rng: random.Random, _: int) -> None:
    hand.apply(rng, hands.plan_cancel(_batch(hand, rng)), asks=True)


def _priority(hand: Hand, rng: random.Random, _: int) -> None:
    hand.apply(rng, hands.plan_priority(_batch(hand, rng), "High"), asks=True)


def _resolve(hand: Hand, rng: random.Random, _: int) -> None:
    unknown = "SELECT id FROM irp_job WHERE status = 'INITIATED'"
    hand.apply(rng, hands.plan_resolve(hand.one_of(rng, unknown), not_accepted=True))


def _activate(hand: Hand, rng: random.Random, _: int) -> None:
    hands.activate_batch(_batch(hand, rng))


def _about_step(make: Callable[[str, int, int], Any]) -> Callable[[Hand, random.Random, int], None]:
    def act(hand: Hand, rng: random.Random, _: int) -> None:
        hand.apply(rng, make(CYCLE, 4, rng.choice(STEPS)))

    return act


ACTS: dict[str, Callable[[Hand, random.Random, int], None]] = {
    "prepare": _prepare,
    "submit": _submit,
    "resubmit": _resubmit,
    "resubmit one": _resubmit_one,
    "skip": _skip,
    "skip one": _skip_one,
    "cancel": _cancel,
    "priority": _priority,
    "resolve": _resolve,
    "activate": _activate,
    "hold": _about_step(hands.hold_step),
    "release": _about_step(hands.release_step),
    "rerun": _about_step(hands.plan_rerun),
}
WEIGHTS = [6, 8, 16, 14, 10, 8, 8, 5, 3, 5, 5, 8, 4]

# What must hold at each moment, and at the end: a query finds the rows that break it.
_LIVE = "coalesce(status, 'INITIATED') NOT IN ('FAILED', 'ERROR', 'CANCELLED')"
BROKEN = {
    "a job that was replaced twice while its first replacement was live": f"""
        SELECT parent_job_id FROM irp_job
        WHERE parent_job_id IS NOT NULL AND NOT skipped AND {_LIVE}
        GROUP BY parent_job_id HAVING count(*) > 1""",
    "a replaced job without exactly one row of its replacement": """
        SELECT job.id FROM irp_job AS job
        WHERE job.parent_job_id IS NOT NULL
          AND (SELECT count(*) FROM irp_action AS action
               WHERE action.kind = 'RESUBMIT' AND action.new_job_id = job.id
                 AND action.job_id = job.parent_job_id) <> 1""",
    "a skipped job without exactly one row": """
        SELECT job.id FROM irp_job AS job
        WHERE job.skipped
          AND (SELECT count(*) FROM irp_action AS action
               WHERE action.kind IN ('RESUBMIT', 'SKIP') AND action.job_id = job.id) <> 1""",
    "a row of a resubmission or skip without the change": """
        SELECT action.id FROM irp_action AS action
        JOIN irp_job AS job ON job.id = action.job_id
        WHERE action.kind IN ('RESUBMIT', 'SKIP') AND NOT job.skipped""",
    "an activation beyond the first without a row": """
        SELECT batch.id FROM irp_batch AS batch
        WHERE batch.activation_num - 1 > (
            SELECT count(DISTINCT plan_id) FROM irp_action AS action
            WHERE action.batch_id = batch.id
              AND action.kind IN ('RESUBMIT', 'SKIP', 'ACTIVATE'))""",
    "a hold that is not the last one, or was released": """
        SELECT claim.step_id FROM irp_step_claim AS claim
        WHERE claim.hold_action_id IS DISTINCT FROM (
            SELECT CASE action.kind WHEN 'HOLD' THEN action.id END FROM irp_action AS action
            WHERE action.step_id = claim.step_id AND action.batch_id IS NULL
              AND (action.kind = 'HOLD' OR action.details ? 'hold')
            ORDER BY action.id DESC LIMIT 1)""",
    "a rerun that is neither due nor ended": """
        SELECT action.id FROM irp_action AS action
        WHERE action.kind = 'RERUN' AND action.status = 'PLANNED' AND NOT EXISTS (
            SELECT FROM irp_step_claim AS claim WHERE claim.rerun_action_id = action.id)""",
    "a submitted job without its id, or an id without the submission": """
        SELECT id FROM irp_job
        WHERE (moodys_workflow_id IS NOT NULL) <> (submitted_ts IS NOT NULL)""",
    "an id of Moody's that two jobs have": """
        SELECT min(id) FROM irp_job WHERE moodys_workflow_id IS NOT NULL
        GROUP BY moodys_workflow_id HAVING count(*) > 1""",
    f"a batch that is neither {BatchStatus.ACTIVE} nor ended once for each activation": """
        SELECT batch.id FROM irp_batch AS batch
        WHERE batch.activation_num - (batch.status = 'ACTIVE')::int <> (
            SELECT count(*) FROM irp_batch_recon_log AS log
            WHERE log.batch_id = batch.id AND log.recon_result <> 'ACTIVE')
          AND batch.activation_num > 0""",
}
BROKEN_AT_THE_END = {
    "a request to Moody's without an outcome": """
        SELECT id FROM irp_action WHERE kind IN ('CANCEL', 'PRIORITY') AND status = 'PLANNED'""",
}

"""Conclude the endings that other tools wrote: an older monitor, a notebook, somebody's SQL.

Our own transaction that ends a batch writes what follows from it. Here the same is written for
batches that something else has ended: their card, and the next step, unless that has run since.
"""

from datetime import timedelta
from typing import Any

from helpers.batch.reading import facts_of, read_batch
from helpers.constants import BatchStatus
from helpers.database import queries, transaction
from helpers.display import Remark
from helpers.notifications import events
from helpers.reconciliation import Decision
from helpers.records import Batch
from helpers.steps import claims
from helpers.steps.rules import ChainRule, fired_rule

_INTERVALS = 3
"""So long after its end a batch is left to the tool that ended it, which may chain by itself."""


def sweep(*, interval: timedelta) -> list[Remark]:
    """Conclude the endings that nobody has concluded, and return what was made of each.

    ``interval`` is the time between two passes.
    """
    wait = _INTERVALS * interval
    found = _unconcluded(wait=wait)
    swept = [_conclude(row["batch_id"], wait=wait) for row in found]
    return [one for one in swept if one is not None]


def _unconcluded(*, wait: timedelta, batch_id: int | None = None) -> Any:
    return queries("batch").unconcluded(
        wait=wait, batch_id=batch_id, terminal=list(BatchStatus.terminal())
    )


def _conclude(batch_id: int, *, wait: timedelta) -> Remark | None:
    """Conclude one ending in a transaction of its own; None if it has changed meanwhile."""
    with transaction():
        queries("batch").lock_batch(batch_id=batch_id)
        if not _unconcluded(wait=wait, batch_id=batch_id):
            return None
        batch = read_batch(batch_id)
        rule, next_step = fired_rule(batch, batch["status"])
        if rule is not None:
            next_step = _lead_on(batch, rule)
        facts = facts_of([batch_id])[batch_id]
        status = BatchStatus(batch["status"])
        reason = f"Another tool ended this batch as {status}."
        events.announce_batch(
            batch, decision=Decision(status, reason), facts=facts, next_step=next_step
        )
        queries("batch").conclude(batch_id=batch_id)
        return Remark(f"Batch {batch_id} ({batch['batch_type']})", f"{reason} {next_step}")


def _lead_on(batch: Batch, rule: ChainRule) -> str:
    """Make the next step due, unless it has run since the batch ended; return what was done."""
    run = queries("steps").run_since(batch_id=batch["batch_id"], next_step_num=rule.next_step_num)
    if run is not None:
        who = run["started_by"] or "somebody"
        return (
            f"Step {rule.next_step_num} has been started since, by {who} ({run['status']}); "
            "it is not started again."
        )
    claims.make_due(batch["batch_id"], batch["activation_num"], rule)
    return f"Step {rule.next_step_num} is due now."

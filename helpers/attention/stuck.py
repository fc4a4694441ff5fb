"""The ACTIVE batches that will not end by themselves."""

from typing import TypeAlias

from helpers.batch import Reconciliation, get_active_batches
from helpers.batch.reconciling import look
from helpers.records import ActiveBatch

StuckBatch: TypeAlias = tuple[ActiveBatch, Reconciliation]


def stuck_batches() -> list[StuckBatch]:
    """Return the watched batches that need a person, each with what a pass would say of it."""
    looked_at = [(batch, look(batch["batch_id"])) for batch in get_active_batches()]
    return [(batch, outcome) for batch, outcome in looked_at if outcome.needs_attention]

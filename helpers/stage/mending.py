"""Which batch of a step the named jobs belong to."""

from __future__ import annotations

from collections.abc import Sequence

from helpers.batch import NamedBatch
from helpers.database import queries
from helpers.errors import BatchError
from helpers.records import Step
from helpers.text import listed

_MOST_NAMED = 8


def batch_with(step: Step, names: Sequence[str | int]) -> NamedBatch:
    """Return the batch of a step that has all these jobs; without names the one with failed jobs.

    Raises:
        BatchError: there is none, or more than one; the message says which.
    """
    rows = queries("steps").batches_of_step(step_id=step["step_id"])
    batches = [NamedBatch(row["batch_id"]) for row in rows]
    found = [batch for batch in batches if (batch.has(*names) if names else batch.failed_names())]
    if len(found) == 1:
        return found[0]
    what = (
        f"jobs called {listed([repr(n) for n in names], most=_MOST_NAMED)}"
        if names
        else ("failed jobs")
    )
    if found:
        ids = listed([str(batch.batch_id) for batch in found], most=_MOST_NAMED)
        raise BatchError(
            f"Several batches of this step have {what}: {ids}. Choose one with "
            "helpers.batch.choose_batch(…)."
        )
    raise BatchError(f"No batch of this step has {what}.")

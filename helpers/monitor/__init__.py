"""The monitor: one pass over everything that is active, and what waits for a person meanwhile."""

from helpers import attention
from helpers.attention.items import named, put_on_record
from helpers.monitor.monitor_pass import Monitor, run_pass

__all__ = ["Monitor", "acknowledge", "run_pass", "what_waits"]


def what_waits() -> attention.Waiting:
    """Return what waits for a person, as the metastore has it now; no pass is made."""
    return attention.what_waits()


def acknowledge(item: attention.Item | str | int, note: str) -> attention.Waiting:
    """Say that you have seen something that waits, and are on it; return what waits then.

    Everybody sees your name and note beside it until it changes: another job fails, or the batch
    is made active again. Whoever acknowledges it later takes your place; nothing is lost.

    Args:
        item: an item of ``what_waits()``; or what it is about: ``batch 8``, ``step 4.2 of Q1``,
            ``cycle Q1``, or the id of a batch.
        note: what you do about it; may be empty.

    Raises:
        BatchError: nothing that waits is called that; the message names what waits.
    """
    put_on_record(named(what_waits().items, item), note)
    return what_waits()

"""What waits for a person: one list for the summary, the board and the notebook Manage Batches."""

from helpers.attention.finding import late_batches, what_waits
from helpers.attention.items import Item, ItemKind, Waiting

__all__ = ["Item", "ItemKind", "Waiting", "late_batches", "what_waits"]

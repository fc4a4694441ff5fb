"""What waits for a person: one list for the summary, the board and the notebook Manage Batches."""

from helpers.attention.finding import what_waits
from helpers.attention.items import Acknowledgement, Item, ItemKind, Waiting
from helpers.attention.late import late_batches

__all__ = ["Acknowledgement", "Item", "ItemKind", "Waiting", "late_batches", "what_waits"]

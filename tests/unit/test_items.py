import pytest

from helpers.attention import Item, ItemKind


@pytest.mark.parametrize("kind", ItemKind)
def test_every_kind_of_item_has_words_for_what_it_was(kind):
    item = Item(kind, "batch 8", "Q1", "Batch 8", "text", ["ERROR", 2])
    assert item.was
    assert not set("{}[]") & set(item.was)

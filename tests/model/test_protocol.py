"""The chain protocol keeps its promises in every state; without any part of it, it does not."""

import re

import pytest

from helpers.settings import PROJECT_DIR
from tests.model.__main__ import TRACES, searched, traces
from tests.model.mutants import MUTANTS
from tests.model.promises import PROMISES, Checked
from tests.model.scenarios import LARGE, LIMITS, SMALL
from tests.model.search import explore

MAIN = next(iter(SMALL))


def plain(text: str) -> str:
    """Markdown without emphasis and line breaks."""
    return re.sub(r"\s+", " ", text.replace("**", ""))


@pytest.mark.parametrize("promise", PROMISES)
def test_each_promise_is_a_sentence_of_the_architecture(promise):
    document = plain((PROJECT_DIR / "docs" / "architecture.md").read_text(encoding="utf-8"))

    assert plain(PROMISES[promise]) in document


@pytest.mark.parametrize("scenario", SMALL)
def test_all_promises_hold_whatever_happens(scenario):
    result = explore(Checked(**SMALL[scenario]))

    assert (result.broken, result.trace) == ("", [])
    if scenario == MAIN:
        assert result.states >= 250_000


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("scenario", LARGE)
def test_all_promises_hold_in_the_large_sizes(scenario):
    result = explore(Checked(**LARGE[scenario]))

    assert (result.broken, result.trace) == ("", [])


def test_each_mutant_is_found_by_the_trace_on_record():
    assert len(MUTANTS) >= 12
    assert traces() == TRACES.read_text(encoding="utf-8")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_the_whole_protocol_holds_where_its_mutant_breaks(mutant):
    assert searched(mutant, mutant.team).broken
    assert explore(Checked(**mutant.team)).broken == ""


@pytest.mark.parametrize("limit", LIMITS)
def test_what_cannot_be_helped_is_only_what_the_document_names(limit):
    assert searched(Checked, LIMITS[limit]).broken == "swept"
    assert explore(Checked(**(LIMITS[limit] | {"strict": False}))).broken == ""


def test_a_search_finds_the_shortest_trace():
    """Against a second, slower search: no trace of fewer moves breaks the promise."""
    mutant = next(mutant for mutant in MUTANTS if mutant.__name__ == "ReleaseAfterFinish")
    model = mutant(**mutant.team)
    length = len(searched(mutant, mutant.team).trace)
    front = {model.first}
    for _ in range(length - 1):
        moves = [move for world in front for move in model.moves(world)]
        assert not any(move.broken or model.broken(move.world) for move in moves)
        front = {move.world for move in moves}

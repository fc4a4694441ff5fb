"""Both protocols keep their promises in every state; without any part of it, neither does."""

import re

import pytest

from helpers.settings import PROJECT_DIR
from tests.model.__main__ import CHAIN, PROTOCOLS, TRACES, searched, traces
from tests.model.promises import Checked
from tests.model.scenarios import LIMITS
from tests.model.search import explore

MAIN = next(iter(CHAIN.small))
LARGEST = (MAIN, "a search that lags, a restart, and a lock whose connection is cut")


def of_each(entries):
    """A parameter for each entry of each protocol; the largest searches are left to the faults."""
    return [
        pytest.param(
            protocol, entry, id=str(entry), marks=[pytest.mark.faults] if entry in LARGEST else []
        )
        for protocol in PROTOCOLS
        for entry in entries(protocol)
    ]


def plain(text: str) -> str:
    """Markdown without emphasis and line breaks."""
    return re.sub(r"\s+", " ", text.replace("**", ""))


@pytest.mark.parametrize(("protocol", "promise"), of_each(lambda protocol: protocol.promises))
def test_each_promise_is_a_sentence_of_the_architecture(protocol, promise):
    document = plain((PROJECT_DIR / "docs" / "architecture.md").read_text(encoding="utf-8"))

    assert plain(protocol.promises[promise]) in document


@pytest.mark.parametrize(("protocol", "scenario"), of_each(lambda protocol: protocol.small))
def test_all_promises_hold_whatever_happens(protocol, scenario):
    result = explore(protocol.model(**protocol.small[scenario]))

    assert (result.broken, result.trace) == ("", [])
    if scenario == MAIN:
        assert result.states >= 250_000


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("protocol", "scenario"), of_each(lambda protocol: protocol.large))
def test_all_promises_hold_in_the_large_sizes(protocol, scenario):
    result = explore(protocol.model(**protocol.large[scenario]))

    assert (result.broken, result.trace) == ("", [])


@pytest.mark.faults
def test_each_mutant_is_found_by_the_trace_on_record():
    assert len(CHAIN.mutants) >= 12
    assert traces() == TRACES.read_text(encoding="utf-8")


def teams_of_mutants(protocol):
    """The teams that are no scenario of their own."""
    teams = {str(mutant.team): mutant.team for mutant in protocol.mutants}
    return [team for team in teams.values() if team not in protocol.small.values()]


@pytest.mark.faults
@pytest.mark.parametrize(("protocol", "team"), of_each(teams_of_mutants))
def test_the_whole_protocol_holds_where_a_mutant_breaks(protocol, team):
    assert explore(protocol.model(**team)).broken == ""


@pytest.mark.parametrize("limit", LIMITS)
def test_what_cannot_be_helped_is_only_what_the_document_names(limit):
    assert searched(Checked, LIMITS[limit]).broken == "swept"
    assert explore(Checked(**(LIMITS[limit] | {"strict": False}))).broken == ""


def test_a_search_finds_the_shortest_trace():
    """Against a second, slower search: no trace of fewer moves breaks the promise."""
    mutant = next(mutant for mutant in CHAIN.mutants if mutant.__name__ == "ReleaseAfterFinish")
    model = mutant(**mutant.team)
    length = len(searched(mutant, mutant.team).trace)
    front = {model.first}
    for _ in range(length - 1):
        moves = [move for world in front for move in model.moves(world)]
        assert not any(move.broken or model.broken(move.world) for move in moves)
        front = {move.world for move in moves}

"""The SQL does what the model says: each action in each state, on a real PostgreSQL."""

from collections import Counter

import pytest

from tests.model.mutants import (
    AttemptIsNotCompared,
    DueRowIsNotAtomic,
    LiveClaimIsStolen,
    NoActivationCheck,
    RerunEndsWithItsClaim,
    RerunOutlivesItsVerdict,
    RerunServesPastActivations,
    RunningStepIsMadeDue,
    SiblingsDoNotHold,
    StoppedIsNotDueAgain,
    SweepIsBlind,
)
from tests.model.product import ACTIONS
from tests.model.replay import expected, pairs, replayed

FEW, MANY, MOST = 1_000, 5_000, 25_000


def replay(monkeypatch, most: int) -> None:
    """Compare so many pairs; each kind of action has to be among them."""
    chosen = pairs(most)

    count, differences = replayed(monkeypatch, chosen)

    assert differences == []
    assert count == most == len(set(chosen))
    assert Counter(action[0] for _, _, action in chosen).keys() == ACTIONS


def test_the_first_pairs_agree(metastore, workflows, monkeypatch):
    replay(monkeypatch, FEW)


@pytest.mark.faults
@pytest.mark.timeout(1200)
def test_thousands_of_pairs_agree(metastore, workflows, monkeypatch):
    replay(monkeypatch, MANY)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_tens_of_thousands_of_pairs_agree(metastore, workflows, monkeypatch):
    replay(monkeypatch, MOST)


@pytest.mark.parametrize(
    ("mutant", "action"),
    [
        (AttemptIsNotCompared, "release"),
        (DueRowIsNotAtomic, "end"),
        (LiveClaimIsStolen, "claim_due"),
        (NoActivationCheck, "claim_step"),
        (RerunEndsWithItsClaim, "claim_due"),
        (RerunOutlivesItsVerdict, "record"),
        (RerunServesPastActivations, "claim_due"),
        (RunningStepIsMadeDue, "plan_rerun"),
        (SiblingsDoNotHold, "waits_for_nothing"),
        (StoppedIsNotDueAgain, "release"),
        (SweepIsBlind, "conclude"),
    ],
)
def test_an_action_that_the_model_gets_wrong_is_found(
    metastore, workflows, monkeypatch, mutant, action
):
    """The rows are those of the whole protocol; only what is expected of them is wrong."""
    wrong = []
    for model, rows, what in pairs(MANY):
        mistaken = mutant(activations=model.activations, rule=model.rule)
        if what[0] == action and expected(mistaken, rows, what) != expected(model, rows, what):
            wrong.append((mistaken, rows, what))
    wrong = wrong[:50]

    _, differences = replayed(monkeypatch, wrong)

    assert len(differences) == len(wrong) > 0

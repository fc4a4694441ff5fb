"""The SQL and the poller do with each answer what the model says, for each row of a job."""

import pytest

from helpers.constants import Family
from helpers.irp_integration.questions import Question, row_is_enough
from tests.model.polling.mutants import (
    FailedPollIsAnEnd,
    IdsAreNotCompared,
    SearchesMoveBack,
    TimesAreNotCompared,
)
from tests.model.polling.product import STATUSES, differences, pairs
from tests.model.polling.promises import Polling
from tests.model.polling.rows import MOODYS


def test_every_answer_is_put_on_record_as_the_model_says(metastore):
    assert len(set(pairs())) == 17_160
    assert differences(Polling(), pairs()) == []


@pytest.mark.parametrize(
    "mutant", [FailedPollIsAnEnd, IdsAreNotCompared, SearchesMoveBack, TimesAreNotCompared]
)
def test_an_answer_that_the_model_gets_wrong_is_found(metastore, mutant):
    whole, mistaken = Polling(), mutant()
    wrong = [pair for pair in pairs() if mistaken.record(*pair) != whole.record(*pair)][:50]

    assert len(differences(mistaken, wrong)) == len(wrong) == 50


@pytest.mark.parametrize("known", STATUSES)
def test_what_a_search_says_is_enough_when_the_model_says_so(known):
    question = Question(1, "1", Family.MODEL, STATUSES[known])
    for status in [*MOODYS, "?"]:
        row = {"status": STATUSES.get(status, "ON_HOLD")}

        assert row_is_enough(question, row) is Polling().is_enough(known, status)

"""`make mutants` judges what survives; what is written of survivors speaks of code that stands."""

from collections import Counter

import pytest

from helpers.settings import PROJECT_DIR
from tests.mutants.survivors import Mutant, judge, reasons

DIFF = [
    "--- a.py",
    "+++ a.py",
    "@@ -7 +7 @@",
    " def last(values):",
    "-    return values[-1]",
    "+    return values[+1]",
]
MUTANT = Mutant.of("a.py", "last", DIFF)
TOML = """
[[survivors]]
reason = "No list has two."

[[survivors.mutants]]
path = "a.py"
where = "last"
was = "return values[-1]"
becomes = ["return values[+1]"]
"""


def test_a_mutant_is_known_by_what_it_changes():
    assert reasons(TOML) == {MUTANT: "No list has two."}


@pytest.mark.parametrize(
    ("total", "survivors", "known", "is_enough", "line"),
    [
        (20, [MUTANT], {MUTANT: "Why."}, True, "20 mutants, 1 survived, 95.0% killed."),
        (19, [MUTANT], {MUTANT: "Why."}, False, "19 mutants, 1 survived, 94.7% killed."),
        # each survivor has a reason
        (20, [MUTANT], {}, False, f"Survived, and survivors.toml does not say why: {MUTANT}"),
        # and each reason a survivor
        (20, [], {MUTANT: ""}, False, f"Stands in survivors.toml, and does not survive: {MUTANT}"),
    ],
)
def test_few_survive_and_each_has_a_reason(total, survivors, known, is_enough, line):
    judged, text = judge(Counter({"a.py": total}), survivors, known=known)

    assert judged is is_enough
    assert line in text


def test_a_survivor_is_printed_with_its_diff_and_its_reason():
    _, text = judge(Counter({"a.py": 20}), [MUTANT], known={MUTANT: "Why."})

    assert "a.py last\n  - return values[-1]\n  + return values[+1]\n  Why.\n" in text


@pytest.mark.parametrize("mutant", reasons(), ids=str)
def test_each_reason_speaks_of_lines_that_stand(mutant):
    source = " ".join((PROJECT_DIR / mutant.path).read_text().split())

    assert " ".join(mutant.was.split()) in source
    assert mutant.was != mutant.becomes

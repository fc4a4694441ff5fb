"""Nothing is lost, nothing runs twice at once, and no complete run is repeated without a reason.

Several monitors, real kernels and a PostgreSQL of their own, under kills, freezes of up to three
minutes and restarts. Notebooks note themselves what they do; the judge compares that with what was
committed. A complete run may be repeated only after a strike between its last cell and its record.

    SOAK_MINUTES=20 SOAK_SEED=7 pytest -m nightly tests/faults/test_soak.py
"""

import os
import random
from dataclasses import replace
from statistics import median
from uuid import uuid4

import psutil
import pytest

from helpers.database import close_pools
from helpers.database.migrations import migrate
from helpers.settings import get_settings
from sandbox.postgres import recreate_database
from tests.support.own_postgres import own_postgres
from tests.support.soak import Soak
from tests.support.soak_judge import Due, Fault, KernelRun, Strike, judge, runs_of

MINUTES = float(os.environ.get("SOAK_MINUTES", "20"))
SHORT_MINUTES = 1.0
SEED = int(os.environ.get("SOAK_SEED", "0")) or random.randrange(1, 1_000_000)
MOST_SECONDS_OF_THE_WINDOW = 0.05  # half of them are shorter
MOST_PERCENT_BUSY = 90.0  # beyond that the machine had something else to do, and is measured
# Every transaction says when it was committed; a crash of the server forgets none.
SETTINGS = {"track_commit_timestamp": "on", "max_connections": "60", "fsync": "off"}


@pytest.fixture
def soak(workflows, tmp_path, monkeypatch) -> Soak:
    with own_postgres(SETTINGS) as server:
        server.restart()
        url = recreate_database(server.url, f"soak_{uuid4().hex[:8]}")
        for name, value in {
            "DATABASE_URL": url,
            "TEAMS_NOTIFICATION_ENABLED": "false",
            "MONITOR_STEP_WORKERS": "2",
        }.items():
            monkeypatch.setenv(name, value)
        get_settings.cache_clear()
        migrate()
        made = Soak(server, url, workflows, tmp_path, random.Random(SEED))
        made.prepare()
        yield made
        close_pools()


@pytest.mark.parametrize(
    "minutes",
    [
        pytest.param(
            SHORT_MINUTES, marks=[pytest.mark.faults, pytest.mark.timeout(900)], id="short"
        ),
        pytest.param(
            MINUTES,
            marks=[pytest.mark.nightly, pytest.mark.timeout(MINUTES * 60 + 1200)],
            id="long",
        ),
    ],
)
def test_kills_freezes_and_restarts_lose_nothing_and_repeat_nothing(soak, capsys, minutes):
    soak.longest_freeze = min(soak.longest_freeze, minutes * 60)

    psutil.cpu_percent()
    soak.run(minutes * 60)
    busy = psutil.cpu_percent()  # since then, whoever was

    runs, overlaps = runs_of(soak.ledger.read_text().splitlines())
    found = judge(runs, soak.dues(), soak.faults)
    with capsys.disabled():
        print(f"\nsoak of {minutes:g} min, seed {SEED}, CPU busy {busy:.0f} %: {found}")
    assert not overlaps + found.problems, f"seed {SEED}: {found.problems}\n{soak.timeline()}"
    assert found.windows
    if minutes >= MINUTES and busy < MOST_PERCENT_BUSY:
        assert median(found.windows) < MOST_SECONDS_OF_THE_WINDOW


RUN = KernelRun(1, 1, monitor=7, started=10.0, seen=20.0, last_cell=19.9, ended=20.0)
AGAIN = KernelRun(1, 2, monitor=8, started=110.0, seen=120.0, last_cell=119.9, ended=120.0)
DUE = Due(1, 1, made=9.0, status="COMPLETED", error="", served_by=1, committed=20.01)
REPEATED = replace(DUE, served_by=2, committed=120.01)
HALF = replace(RUN, last_cell=None, ended=None, seen=15.0)


def test_the_judge_finds_nothing_wrong_with_what_is_allowed():
    good = judge([RUN], [DUE], [])
    assert good.problems == []
    assert good.windows == [pytest.approx(0.01)]
    for runs, fault in [
        ([HALF, AGAIN], Fault(Strike.KILL, 7, 15.0)),  # in the middle
        ([HALF, AGAIN], Fault(Strike.FREEZE, 7, 12.0, until=150.0)),
        ([RUN, AGAIN], Fault(Strike.KILL, 7, 20.005)),  # between last cell and record
        ([RUN, AGAIN], Fault(Strike.FREEZE, 7, 19.95, until=140.0)),
    ]:
        assert judge(runs, [REPEATED], [fault]).problems == []


@pytest.mark.parametrize(
    ("runs", "due", "faults", "problem"),
    [
        # a second kernel beside the first
        ([RUN, replace(AGAIN, started=15.0)], REPEATED, [Fault(Strike.KILL, 7, 15.0)], "side by"),
        # a second run without a fault, of another monitor only, or after a restart of the database
        ([HALF, AGAIN], REPEATED, [], "which nothing struck"),
        ([HALF, AGAIN], REPEATED, [Fault(Strike.KILL, 8, 15.0)], "which nothing struck"),
        ([HALF, AGAIN], REPEATED, [Fault(Strike.RESTART, None, 15.0)], "which nothing struck"),
        # a complete run is repeated, although its monitor was frozen long before its last cell
        ([RUN, AGAIN], REPEATED, [Fault(Strike.FREEZE, 7, 12.0, 150.0)], "not recorded without"),
        ([RUN, AGAIN], REPEATED, [Fault(Strike.TERM, 7, 20.0)], "not recorded without"),
        # nothing was due any more, or nothing came of it
        ([RUN, AGAIN], DUE, [], "although nothing was due"),
        ([], replace(DUE, status="PENDING"), [], "was lost: it is PENDING"),
        ([HALF], DUE, [], "without a run that came to its end"),
        ([RUN], replace(DUE, served_by=2), [], "without a run that came to its end"),
        ([HALF], replace(DUE, status="FAILED", error="Each of 3 tries ended"), [], "not struck"),
    ],
)
def test_the_judge_finds_what_is_not_allowed(runs, due, faults, problem):
    assert problem in "\n".join(judge(runs, [due], faults).problems)

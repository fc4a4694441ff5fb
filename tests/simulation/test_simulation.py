"""Weeks in minutes: the promise holds over a team's life, and the judge finds what breaks it."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import pytest

from helpers.database import close_pools
from helpers.job import submitting
from sandbox.postgres import drop_database, recreate_database
from tests.simulation import judge, moodys
from tests.simulation.baton import Process
from tests.simulation.kernels import KernelRun
from tests.simulation.plans import Hold
from tests.simulation.simulate import Run, shortest, simulate

Simulate = Callable[..., Run]


@pytest.fixture
def run(server_url: str, template: str, tmp_path: Path) -> Iterator[Simulate]:
    """Run a seed on a database of its own."""
    names: list[str] = []

    def begin(seed: int, days: int, **more: object) -> Run:
        names.append(f"simulated_{uuid4().hex[:12]}")
        url = recreate_database(server_url, names[-1], template=template)
        return simulate(url, tmp_path / "workflows", seed=seed, days=days, **more)

    yield begin
    close_pools()
    for name in names:
        drop_database(server_url, name)


@pytest.mark.faults
@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_lost_twice_or_stuck_in_a_few_days(run, seed):
    assert run(seed, 3).problems == []


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(100, 130))
def test_nothing_is_lost_twice_or_stuck_in_a_month(run, seed):
    found = run(seed, 30)

    assert found.problems == []
    assert found.world.passes >= 3000


@pytest.mark.faults
def test_a_seed_always_tells_the_same(run):
    first, second = run(3, 1), run(3, 1)

    assert first.world.log == second.world.log
    assert first.figures() == second.figures()


RUN_AGAIN = """
CREATE FUNCTION simulated.again() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    NEW.status := 'PENDING'; NEW.completed_ts := NULL; NEW.owner := NULL; NEW.served_by := NULL;
    RETURN NEW; END $$;
CREATE TRIGGER again BEFORE UPDATE ON irp_chain_run FOR EACH ROW
    WHEN (NEW.status = 'COMPLETED' AND NEW.attempt < 3) EXECUTE FUNCTION simulated.again();
"""
LOSE_POLLS = """
CREATE FUNCTION simulated.lose() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN RETURN NULL; END';
CREATE TRIGGER lose BEFORE INSERT ON irp_job_tracking_log_polls FOR EACH ROW
    EXECUTE FUNCTION simulated.lose();
CREATE TRIGGER lose BEFORE INSERT ON irp_job_tracking_log_kept FOR EACH ROW
    EXECUTE FUNCTION simulated.lose();
"""


@pytest.mark.faults
def test_the_judge_finds_a_chain_run_that_is_served_again(run):
    assert finds(run(1, 2, plant=RUN_AGAIN), r"step \d+ ran \d+ times for")


@pytest.mark.faults
def test_the_judge_finds_a_job_that_is_submitted_again_with_a_fresh_key(run, monkeypatch):
    monkeypatch.setattr(moodys, "LOST", 0.3)
    monkeypatch.setattr(submitting, "_claim_request_id", lambda _job_id: str(uuid4()))

    assert finds(run(1, 2), r"was submitted \d+ times for 1 jobs")


@pytest.mark.faults
def test_the_judge_finds_polls_and_cards_that_are_lost(run, monkeypatch):
    monkeypatch.setattr(moodys.Teams, "send", lambda *_message, **_address: None)

    found = run(1, 2, plant=LOSE_POLLS)

    assert finds(found, r"was read in \d+ passes, and 0 are recorded")
    assert finds(found, r"no card says that batch \d+ is")


def test_the_judge_finds_a_step_that_starts_while_it_is_held():
    holds = [Hold(7, ("Q1", 4, 2), since=1_000.0, until=9_000.0)]
    starts = [900.0, 1_040.0, 5_000.0, 9_500.0]
    runs = [KernelRun(7, Process(1, "a pass"), start) for start in starts]
    world = SimpleNamespace(
        plans=SimpleNamespace(holds=holds), kernels=SimpleNamespace(runs=[*runs])
    )

    assert list(judge.starts_in_spite_of_holds(world)) == [
        "step 7 started at 5000 s, while a person held it"
    ]


def finds(found: Run, pattern: str) -> bool:
    return any(re.search(pattern, problem) for problem in found.problems)


def test_the_shortest_prefix_is_found():
    assert shortest(100, lambda most: most >= 37) == 37
    assert shortest(5, lambda _most: True) == 0

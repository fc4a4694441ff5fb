"""Random acts by four people against three monitors that are killed: nothing twice, nothing lost.

The judge is the stand-in's list of the submissions that it carried out. What must hold at each
moment is looked at after every few acts, so that a failure names the seed and the shortest prefix
of the acts after which something was broken. Threads and processes meet by chance: it may take
several tries to fail again.

    RANDOM_ACTS=2000 RANDOM_SEED=7 pytest -m nightly tests/faults/test_random_hands.py
"""

import os
import random
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from helpers.database import close_pools
from helpers.irp_integration import IRPClient
from helpers.monitor import run_pass
from helpers.settings import get_settings
from sandbox.moodys import MoodysStandIn
from sandbox.moodys_jobs import Script
from sandbox.seeding import add_cycle, add_step
from tests.support.faults_random_hands import BROKEN, BROKEN_AT_THE_END, CYCLE, STEPS, Hand
from tests.support.faults_world import World

HANDS, MONITORS = 4, 3
CHECKED_EVERY = 40
SMALL, LARGE = 160, int(os.environ.get("RANDOM_ACTS", "10000"))
SEED = int(os.environ.get("RANDOM_SEED", "1"))
ENDLESS = "from helpers.monitor import run_pass\nwhile True:\n    run_pass()"


@pytest.fixture
def scene(world: World, metastore: str, monkeypatch: pytest.MonkeyPatch) -> World:
    """An empty cycle of three steps, and a Moody's whose jobs end at once."""
    more = {"TEAMS_NOTIFICATION_ENABLED": "false", "MONITOR_STEP_TIMEOUT_SECONDS": "30"}
    for name, value in {**world.environment(), **more}.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    world.moodys.jobs.time_scale = 0.2
    world.moodys.script(Script(end="FAILED", reason="It fails."), name="FAILS *")
    return world


@pytest.mark.parametrize(
    "acts",
    [
        pytest.param(SMALL, marks=pytest.mark.faults, id="small"),
        pytest.param(LARGE, marks=[pytest.mark.nightly, pytest.mark.timeout(7200)], id="large"),
    ],
)
def test_nothing_is_doubled_or_lost_by_people_who_act_at_random(scene, metastore, acts):
    print(f"seed {SEED}, {acts} acts")
    step_ids = steps()
    with monitors(scene):
        done = run_hands(metastore, step_ids, acts)
    conclude(scene)
    found = broken(scene)
    assert not found, f"seed {SEED}, {acts} acts: {found}\n{tail(done)}"
    report(scene, done)


def steps() -> list[int]:
    cycle = add_cycle(CYCLE)
    return [add_step(cycle, stage_num=4, step_num=number) for number in STEPS]


@contextmanager
def monitors(world: World) -> Iterator[None]:
    """Run passes without a pause in three processes, each of which is killed now and then."""
    over = threading.Event()
    rng = random.Random(SEED)
    running = [start(world) for _ in range(MONITORS)]

    def kill_and_start() -> None:
        while not over.wait(rng.uniform(2, 8)):
            index = rng.randrange(MONITORS)
            end(world, running[index])
            running[index] = start(world)

    killer = threading.Thread(target=kill_and_start)
    killer.start()
    try:
        yield
    finally:
        over.set()
        killer.join()
        for process in running:
            end(world, process)


def start(world: World) -> subprocess.Popen[bytes]:
    return world._run(["-c", ENDLESS], {"TEAMS_NOTIFICATION_ENABLED": "false"})


def end(world: World, process: subprocess.Popen[bytes]) -> None:
    """Kill a monitor; what it has claimed expires now and not in 90 s."""
    assert process.poll() is None, world.output_of(process)[-3000:]
    process.kill()
    process.wait()
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(
            "UPDATE irp_step_claim SET claim_expires_ts = clock_timestamp() - interval '1 s'"
            " WHERE owner LIKE %s",
            [f"% pid {process.pid} #%"],
        )


def run_hands(url: str, step_ids: list[int], acts: int) -> list[str]:
    """Let four people act side by side; return what they did. Raises what went wrong with one."""
    problems: list[BaseException] = []
    done: list[str] = []

    def work(index: int) -> None:
        with psycopg.connect(url, autocommit=True) as sql, IRPClient(connections=8) as client:
            hand = Hand(SEED, step_ids, sql, client)
            try:
                for number in range(index, acts, HANDS):
                    if not problems:
                        act_and_look(hand, number)
            except BaseException as exc:  # noqa: BLE001 - it is raised in the test's thread
                problems.append(exc)
            finally:
                done.extend(hand.done)

    threads = [threading.Thread(target=work, args=[index]) for index in range(HANDS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise AssertionError(f"seed {SEED}: {tail(done)}") from problems[0]
    return done


def act_and_look(hand: Hand, number: int) -> None:
    hand.act(number)
    if number % CHECKED_EVERY == 0:
        found = {what: ids for what, ids in broken_rows(hand.sql, BROKEN).items() if ids}
        assert not found, f"after the first {number + 1} acts: {found}"


def conclude(world: World) -> None:
    """Submit what is due, let all jobs end, and run passes until nothing moves."""
    world.moodys.advance(3600)
    close_pools()
    for _ in range(3):
        run_pass()


def broken(world: World) -> dict[str, list[object]]:
    """Return what is wrong, by what it is: rows of the metastore, and Moody's own list."""
    found = broken_rows(world.sql, {**BROKEN, **BROKEN_AT_THE_END})
    ours = {
        row[0]
        for row in world.sql.execute(
            "SELECT moodys_workflow_id FROM irp_job WHERE moodys_workflow_id IS NOT NULL"
        )
    }
    submitted = [received for received in world.moodys.submissions if received.job_id]
    theirs = {received.job_id for received in submitted}
    keys = Counter(received.request_id for received in submitted)
    found["a job at Moody's that nobody here knows"] = sorted(theirs - ours)
    found["a job here that Moody's does not have"] = sorted(ours - theirs)
    found["a request that was carried out twice"] = [k for k, n in keys.items() if n > 1]
    found["an analysis that has two results"] = twice_finished(world.moodys)
    asked = {str(change.request_id) for change in world.moodys.changes}
    known = {
        str(row[0])
        for row in world.sql.execute(
            "SELECT request_id FROM irp_action WHERE kind IN ('CANCEL', 'PRIORITY')"
        )
    }
    found["a change at Moody's without its row"] = sorted(asked - known)
    return {what: rows for what, rows in found.items() if rows}


def broken_rows(sql: psycopg.Connection, wrong: dict[str, str]) -> dict[str, list[object]]:
    return {what: [row[0] for row in sql.execute(query)] for what, query in wrong.items()}


def twice_finished(moodys: MoodysStandIn) -> list[str]:
    now = moodys.jobs.now()
    ended = Counter(job.name for job in moodys.jobs.all() if job.status_at(now) == "FINISHED")
    return [name for name, number in ended.items() if number > 1]


def report(world: World, done: list[str]) -> None:
    kinds = Counter(line.partition(" ")[2].partition(":")[0] for line in done)
    refused = Counter(line.partition(": ")[2] for line in done if ": " in line)
    [(rows,)] = world.sql.execute("SELECT count(*) FROM irp_action")
    jobs = len(world.moodys.submissions)
    print(f"{len(done)} acts {dict(kinds)}; refused {dict(refused)}; {rows} rows; {jobs} jobs;")
    print(f"{len(world.started)} monitor processes")


def tail(done: list[str]) -> str:
    return "\n".join(done[-40:])

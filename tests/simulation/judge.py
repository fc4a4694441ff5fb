"""Whether a run kept the promise: nothing lost, nothing twice, nothing silently stuck.

Judges by what Moody's, Teams and the kernels have noted themselves, and by triggers that note each
ending, activation, job and poll as it happens; the rules are written down here a second time.
"""

from collections import Counter
from collections.abc import Iterator

from tests.simulation.world import World

# Stage and step of a batch, the endings after which the next step starts, and which that is.
RULES = {
    **{(stage, step): ({"COMPLETED"}, step + 1) for stage, step in [(2, 1), (5, 1)]},
    **{(3, step): ({"COMPLETED"}, step + 1) for step in range(1, 8)},
    **{(stage, 1): ({"COMPLETED", "FAILED"}, 2) for stage in (4, 6)},
    (5, 2): ({"COMPLETED", "FAILED"}, 3),
}
TERMINAL = {"FINISHED", "FAILED", "CANCELLED"}


def problems(world: World) -> list[str]:
    """Return what is wrong, one sentence each."""
    judges = (
        _submissions,
        _statuses,
        _kernels,
        starts_in_spite_of_holds,
        _chains,
        _cards,
        _polls,
        _stuck,
    )
    return [*world.scheduler.errors, *(problem for judge in judges for problem in judge(world))]


def _submissions(world: World) -> Iterator[str]:
    """No job is made twice at Moody's, and none is forgotten."""
    rows = Counter(name for (name,) in world.rows("SELECT name FROM simulated.job"))
    for name, count in world.moodys.submitted.items():
        if count > rows[name]:
            yield f"{name} was submitted {count} times for {rows[name]} jobs"
    for job_id, name in world.rows(
        "SELECT job.id, submission_request #>> '{json,name}' FROM irp_job AS job"
        " WHERE status NOT IN ('INITIATED', 'ERROR') ORDER BY job.id"
    ):
        if not world.moodys.submitted[name]:
            yield f"job {job_id} ({name}) counts as submitted, and Moody's never had it"


def _statuses(world: World) -> Iterator[str]:
    """Every job of a batch that is watched stands as Moody's says."""
    for job_id, moodys_id, status in world.rows(
        "SELECT job.id, moodys_workflow_id, job.status::text FROM irp_job AS job"
        f" WHERE moodys_workflow_id IS NOT NULL AND batch_id IN ({WATCHED})"
        " AND NOT coalesce(skipped, false) ORDER BY job.id"
    ):
        theirs = world.moodys.jobs[moodys_id].status_at(world.scheduler.elapsed)
        if theirs in TERMINAL and theirs != status:
            yield f"job {job_id} is {status}, and {theirs} at Moody's"


def _kernels(world: World) -> Iterator[str]:
    """At most one kernel of a step runs at a time."""
    last: dict[int, float] = {}
    for run in sorted(world.kernels.runs, key=lambda run: run.started):
        if run.started < last.get(run.step_id, -1.0):
            yield f"two kernels of step {run.step_id} at {run.started:.0f} s"
        last[run.step_id] = max(run.ended, last.get(run.step_id, -1.0))


def starts_in_spite_of_holds(world: World) -> Iterator[str]:
    """No pass starts a step that is held; one that had claimed it may start it within its lease."""
    for hold in world.plans.holds:
        for run in world.kernels.runs:
            if run.step_id == hold.step_id and hold.since + 60 < run.started < hold.until:
                yield f"step {run.step_id} started at {run.started:.0f} s, while a person held it"


def _chains(world: World) -> Iterator[str]:
    """Each activation that ended so that a rule fires is chained, and once."""
    steps = {
        (cycle, stage, step): step_id
        for step_id, cycle, stage, step in world.rows(
            "SELECT step.id, cycle_id, stage_num, step_num FROM irp_step AS step"
            " JOIN irp_stage AS stage ON stage.id = stage_id"
        )
    }
    of_step = {step_id: at for at, step_id in steps.items()}
    activated = Counter(
        {
            row[:2]: row[2]
            for row in world.rows(
                "SELECT batch_id, activation_num, elapsed::int FROM simulated.activation"
            )
        }
    )
    live = {row[0] for row in world.rows(WATCHED)}
    reruns = "SELECT step_id, count(*) FROM irp_action WHERE kind = 'RERUN' GROUP BY step_id"
    due: Counter[int] = Counter(dict(world.rows(reruns)))
    for batch_id, step_id, activation, status, elapsed in world.rows(
        "SELECT batch_id, step_id, activation_num, status, elapsed FROM simulated.ending"
    ):
        cycle, stage, step = of_step[step_id]
        fires_on, next_num = RULES.get((stage, step), (set(), 0))
        if status not in fires_on:
            continue
        next_step = steps[cycle, stage, next_num]
        due[next_step] += 1
        is_overtaken = (batch_id, activation + 1) in activated
        runs = [
            run for run in world.kernels.runs if run.step_id == next_step and run.started >= elapsed
        ]
        if not runs and not is_overtaken and batch_id in live:
            yield f"batch {batch_id} ended as {status} at {elapsed:.0f} s, and nothing followed"
    done = Counter(run.step_id for run in world.kernels.runs if _counts(world, run))
    for step_id, count in done.items():
        if count > due[step_id]:
            yield f"step {step_id} ran {count} times for {due[step_id]} endings"


def _counts(world: World, run) -> bool:
    """Tell whether a run came to its end without a fault that may repeat it."""
    in_outage = any(run.started <= until and run.ended + 100 >= at for at, until in world.outages)
    return run.is_complete and not run.owner.was_disturbed and not in_outage


def _cards(world: World) -> Iterator[str]:
    """Each ending that people are to hear of has reached Teams, and twice only after a fault."""
    repeated = len(world.teams.cards) - len({card for _, card in world.teams.cards})
    faults = world.scheduler.kills + world.scheduler.freezes + len(world.outages)
    if repeated > faults:
        yield f"{repeated} cards came twice, after {faults} faults"
    for batch_id, status, elapsed in world.rows(
        "SELECT batch_id, status, elapsed FROM simulated.ending WHERE status <> 'COMPLETED'"
    ):
        if batch_id not in world.deleted_batches and not any(
            at >= elapsed and f"atch {batch_id}" in card for at, card in world.teams.cards
        ):
            yield f"no card says that batch {batch_id} is {status} since {elapsed:.0f} s"


def _polls(world: World) -> Iterator[str]:
    """Each job that was read by id in a pass that came to its end has a row in the log."""
    rows = Counter(i for (i,) in world.rows("SELECT workflow_id FROM simulated.poll"))
    asked = Counter(
        moodys_id
        for process, moodys_id in {(p, i) for p, i in world.moodys.read if not p.was_disturbed}
    )
    for moodys_id, count in asked.items():
        lost = sum(1 for _ in world.outages)  # a pass may lose answers with its database
        if count > rows[moodys_id] + lost:
            yield f"job {moodys_id} was read in {count} passes, and {rows[moodys_id]} are recorded"


def _stuck(world: World) -> Iterator[str]:
    """In the end nothing is under way that nobody is told of."""
    shown = str(world.summaries[-1])
    for batch_id, status in world.rows(
        f"SELECT id, status::text FROM irp_batch WHERE id IN ({WATCHED}) AND status = 'ACTIVE'"
    ):
        if f"{batch_id}" not in shown:
            yield f"batch {batch_id} is {status} in the end, and no summary says why"
    for what, query in OPEN.items():
        if count := len(world.rows(query)):
            yield f"in the end there are {count} {what}"


WATCHED = (
    "SELECT batch.id FROM irp_batch AS batch JOIN irp_step AS step ON step.id = batch.step_id"
    " JOIN irp_stage AS stage ON stage.id = step.stage_id"
    " JOIN irp_cycle AS cycle ON cycle.id = stage.cycle_id WHERE cycle.status = 'ACTIVE'"
)
OPEN = {
    "chain runs that neither ended nor wait for anything": (
        f"SELECT FROM irp_chain_run AS run WHERE status IN ('PENDING', 'RUNNING')"
        f" AND batch_id IN ({WATCHED}) AND NOT EXISTS (SELECT FROM irp_batch AS batch"
        " JOIN irp_batch AS other ON other.step_id = batch.step_id AND other.id <> batch.id"
        " WHERE batch.id = run.batch_id AND other.activation_num > 0"
        " AND other.status NOT IN ('COMPLETED', 'CANCELLED', 'INITIATED'))"
    ),
    "claims that are held": "SELECT FROM irp_step_claim WHERE owner IS NOT NULL",
    "reruns that are due": "SELECT FROM irp_step_claim WHERE rerun_action_id IS NOT NULL",
    "cards that wait": "SELECT FROM irp_notification WHERE status = 'PENDING'",
    "endings that are not concluded": (
        f"SELECT FROM irp_batch WHERE id IN ({WATCHED}) AND activation_num > 0"
        " AND status NOT IN ('ACTIVE', 'INITIATED')"
        " AND concluded_activation_num <> activation_num"
    ),
    "step runs that are ACTIVE": "SELECT FROM irp_step_run WHERE status = 'ACTIVE'",
}

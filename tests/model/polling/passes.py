"""Passes that poll the jobs of one batch, a search that lags, and what may strike.

Time goes in ticks of 15 s. The thread that works pings the connection of its lock in each of them;
the server ends a connection that was silent for four. One request of a pass is under way at a time.
"""

from collections.abc import Iterator
from typing import Any

from tests.model.polling.rows import ENDED, Answer, Job, Recording, is_backward
from tests.model.polling.world import SPENT, Move, Pass, ToAsk, Workflow, World
from tests.model.rows import put

_IDLE_TICKS = 4  # after which the server ends a connection
UNDER_WAY = "-"  # what an answer says that has not come yet
_AT_MOODYS = {
    ("Q", "R"): ("starts", ""),
    ("R", "F"): ("finishes", ""),
    ("R", "Q"): ("restarts", "restart"),
    ("R", "C"): ("is asked to cancel", "cancel"),
    ("C", "X"): ("has cancelled", ""),
    ("C", "R"): ("refuses to cancel", ""),
}
"""What Moody's does to a job, and what of the budget that costs."""

_WORDS = {
    "Q": "is queued", "R": "runs", "C": "is being cancelled", "F": "has finished",
    "X": "is cancelled", "": "cannot be asked about",
}  # fmt: skip


class Passes(Recording):
    """Two passes on one batch; a mutant changes one of these attributes."""

    locks_are_checked = True
    idle_connections_end = True
    hung_work_pings = False
    answers_in_hand_are_kept = True

    def __init__(self, *, jobs: int = 1, **budget: int) -> None:
        assert set(budget) <= set(SPENT), budget
        self._budget = tuple(budget.get(name, 0) for name in SPENT)
        self.first = World(
            (Job(),) * jobs,
            ((Workflow(),),) * jobs,
            (Pass(), Pass()),
            latest=(0,) * jobs,
            budget=self._budget,
        )

    def _left(self, world: World, what: str) -> int:
        return world.budget[SPENT[what]]

    def _spend(self, world: World, what: str) -> World:
        i = SPENT[what]
        return world._replace(budget=put(world.budget, i, world.budget[i] - 1))

    def _now(self, world: World, i: int, **change: Any) -> World:
        return world._replace(passes=put(world.passes, i, world.passes[i]._replace(**change)))

    # --- Everything that may happen next.

    def moves(self, world: World) -> Iterator[Move]:
        """Yield what may happen next, and which promise it would break."""
        for j in range(len(world.jobs)):
            yield from self._moves_at_moodys(world, j)
            yield from self._resubmission(world, j)
        for i, one in enumerate(world.passes):
            yield from self._pass_moves(world, i, one) if one.mode == "U" else ()
            yield from self._replies(world, i, one)
            yield from self._faults(world, i, one)
        if not world.has_ended and all(job.status in ENDED for job in world.jobs):
            yield Move("s", "a pass ends the batch", world._replace(has_ended=True))
        if self._time_may_pass(world):
            passes = tuple(map(self._later, world.passes))
            yield Move("s", "15 s pass", world._replace(passes=passes))

    def _moves_at_moodys(self, world: World, j: int) -> Iterator[Move]:
        for n, workflow in enumerate(world.workflows[j], 1):
            for (old, new), (verb, cost) in _AT_MOODYS.items():
                if workflow.status == old and (not cost or self._left(world, cost)):
                    spent = self._spend(world, cost) if cost else world
                    after = self._at_moodys(spent, j, n, status=new)
                    yield Move("s", f"Moody's {verb} {_job(j, n)}", after)
            if workflow.searched != workflow.status:
                after = self._at_moodys(world, j, n, searched=workflow.status)
                yield Move("s", f"Moody's search catches up with {_job(j, n)}", after)

    def _at_moodys(self, world: World, j: int, n: int, **change: str) -> World:
        of_job = world.workflows[j]
        of_job = put(of_job, n - 1, of_job[n - 1]._replace(**change))
        return world._replace(workflows=put(world.workflows, j, of_job))

    def _resubmission(self, world: World, j: int) -> Iterator[Move]:
        """Another tool submits a job anew, and gives its row the new id."""
        if not self._left(world, "resubmit"):
            return
        of_job = (*world.workflows[j], Workflow())
        again = Job("S", len(of_job), world.jobs[j].asked)
        after = self._spend(world, "resubmit")._replace(
            jobs=put(world.jobs, j, again),
            workflows=put(world.workflows, j, of_job),
            has_ended=False,
        )
        yield Move("p", f"another tool submits job {j + 1} anew", after)

    # --- A pass that is up.

    def _pass_moves(self, world: World, i: int, one: Pass) -> Iterator[Move]:
        if one.does == "i":
            yield from self._begins(world, i)
            return
        if one.pinged and not one.is_lost:
            after = self._now(world, i, pinged=0, is_lost=not one.is_connected)
            event = "pings its lock" if one.is_connected else "learns that its lock is lost"
            yield Move("s", f"{_name(i)} {event}", after)
        if one.asked is None:
            yield from self._asks(world, i, one)
        elif one.asked.status != UNDER_WAY:
            yield from self._records(world, i, one.asked)
        if self._may_end(one):
            idle = Pass(mode=one.mode)
            after = world._replace(passes=put(world.passes, i, idle))
            broken = "recorded" if one.asked else ""
            yield Move("s", f"{_name(i)} ends its polling", after, broken)

    def _begins(self, world: World, i: int) -> Iterator[Move]:
        """A pass takes the lock of the batch, and lists the jobs that have not ended."""
        if world.has_ended or any(other.is_connected for other in world.passes):
            return
        left = tuple(
            ToAsk(j, job.workflow, job.status)
            for j, job in enumerate(world.jobs)
            if job.status not in ENDED
        )
        if left:
            after = self._now(world, i, does="p", is_connected=True, left=left)
            yield Move("s", f"{_name(i)} takes the lock of the batch", after)

    def _asks(self, world: World, i: int, one: Pass) -> Iterator[Move]:
        """It asks about one job, by id or in a search, if its lock is held."""
        if self.locks_are_checked and (one.is_lost or one.pinged):
            return
        broken = "asks" if one.is_lost or (one.pinged and not one.is_connected) else ""
        for k, (j, n, known) in enumerate(one.left):
            unread = one.left[:k] + one.left[k + 1 :]
            for is_read in (False, True) if known else (True,):
                asked = Answer(j, n, _next_time(world, j), UNDER_WAY, is_read)
                after = self._now(world, i, asked=asked, left=unread if is_read else one.left)
                how = "reads" if is_read else "searches for"
                yield Move("s", f"{_name(i)} {how} {_job(j, n)}", after, broken)

    def _records(self, world: World, i: int, answer: Answer) -> Iterator[Move]:
        """It puts an answer on record, whatever has become of its lock."""
        j, job = answer.job, world.jobs[answer.job]
        after = self._now(world, i, asked=None)
        recorded, broken = self.record(job, answer), ""
        if recorded is not None:
            broken = self._broken_by(world, recorded, answer)
            latest = max(world.latest[j], answer.asked)
            after = after._replace(
                jobs=put(world.jobs, j, recorded), latest=put(world.latest, j, latest)
            )
        what = f"that {_job(j, answer.workflow)} {_WORDS[answer.status]}"
        event = f"{_name(i)} records {what if answer.asked else 'what changes nothing any more'}"
        yield Move("s", event, after, broken)

    def _broken_by(self, world: World, recorded: Job, answer: Answer) -> str:
        """Which promise an answer breaks by what it has changed."""
        before = world.jobs[answer.job]
        if recorded.status == before.status:
            return ""
        if answer.workflow != before.workflow:
            return "other"
        if answer.asked < world.latest[answer.job] and before.status != "S":
            return "later"  # it has overwritten an answer, not a failed poll
        was_searched = is_backward(before.status, recorded.status) and not answer.is_read
        return "backward" if was_searched else ""

    def _may_end(self, one: Pass) -> bool:
        if one.is_lost and not self.answers_in_hand_are_kept:
            return True
        return one.asked is None and (one.is_lost or not one.left)

    # --- What comes from outside.

    def _replies(self, world: World, i: int, one: Pass) -> Iterator[Move]:
        """Moody's answers a request that is under way, or does not."""
        asked = one.asked
        if asked is None or asked.status != UNDER_WAY or one.mode not in "UF":
            return
        workflow = world.workflows[asked.job][asked.workflow - 1]
        status = workflow.status if asked.is_read else workflow.searched
        what = f"{_name(i)} about {_job(asked.job, asked.workflow)}"
        yield Move("s", f"no answer comes to {what}", self._answered(world, i, ""))
        event = f"Moody's answers {what}: it {_WORDS[status]}"
        yield Move("s", event, self._answered(world, i, status))

    def _answered(self, world: World, i: int, status: str) -> World:
        """A pass has an answer in hand; if a search does not say enough, it reads the job next."""
        one = world.passes[i]
        left, asked = one.left, one.asked
        if asked and not asked.is_read:
            [k] = [k for k, to_ask in enumerate(left) if to_ask.job == asked.job]
            if not status or not self.is_enough(left[k].known, status):
                left = put(left, k, left[k]._replace(known=""))
                return self._now(world, i, asked=None, left=left)
            left = left[:k] + left[k + 1 :]
        return self._now(world, i, asked=asked and asked._replace(status=status), left=left)

    def _faults(self, world: World, i: int, one: Pass) -> Iterator[Move]:
        for what, verb, change in (
            ("cut", "loses the connection of its lock", {"is_connected": False}),
            ("freeze", "freezes", {"mode": "F"}),
            ("hang", "hangs for good", {"mode": "H"}),
        ):
            if one.mode == "U" and one.is_connected and self._left(world, what):
                after = self._now(self._spend(world, what), i, **change)
                yield Move("f", f"{_name(i)} {verb}", after)
        if one.does == "p" and self._left(world, "crash"):
            spent = self._spend(world, "crash")
            after = spent._replace(passes=put(world.passes, i, Pass()))
            yield Move("f", f"{_name(i)} is killed, and starts anew", after)
        if one.mode == "F":
            yield Move("s", f"{_name(i)} thaws", self._now(world, i, mode="U"))

    # --- Time.

    def _time_may_pass(self, world: World) -> bool:
        """Whether no pass that works owes a ping."""
        return not any(one.mode == "U" and one.pinged and not one.is_lost for one in world.passes)

    def _later(self, one: Pass) -> Pass:
        if one.does == "i" or one.is_lost or (one.mode == "H" and self.hung_work_pings):
            return one
        pinged = min(one.pinged + 1, _IDLE_TICKS)
        ends = pinged == _IDLE_TICKS and self.idle_connections_end
        return one._replace(pinged=pinged, is_connected=one.is_connected and not ends)


def _name(i: int) -> str:
    return f"pass {i + 1}"


def _job(j: int, n: int) -> str:
    return f"job {j + 1}" if n == 1 else f"the new job {j + 1}"


def _next_time(world: World, j: int) -> int:
    asked = [one.asked.asked for one in world.passes if one.asked and one.asked.job == j]
    return 1 + max(world.jobs[j].asked, world.latest[j], *asked, 0)

"""What must hold in every state, in the words of ``docs/architecture.md``."""

from typing import Any

from tests.model.polling.passes import UNDER_WAY, Passes
from tests.model.polling.rows import ENDED, Answer
from tests.model.polling.world import Pass, Workflow, World
from tests.model.rows import put

PROMISES = {
    "later": "no later question was answered before",
    "other": "the job still has the workflow id that was asked about",
    "backward": "which are applied only from a read by id, never from a search",
    "ended": "Only Moody's own answer says anything.",
    "recorded": "Every poll is recorded, failed ones too.",
    "asks": "Whoever has lost its locks asks and submits nothing more",
    "stuck": "nothing lost, nothing twice, nothing silently stuck",
}


class Polling(Passes):
    """Passes whose promises are checked."""

    is_alike = True  # passes are distinguished only in traces

    def broken(self, world: World) -> str:
        """Return which promise this state breaks; empty if none."""
        is_true = all(
            world.workflows[j][job.workflow - 1].status in ENDED for j, job in enumerate(world.jobs)
        )
        return "ended" if world.has_ended and not is_true else ""

    def is_good(self, world: World) -> bool:
        """Whether nothing is left to be done."""
        return world.has_ended

    def canonical(self, world: World) -> World:
        """The same world in fewer words: passes in order, and times as far as they are compared."""
        passes = tuple(self._without_late_answer(world, one) for one in world.passes)
        for j, job in enumerate(world.jobs):
            asked = [one.asked.asked for one in passes if one.asked and one.asked.job == j]
            times = sorted({0, job.asked, world.latest[j], *asked})
            if times != list(range(len(times))):
                passes = tuple(_renumbered(one, j, times) for one in passes)
                world = world._replace(
                    jobs=put(world.jobs, j, job._replace(asked=times.index(job.asked))),
                    latest=put(world.latest, j, times.index(world.latest[j])),
                )
            if len(world.workflows[j]) > 1:
                world = self._without_forgotten(world, j)
        if self.is_alike:
            passes = tuple(sorted(passes, key=_order))
        return world._replace(passes=passes)

    def _without_late_answer(self, world: World, one: Pass) -> Pass:
        """What an answer says does not matter once its row will never change by it."""
        asked = one.asked
        if asked is None or asked.status == UNDER_WAY or self.record(world.jobs[asked.job], asked):
            return one
        return one._replace(asked=Answer(asked.job, 0, 0, "", True))

    def _without_forgotten(self, world: World, j: int) -> World:
        """Let those jobs at Moody's be over that nobody asks about any more."""
        wanted = {world.jobs[j].workflow}
        for one in world.passes:
            wanted |= {to_ask.workflow for to_ask in one.left if to_ask.job == j}
            if one.asked and one.asked.job == j and one.asked.status == UNDER_WAY:
                wanted.add(one.asked.workflow)
        of_job = tuple(
            workflow if n in wanted else Workflow("F", "F")
            for n, workflow in enumerate(world.workflows[j], 1)
        )
        return world._replace(workflows=put(world.workflows, j, of_job))


def _renumbered(one: Pass, j: int, times: list[int]) -> Pass:
    if one.asked is None or one.asked.job != j:
        return one
    return one._replace(asked=one.asked._replace(asked=times.index(one.asked.asked)))


def _order(one: Pass) -> tuple[Any, ...]:
    return (*one[:-1], one.asked is not None, one.asked or ())

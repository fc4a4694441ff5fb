"""What people plan for steps: they hold one, release it the next time, or run one once more."""

import math
import random
from contextlib import suppress
from dataclasses import dataclass

from helpers.batch import hold_step, plan_rerun, release_step
from helpers.database import transaction
from helpers.errors import CycleError
from tests.simulation.baton import Scheduler

_STEPS = """
SELECT step.id, cycle_name, stage_num, step_num
FROM irp_step AS step JOIN irp_stage AS stage ON stage.id = step.stage_id
JOIN irp_cycle AS cycle ON cycle.id = stage.cycle_id
WHERE cycle.status = 'ACTIVE'
  AND EXISTS (SELECT FROM irp_step_run AS run WHERE run.step_id = step.id) = %s
ORDER BY step.id
"""


@dataclass
class Hold:
    """A step that a person holds, as the ledger has it."""

    step_id: int
    call: tuple[str, int, int]
    since: float
    until: float = math.inf  # when its release was first tried
    is_released: bool = False


class StepPlans:
    """Applies plans about steps, and keeps the ledger."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.holds: list[Hold] = []

    def apply(self, what: str, draw: random.Random) -> None:
        """Hold a step that has not run yet, or want one to run once more."""
        step = self._any_step(draw, has_run=what == "rerun")
        if step is None:
            return
        step_id, *call = step
        if what == "rerun":
            plan_rerun(*call).apply(reason="once more")
            return
        hold_step(*call).apply(reason="not tonight")
        self.holds.append(Hold(step_id, tuple(call), self._scheduler.elapsed))

    def release_all(self) -> None:
        """Release every step that is held."""
        for hold in [hold for hold in self.holds if not hold.is_released]:
            hold.until = min(hold.until, self._scheduler.elapsed)
            with suppress(CycleError):  # a try before did release it, although no reply came
                release_step(*hold.call).apply(reason="go on")
            hold.is_released = True

    def _any_step(self, draw: random.Random, *, has_run: bool) -> tuple[int, str, int, int] | None:
        with transaction() as connection:
            rows = connection.execute(_STEPS, [has_run]).fetchall()
        return tuple(draw.choice(rows).values()) if rows else None

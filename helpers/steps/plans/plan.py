"""What a plan about a step has in common: it shows itself, and is applied exactly or refused."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, TypedDict, cast
from uuid import UUID, uuid4

from helpers import actions
from helpers.actions import Action
from helpers.constants import ActionKind, ChainRunStatus, CycleStatus
from helpers.database import in_transaction, queries, transaction
from helpers.display import Block, Headline, Note, Remark, Remarks, Report, Severity
from helpers.errors import CycleError, PlanOvertakenError
from helpers.identity import owner_name
from helpers.records import Step, is_id
from helpers.steps import claims
from helpers.steps.claims import RULES, WaitsFor, step_call


class StepPlanOutcome(TypedDict):
    """What became of a plan about a step; the same for each time it is applied."""

    plan_id: UUID
    kind: str  # an ``ActionKind``
    cycle_name: str
    stage_num: int
    step_num: int
    done: int  # 1 once it was applied


@dataclass(frozen=True)
class SeenChainRun:
    """A chain run that leads to the step."""

    id: int
    batch_id: int
    status: str
    released: bool
    waits_for: list[WaitsFor]


@dataclass(frozen=True)
class SeenStep:
    """A step as a plan saw it."""

    cycle_status: str
    attempt: int  # of its claim; it grows with each run
    owner: str | None  # who runs it, or works on it
    hold_action_id: int | None
    rerun_action_id: int | None
    chain_runs: tuple[SeenChainRun, ...]

    @property
    def waiting(self) -> list[SeenChainRun]:
        """The chain runs that wait for something, and that nobody has released."""
        runs = self.chain_runs
        return [
            r for r in runs if r.status == ChainRunStatus.PENDING and r.waits_for and not r.released
        ]


class StepPlan(Report):
    """What would be done about a step; in a cell by itself it shows that."""

    kind: ClassVar[ActionKind]
    verb: ClassVar[str]  # as in "hold {}"

    def __init__(self, step: Step) -> None:
        """See the step as it is now."""
        self.plan_id = uuid4()
        self.step = step
        self.seen = _see(step["step_id"])

    def apply(self, *, reason: str) -> StepPlanOutcome:
        """Do what the plan shows, or refuse.

        Args:
            reason: why, for the history.

        Raises:
            PlanOvertakenError: what the plan saw has changed; nothing was done.
            CycleError: there is nothing to do, or you are inside a transaction.
        """
        why = actions.checked_reason(reason)
        if in_transaction():
            raise CycleError("A plan is not applied inside a transaction. End it first.")
        with transaction():
            claims.expire()
            queries("step_plans").lock_claim(step_id=self.step["step_id"])
            queries("step_plans").hold_step_open(step_id=self.step["step_id"])
            if not actions.actions_of(self.plan_id):
                self._require_something()
                self._require_unchanged()
                self._change(actions.record(self.plan_id, self._action(), reason=why))
        return self.outcome()

    def outcome(self) -> StepPlanOutcome:
        """Return what became of the plan so far."""
        return StepPlanOutcome(
            plan_id=self.plan_id,
            kind=self.kind.value,
            cycle_name=self.step["cycle_name"],
            stage_num=self.step["stage_num"],
            step_num=self.step["step_num"],
            done=len(actions.actions_of(self.plan_id)),
        )

    def call(self, name: str) -> str:
        """Return a call about the step, ready to be copied."""
        step = self.step
        return step_call(name, step["cycle_name"], step["stage_num"], step["step_num"])

    @property
    def held(self) -> str:
        """Who holds the step, since when and why, and the call that releases it."""
        return f"It is {claims.hold_on(self.step)}, release with {self.call('release_step')}"

    @property
    @abstractmethod
    def why_not(self) -> str:
        """Why there is nothing to do; empty if there is something."""

    @abstractmethod
    def _rests_on(self, seen: SeenStep) -> dict[str, object]:
        """Return by name what must not change before the plan is applied."""

    @abstractmethod
    def _change(self, action_id: int) -> None:
        """Write what the plan changes, in the transaction under way."""

    @abstractmethod
    def _consequences(self) -> Iterator[str]:
        """Give what follows, a line each."""

    def _details(self) -> dict[str, Any]:
        return {}

    def _action(self) -> Action:
        return Action(
            kind=self.kind,
            cycle_id=self.step["cycle_id"],
            step_id=self.step["step_id"],
            details=self._details(),
        )

    def _require_something(self) -> None:
        if self.why_not:
            raise CycleError(f"There is nothing to do. {self}")

    def _require_unchanged(self) -> None:
        was, is_now = self._rests_on(self.seen), self._rests_on(_see(self.step["step_id"]))
        changes = [
            f"{what} was {was[what]} and is {is_now[what]}"
            for what in was
            if was[what] != is_now[what]
        ]
        if changes:
            raise PlanOvertakenError(
                "Nothing was done, because this has changed since the plan was made: "
                f"{'; '.join(changes)}. Make the plan again."
            )

    def blocks(self) -> Iterator[Block]:
        """Show what would be done, or why nothing, and what follows."""
        step = self.step
        name = f"step {step['stage_num']}.{step['step_num']} {step['step_name']}"
        name += f" of cycle {step['cycle_name']}"
        severity = Severity.WARNING if self.why_not else Severity.INFO
        yield Headline(severity, f"Plan: {self.verb.format(name)}")
        if self.why_not:
            yield Note(self.why_not, Severity.WARNING)
            return
        lines = [Remark(str(i), line) for i, line in enumerate(self._consequences(), 1)]
        yield Remarks(lines, title="What follows")
        yield Note('Nothing is done yet. Do it with: plan.apply(reason="…")')

    def _claim_and_cycle(self, seen: SeenStep) -> dict[str, object]:
        return {
            "the cycle": seen.cycle_status,
            "the number of the step's claims": seen.attempt,
            "who runs the step": owner_name(seen.owner) if seen.owner else "nobody",
        }


def step_to_plan(cycle: str, stage: int, step: int) -> Step:
    """Return a step that a person may plan for.

    Raises:
        CycleError: there is no such step, or its cycle is not ACTIVE.
    """
    is_number = is_id(stage) and is_id(step)
    found = is_number and queries("steps").step_by_numbers(
        cycle_name=cycle, stage_num=stage, step_num=step
    )
    if not found:
        raise CycleError(f"Cycle {cycle} has no step {stage}.{step} in the metastore.")
    if found["cycle_status"] != CycleStatus.ACTIVE:
        raise CycleError(f"Cycle {cycle} is {found['cycle_status']}: no pass starts its steps.")
    return cast("Step", found)


def _see(step_id: int) -> SeenStep:
    with transaction():
        claim = queries("step_plans").claim_seen(step_id=step_id)
        runs = queries("step_plans").chain_runs_seen(step_id=step_id, rules=RULES)
        step = queries("steps").step_by_id(step_id=step_id)
        chain_runs = tuple(SeenChainRun(**row) for row in runs)
    return SeenStep(cycle_status=step["cycle_status"], chain_runs=chain_runs, **claim)

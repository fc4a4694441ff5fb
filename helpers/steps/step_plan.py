"""What the plans about a step have in common: what they see of it, and how they are applied."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, TypedDict, cast
from uuid import UUID

from helpers import actions
from helpers.constants import ChainRunStatus, CycleStatus
from helpers.database import queries, transaction
from helpers.display import Block, Headline, Note, Severity
from helpers.errors import CycleError
from helpers.identity import owner_name
from helpers.records import Step, is_id, step_call, step_title
from helpers.steps import claims
from helpers.text import listed


class StepPlanOutcome(TypedDict):
    """What became of a plan about a step; the same for each time it is applied."""

    plan_id: UUID
    kind: str  # an ``ActionKind``
    cycle_name: str
    stage_num: int
    step_num: int
    done: int  # 1 once it was applied


@dataclass(frozen=True)
class SeenStep:
    """A step as a plan saw it."""

    cycle_status: str
    attempt: int  # of its claim; it grows with each run
    owner: str | None  # who runs it, or works on it
    hold_action_id: int | None
    rerun_action_id: int | None
    chain_runs: tuple[dict[str, Any], ...]  # that lead to it, as ``chain_runs_seen`` gives them

    @property
    def waiting(self) -> list[dict[str, Any]]:
        """The chain runs that wait for something, and that nobody has released."""
        pending = [run for run in self.chain_runs if run["status"] == ChainRunStatus.PENDING]
        return [run for run in pending if run["waits_for"] and not run["released"]]

    @property
    def waits_for(self) -> str:
        """What those wait for."""
        texts = sorted({claims.describe_wait(run["waits_for"]) for run in self.waiting})
        return listed(texts) or "waits for nothing"

    @property
    def leads_here(self) -> str:
        """The batches whose chain runs lead to it."""
        names = [f"batch {run['batch_id']} ({run['status']})" for run in self.chain_runs]
        return listed(names) or "nothing"

    @property
    def claim_and_cycle(self) -> dict[str, object]:
        """By name, what a plan rests on that only a step with nobody at it allows."""
        return {
            "the cycle": self.cycle_status,
            "the number of the step's claims": self.attempt,
            "who runs the step": owner_name(self.owner) if self.owner else "nobody",
        }


class StepPlan(actions.Plan):
    """What would be done about a step."""

    verb: ClassVar[str]  # as in "hold {}"

    def __init__(self, step: Step) -> None:
        """See the step as it is now."""
        super().__init__(step)
        self.step = step
        self.seen = _see(step["step_id"])

    def apply(self, *, reason: str) -> StepPlanOutcome:
        """Do what the plan shows, or refuse; ``reason`` says why, for the history.

        Raises:
            PlanOvertakenError: what the plan saw has changed; nothing was done.
            CycleError: there is nothing to do, or you are inside a transaction.
        """
        why = actions.checked_reason(reason)
        if problem := self._why_not_now(is_empty=bool(self.why_not)):
            raise CycleError(problem)
        claims.expire()  # for good: if that overtakes the plan, the next plan sees it
        self._apply_once(why)
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

    def _lock(self) -> None:
        queries("step_plans").lock_claim(step_id=self.step["step_id"])
        queries("step_plans").hold_step_open(step_id=self.step["step_id"])

    def _changes(self) -> list[str]:
        was, is_now = self._rests_on(self.seen), self._rests_on(_see(self.step["step_id"]))
        return [
            f"{what} was {was[what]} and is {is_now[what]}"
            for what in was
            if was[what] != is_now[what]
        ]

    def blocks(self) -> Iterator[Block]:
        """Show what would be done, or why nothing, and what follows; once applied, that it is."""
        step = self.step
        name = f"{step_title(step)} of cycle {step['cycle_name']}"
        if self.is_applied:
            yield Headline(Severity.OK, f"Applied: {self.verb.format(name)}")
            return
        severity = Severity.WARNING if self.why_not else Severity.INFO
        yield Headline(severity, f"Plan: {self.verb.format(name)}")
        if self.why_not:
            yield Note(self.why_not, Severity.WARNING)
        else:
            yield from self._what_follows()


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
        runs = tuple(queries("step_plans").chain_runs_seen(step_id=step_id, rules=claims.RULES))
        step = queries("steps").step_by_id(step_id=step_id)
    return SeenStep(cycle_status=step["cycle_status"], chain_runs=runs, **claim)

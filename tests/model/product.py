"""What the product does about the model's rows: each action through its own functions."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from helpers.batch import reconcile, sweeping
from helpers.database import Connection, queries
from helpers.errors import CycleError, NotebookError, PlanOvertakenError
from helpers.records import ChainRun as ServedRun
from helpers.steps import claims, heartbeat, verdicts
from helpers.steps.execution import StepExecution
from helpers.steps.plans import hold_step, plan_rerun, release_step
from helpers.steps.step_plan import StepPlan
from helpers.workflow_paths import workflows_dir
from tests.model.metastore_rows import (
    BATCH_STATUSES,
    JOB_STATUSES,
    SWEEP_WAITS_SECONDS,
    Location,
    MetastoreRows,
    owner_name,
)
from tests.model.rows import Rows
from tests.model.statements import Statements

ACTIONS = {
    "end", "activate", "conclude", "waits_for_nothing", "claim_due", "claim_step", "claim_for_work",
    "give_up", "archive", "hold_step", "release_step", "plan_rerun", "renew", "note_start",
    "release", "record",
}  # fmt: skip


class Product(MetastoreRows):
    """The product, acting on the rows of one pair."""

    def __init__(
        self,
        connection: Connection,
        location: Location,
        model: Statements,
        patch: pytest.MonkeyPatch,
    ) -> None:
        super().__init__(connection, location, model)
        self._patch = patch

    def act(self, rows: Rows, action: tuple[Any, ...]) -> bool | None:
        """Let the product act; return whether it accepted, None if it does not say."""
        name, *arguments = action
        if name in {"renew", "note_start", "release", "record"}:
            return self._guarded(rows, name, *arguments)
        if name.startswith("claim_"):
            return self._claim(name, arguments[0])
        act = {
            "end": self._end, "activate": self._activate, "conclude": self._conclude,
            "waits_for_nothing": self._waits_for_nothing, "archive": self._archive,
            "give_up": self._give_up, "hold_step": self._hold, "release_step": self._release_step,
            "plan_rerun": self._rerun,
        }[name]  # fmt: skip
        return act(rows, *arguments)

    def _end(self, _rows: Rows, b: int, status: str) -> None:
        batch_id = self._location.batch_ids[b]
        self._execute(
            "UPDATE irp_job SET status = %s WHERE batch_id = %s", JOB_STATUSES[status], batch_id
        )
        assert reconcile(batch_id).status is BATCH_STATUSES[status]

    def _activate(self, rows: Rows, b: int) -> bool:
        owner, name = (
            ("batch", "activate") if rows.batches[b].status == "I" else ("mending", "reactivate")
        )
        return bool(getattr(queries(owner), name)(batch_id=self._location.batch_ids[b]))

    def _conclude(self, _rows: Rows, b: int) -> bool:
        wait = timedelta(seconds=SWEEP_WAITS_SECONDS)
        return sweeping._conclude(self._location.batch_ids[b], wait=wait) is not None

    def _waits_for_nothing(self, _rows: Rows, j: int) -> bool:
        b, activation = divmod(j, self._model.activations)
        batch_id = self._location.batch_ids[b]
        [rule] = [
            rule
            for rule in claims.CHAIN_RULES
            if (rule.stage_num, rule.step_num)
            == (self._location.from_step["stage_num"], self._location.from_step["step_num"])
        ]
        waits = claims.waits_for(batch_id, step_id=self._location.next_step["step_id"], rule=rule)
        return claims.is_released(batch_id, activation + 1) or not waits

    def _archive(self, rows: Rows) -> None:
        if rows.archived:
            self._execute(
                "UPDATE irp_cycle SET status = 'ACTIVE' WHERE id = %s", self._location.cycle_id
            )
        else:
            queries("cycle").archive_cycle(cycle_id=self._location.cycle_id)

    def _hold(self, _rows: Rows) -> bool:
        return self._apply(hold_step)

    def _release_step(self, _rows: Rows) -> bool:
        return self._apply(release_step)

    def _rerun(self, _rows: Rows) -> bool:
        return self._apply(plan_rerun)

    def _apply(self, make: Callable[[str, int, int], StepPlan]) -> bool:
        """Apply a plan, once more if a claim that had expired has overtaken it."""
        step = self._location.next_step
        numbers = step["cycle_name"], step["stage_num"], step["step_num"]
        self._patch.setattr("helpers.actions.in_transaction", lambda: False)
        try:
            was_refused = bool(make(*numbers).why_not)
        except CycleError:
            return False
        for _ in range(2):
            with suppress(PlanOvertakenError):
                plan = make(*numbers)
                if not plan.why_not:
                    plan.apply(reason="A reason.")
                    break
        return not was_refused

    def _give_up(self, _rows: Rows) -> None:
        verdicts.fail_abandoned()

    def _claim(self, name: str, owner: int) -> bool:
        self._patch.setattr(claims, "owner_id", lambda: owner_name(owner))
        step_id = self._location.next_step["step_id"]
        claim = claims.claim_due() if name == "claim_due" else getattr(claims, name)(step_id)
        return claim is not None

    def _guarded(
        self, rows: Rows, name: str, owner: int, attempt: int, status: str = ""
    ) -> bool | None:
        for module in (claims, heartbeat):
            self._patch.setattr(module, "owner_id", lambda: owner_name(owner))
        claim = claims.Claim(self._location.next_step, attempt, tuple(self._served(rows, attempt)))
        match name:
            case "renew":
                return bool(heartbeat.Heartbeat(lambda _: None)._renew([claim.key]))
            case "release":
                return claims.release(claim, reason="A reason.")
            case "note_start":
                return self._note_start(claim)
        self._record(rows, claim, "A reason." if status == "F" else None)
        return None

    def _note_start(self, claim: claims.Claim) -> bool:
        notebook = workflows_dir() / "Step_02_X.ipynb"
        try:
            with self._connection.transaction():  # what it raises undoes what it did
                StepExecution(claim, notebook, timeout_seconds=1).begin()
        except NotebookError:
            return False
        return True

    def _record(self, rows: Rows, claim: claims.Claim, error: str | None) -> None:
        if not rows.claim.run:
            verdicts.fail(claim, str(error))
            return
        verdicts.record(
            claim,
            error=error,
            step_run_id=self._run_ids[rows.claim.run - 1],
            seconds=1.0,
            notebook=workflows_dir() / "Step_02_X.ipynb",
            executed_copy=workflows_dir() / "runs" / "copy.ipynb",
        )

    def _served(self, rows: Rows, attempt: int) -> Iterator[ServedRun]:
        found = self._execute(
            "SELECT id, batch_id, activation_num, served_by FROM irp_chain_run ORDER BY id"
        )
        step = self._location.from_step
        for row in found:
            if row["served_by"] == attempt:
                yield ServedRun(
                    id=row["id"],
                    batch_id=row["batch_id"],
                    activation_num=row["activation_num"],
                    batch_type=self._location.batch_type,
                    cycle_name=step["cycle_name"],
                    stage_num=step["stage_num"],
                    stage_name=step["stage_name"],
                    step_num=step["step_num"],
                    step_name=step["step_name"],
                    next_step_num=self._location.next_step["step_num"],
                )

"""How a step's run ended, put on record once: its step run, its chain runs, and its card.

The verdict is committed as soon as the last cell has ended, while the claim is kept. One guarded
update decides whether it still counts.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.constants import ChainRunStatus, StepStatus
from helpers.database import queries, transaction
from helpers.notifications import events
from helpers.redaction import shown
from helpers.steps import claims
from helpers.steps.claims import LASTS, Claim, GivenUp
from helpers.text import clean
from helpers.workflow_paths import relative_to_workflows

_OVERTAKEN = "The batch became active again while this step ran."
_NO_REASON = "The notebook set its own step run to FAILED, without a reason."


@dataclass(frozen=True)
class StepVerdict:
    """How a step ended, its notebook's own word included."""

    status: StepStatus
    error: str | None


def judge(error: str | None, noted: dict[str, Any] | None) -> StepVerdict:
    """Return the verdict on a run that ended with this error, and noted this step run itself."""
    if error is not None:
        return StepVerdict(StepStatus.FAILED, clean(error))
    if noted is None or noted["status"] == StepStatus.ACTIVE:
        return StepVerdict(StepStatus.COMPLETED, None)
    if noted["status"] == StepStatus.FAILED:
        return StepVerdict(StepStatus.FAILED, noted["error_message"] or _NO_REASON)
    if noted["status"] in set(StepStatus):
        return StepVerdict(StepStatus(noted["status"]), None)
    unknown = f"The notebook set its own step run to {noted['status']}, an unrecognised status."
    return StepVerdict(StepStatus.FAILED, unknown)


def record(
    claim: Claim,
    *,
    error: str | None,
    step_run_id: int,
    seconds: float,
    notebook: Path,
    executed_copy: Path,
) -> StepVerdict | None:
    """Record how the run of a claim ended, once; None if another has claimed the step since.

    A run that the notebook has logged itself takes the place of ours: its word counts, and those
    who look up its output find it.
    """
    executed_path = relative_to_workflows(executed_copy)
    output = {"executed_notebook": executed_path, "execution_seconds": round(seconds, 3)}
    with transaction():
        noted = queries("steps").run_of_notebook(step_run_id=step_run_id)
        verdict = judge(error, noted)
        run_id = noted["id"] if noted else step_run_id
        if not _write(
            claim,
            verdict,
            step_run_id=run_id,
            notebook_path=relative_to_workflows(notebook),
            executed_path=executed_path,
        ):
            # An earlier try may have arrived, although no reply came.
            has_arrived = queries("steps").has_ended_by_itself(step_run_id=step_run_id)
            return verdict if has_arrived else None
        queries("steps").finish_step_run(
            step_run_id=run_id,
            status=verdict.status,
            error=verdict.error,
            output=json.dumps(output),
        )
        if noted:
            queries("steps").delete_step_run(step_run_id=step_run_id)
    return verdict


def fail(claim: Claim, reason: str) -> bool:
    """Record that something else than its notebook ended a step; False if its claim is lost."""
    return _write(claim, StepVerdict(StepStatus.FAILED, clean(reason)))


def fail_abandoned() -> list[GivenUp]:
    """Fail chain runs that no try brought to an end, one card for each step; return them."""
    with transaction():
        abandoned = claims.give_up()
        first_of = {
            (run["cycle_name"], run["stage_num"], run["next_step_num"]): run
            for run in reversed(abandoned)
        }
        for run in first_of.values():
            events.announce_chain_failure(
                run,
                error=run["error_message"],
                notebook_path=run["notebook_path"],
                executed_path=None,
            )
    return abandoned


def _write(
    claim: Claim,
    verdict: StepVerdict,
    *,
    step_run_id: int | None = None,
    notebook_path: str | None = None,
    executed_path: str | None = None,
) -> bool:
    """Write a verdict to the claim and to the chain runs that it serves, with one card."""
    with transaction():
        held = queries("step_claims").record_verdict(
            **claim.guard,
            verdict=verdict.status,
            outcome=shown(verdict.error or f"The step is {verdict.status}."),
            step_run_id=step_run_id,
            lasts=LASTS,
        )
        if not held:
            return False
        failed = verdict.error is not None
        ended = queries("chain_runs").finish(
            step_id=claim.step_id,
            attempt=claim.attempt,
            status=ChainRunStatus.FAILED if failed else ChainRunStatus.COMPLETED,
            step_run_id=step_run_id,
            error=verdict.error,
            overtaken=_OVERTAKEN,
        )
        failed_ids = {row["id"] for row in ended if row["status"] == "FAILED"}
        first = next((run for run in claim.served if run["id"] in failed_ids), None)
        if first is not None:
            events.announce_chain_failure(
                first,
                error=verdict.error or "",
                notebook_path=notebook_path,
                executed_path=executed_path,
            )
    return True

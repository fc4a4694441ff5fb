"""What people do by hand, on record: who, when, why, and with which outcome.

Each row of ``irp_action`` is written in the transaction that does what it tells of; a request to
Moody's is on record before it is sent. Rows are never changed except for their outcome.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypedDict
from uuid import UUID

from helpers.constants import ActionKind, ActionStatus
from helpers.database import queries
from helpers.errors import BatchMonitoringError
from helpers.identity import person
from helpers.redaction import redact_json, shown
from helpers.text import clean, storable_json

REPEATABLE = frozenset({ActionStatus.PLANNED, ActionStatus.UNKNOWN})
"""What an action may be repeated in, and its outcome written again."""

_MAX_REASON = 2_000
_MAX_OUTCOME = 2_000


class ActionRow(TypedDict):
    """An action of one plan, as the metastore holds it."""

    id: int
    kind: str
    status: str
    batch_id: int | None
    job_id: int | None
    new_job_id: int | None
    request_id: UUID | None  # the idempotency key of its request to Moody's
    details: dict[str, Any]
    outcome: str | None
    completed_ts: datetime | None  # None: planned, and no outcome yet


@dataclass(frozen=True, kw_only=True)
class Action:
    """What is done to one cycle, step, batch or job; ``details`` is what was seen and asked for."""

    kind: ActionKind
    status: ActionStatus = ActionStatus.DONE
    cycle_id: int | None = None
    step_id: int | None = None
    batch_id: int | None = None
    job_id: int | None = None
    new_job_id: int | None = None
    request_id: UUID | None = None
    details: dict[str, Any] = field(default_factory=dict)
    outcome: str | None = None


def checked_reason(reason: object) -> str:
    """Return a reason as it goes on record.

    Raises:
        BatchMonitoringError: it is empty.
    """
    text = clean(reason).strip() if isinstance(reason, str) else ""
    if not text:
        raise BatchMonitoringError(
            'Say why, for whoever reads the history: reason="EDM was locked; fixed by IT".'
        )
    return shown(text, _MAX_REASON)


def record(plan_id: UUID, action: Action, *, reason: str) -> int:
    """Put an action on record, in the transaction under way; return its id."""
    fields = vars(action) | {
        "details": redact_json(storable_json(action.details)),
        "outcome": _outcome(action.outcome),
    }
    action_id: int = queries("actions").record_action(
        plan_id=plan_id, person=person()[:255], reason=reason, **fields
    )
    return action_id


def actions_of(plan_id: UUID) -> list[ActionRow]:
    """Return what a plan has done so far, in the order of its jobs; empty before it was applied."""
    return list(queries("actions").actions_of_plan(plan_id=plan_id))


def finish(action_id: int, status: ActionStatus, outcome: str) -> None:
    """Put on record how a planned action ended; the first outcome that is known counts."""
    queries("actions").finish_action(id=action_id, status=status, outcome=_outcome(outcome))


def _outcome(text: str | None) -> str | None:
    return None if text is None else shown(text, _MAX_OUTCOME)

"""What people do by hand, planned and on record: who, when, why, and with which outcome.

Each row of ``irp_action`` is written in the transaction that does what it tells of; a request to
Moody's is on record before it is sent. Rows are never changed except for their outcome.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, TypedDict
from uuid import UUID, uuid4

from helpers.constants import ActionKind, ActionStatus
from helpers.database import in_transaction, queries, transaction
from helpers.display import Block, Note, Remark, Remarks, Report
from helpers.errors import BatchMonitoringError, PlanOvertakenError
from helpers.identity import person
from helpers.redaction import redact_json, shown
from helpers.text import clean, storable_json

REPEATABLE = frozenset({ActionStatus.PLANNED, ActionStatus.UNKNOWN})
"""What an action may be repeated in, and its outcome written again."""


class ActionRow(TypedDict):
    """An action of one plan, as the metastore holds it."""

    id: int
    status: str
    job_id: int | None
    new_job_id: int | None
    request_id: UUID | None  # the idempotency key of its request to Moody's
    outcome: str | None


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
    return shown(text)


def record(
    plan_id: UUID,
    kind: ActionKind,
    of: Mapping[str, Any],
    *,
    reason: str,
    status: ActionStatus = ActionStatus.DONE,
    job_id: int | None = None,
    new_job_id: int | None = None,
    request_id: UUID | None = None,
    details: Mapping[str, Any] | None = None,
    outcome: str | None = None,
) -> int:
    """Put an action on record, in the transaction under way; return its id.

    ``of`` is the batch, step or cycle to which it is done, ``details`` what was seen and asked for.
    """
    action_id: int = queries("actions").record_action(
        plan_id=plan_id,
        kind=kind,
        status=status,
        cycle_id=of["cycle_id"],
        step_id=of.get("step_id"),
        batch_id=of.get("batch_id"),
        job_id=job_id,
        new_job_id=new_job_id,
        person=person()[:255],
        reason=reason,
        details=redact_json(storable_json(details or {})),
        request_id=request_id,
        outcome=outcome and shown(outcome),
    )
    return action_id


def actions_of(plan_id: UUID) -> list[ActionRow]:
    """Return what a plan has done so far, in the order of its jobs; empty before it was applied."""
    return list(queries("actions").actions_of_plan(plan_id=plan_id))


def finish(action_id: int, status: ActionStatus, outcome: str) -> None:
    """Put on record how a planned action ended; the first outcome that is known counts."""
    queries("actions").finish_action(id=action_id, status=status, outcome=shown(outcome))


class Plan(Report):
    """What a person is about to do: it shows itself, and is applied exactly or refused.

    Making a plan writes nothing. It carries what it saw of what it rests on. Applying it takes the
    lock that passes take, compares, and does all of it or, if anything has changed, none of it
    (``PlanOvertakenError``). What was done is on record under the plan's id, by the same
    transaction. So applying a plan a second time, after a crash or by a second click, does nothing
    twice and returns the same outcome.
    """

    kind: ActionKind
    is_applied = False  # it shows what became of it, then

    def __init__(self, of: Mapping[str, Any]) -> None:
        """Plan something for a batch or a step."""
        self.plan_id = uuid4()
        self._of = of

    def _apply_once(self, why: str) -> None:
        """Do what the plan shows in one transaction, unless it was done before."""
        with transaction():
            self._lock()
            if not actions_of(self.plan_id):
                if changes := self._changes():
                    raise PlanOvertakenError(
                        "Nothing was done, because this has changed since the plan was made: "
                        f"{'; '.join(changes)}. Make the plan again."
                    )
                self._change(why)
        self.is_applied = True

    @abstractmethod
    def _lock(self) -> None:
        """Keep others from changing what the plan is about, until the transaction ends."""

    @abstractmethod
    def _changes(self) -> list[str]:
        """Return what has changed of what the plan rests on, a line each; empty if nothing has."""

    @abstractmethod
    def _change(self, why: str) -> None:
        """Write what the plan changes, and put it on record."""

    @abstractmethod
    def _consequences(self) -> Iterator[str]:
        """Give what follows, a line each."""

    def _record(self, why: str, **facts: Any) -> int:
        """Put one action of the plan on record; return its id."""
        return record(self.plan_id, self.kind, self._of, reason=why, **facts)

    def _why_not_now(self, *, is_empty: bool) -> str:
        """Return why the plan is not applied; empty if it is."""
        if in_transaction():
            return "A plan is not applied inside a transaction. End it first."
        return f"There is nothing to do. {self}" if is_empty else ""

    def _what_follows(self) -> Iterator[Block]:
        """Give the blocks that say what follows, and how the plan is applied."""
        lines = [Remark(str(i), line) for i, line in enumerate(self._consequences(), 1)]
        yield Remarks(lines, title="What follows")
        yield Note('Nothing is done yet. Do it with: plan.apply(reason="…")')

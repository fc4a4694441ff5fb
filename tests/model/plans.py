"""What a person plans for the step: a hold, its end, and one more run; from rows to rows.

As in ``statements``: a plan that is refused returns None.
"""

from tests.model.rows import Rows, put
from tests.model.statements import Statements


class Plans(Statements):
    """What a plan about a step changes when it is applied."""

    def hold_step(self, rows: Rows) -> Rows | None:
        """Keep passes from claiming the step."""
        if rows.archived or rows.claim.held:
            return None
        return self._noting(self.expire(rows), held=True)

    def release_step(self, rows: Rows) -> Rows | None:
        """End the hold; or, if there is none, let the chain runs start that wait now."""
        if rows.archived or not (rows.claim.held or self.waiting(rows)):
            return None
        rows = self.expire(rows)
        if rows.claim.held:
            return self._noting(rows, held=False)
        runs = rows.chain_runs
        for j in self.waiting(rows):
            runs = put(runs, j, runs[j]._replace(released=True))
        return rows._replace(chain_runs=runs)

    def waiting(self, rows: Rows) -> list[int]:
        """The chain runs that wait, and that nobody has released."""
        due = self.claimable(rows, by_hand=True)
        return [j for j in due if not self.waits_for_nothing(rows, j)]

    def plan_rerun(self, rows: Rows) -> Rows | None:
        """Make the step due again, with what led to it in the present activations."""
        if rows.archived or rows.claim.held or rows.claim.rerun >= 0 or self.is_in_use(rows):
            return None
        rows = self.expire(rows)
        runs = rows.chain_runs
        for j in self.reopened(rows):
            runs = put(runs, j, runs[j]._replace(status="P", tries=0))
        return self._noting(rows._replace(chain_runs=runs), rerun=0)

    def is_in_use(self, rows: Rows) -> bool:
        """Whether somebody runs the step, or works on it."""
        return bool(rows.claim.owner) and not self.has_expired(rows)

    def reopened(self, rows: Rows) -> list[int]:
        """The chain runs that a rerun lets be served again, with all of their tries."""
        return [
            j
            for j, run in enumerate(rows.chain_runs)
            if run.status in "PF" and self.is_current(rows, j)
        ]

    def _noting(self, rows: Rows, **change: int) -> Rows:
        return rows._replace(claim=rows.claim._replace(**change))

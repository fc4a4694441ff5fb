"""What the database does, as functions from rows to rows.

One step is chained to, from the batches of the step before it. There is one method for each named
query, or transaction of several, that touches these rows; ``replay.py`` compares each of them with
the product's own on a real PostgreSQL. A statement or a plan that is refused returns None.
"""

from collections.abc import Iterator

from tests.model.rows import MOST_TRIES, Batch, ChainRun, Claim, Rows, StepRun, put

LASTS_SECONDS = 90  # a claim, after its last beat
SWEEP_WAITS = 2  # ticks, in place of three intervals


class Statements:
    """What the database does. A mutant of the protocol overrides one of these methods."""

    def __init__(self, *, activations: int, rule: str, tick_seconds: float) -> None:
        self.activations = activations  # of each batch, at most
        self.rule = rule  # the endings after which the next step is due
        self.expires = round(LASTS_SECONDS / tick_seconds)

    # --- Batches.

    def row_of(self, b: int, activation: int) -> int:
        return b * self.activations + activation - 1

    def is_current(self, rows: Rows, j: int) -> bool:
        """Whether the batch of a chain run is still in the activation that it is about."""
        return rows.batches[j // self.activations].activation == j % self.activations + 1

    def activate(self, rows: Rows, b: int) -> Rows | None:
        """A person submits a batch, or lets one that has ended be watched anew."""
        batch = rows.batches[b]
        if batch.status == "A":
            return None
        again = batch._replace(status="A", activation=batch.activation + 1, age=0)
        return rows._replace(batches=put(rows.batches, b, again))

    def end(self, rows: Rows, b: int, status: str) -> Rows:
        """Our transaction: the batch ends, and the next step is due; both or nothing."""
        ended = self.end_elsewhere(rows, b, status)
        batch = ended.batches[b]
        concluded = put(ended.batches, b, batch._replace(concluded=batch.activation))
        return self.make_due(ended._replace(batches=concluded), b)

    def end_elsewhere(self, rows: Rows, b: int, status: str) -> Rows:
        """Another tool ends a batch by SQL."""
        batch = rows.batches[b]._replace(status=status, age=0)
        runs = tuple(run._replace(since=run.since & ~(1 << b)) for run in rows.step_runs)
        return rows._replace(batches=put(rows.batches, b, batch), step_runs=runs)

    def make_due(self, rows: Rows, b: int) -> Rows:
        """Write the chain run of an ending that the rule names, unique per activation."""
        batch = rows.batches[b]
        j = self.row_of(b, batch.activation)
        if batch.status not in self.rule or rows.chain_runs[j].status != "-":
            return rows
        return rows._replace(chain_runs=put(rows.chain_runs, j, ChainRun("P")))

    def is_unconcluded(self, rows: Rows, b: int) -> bool:
        batch = rows.batches[b]
        return (
            not rows.archived
            and batch.status in "CFX"
            and batch.concluded != batch.activation
            and batch.age >= SWEEP_WAITS
        )

    def conclude(self, rows: Rows, b: int) -> Rows | None:
        """The sweep: conclude the ending that another tool wrote, after a while."""
        if not self.is_unconcluded(rows, b):
            return None
        if not self.has_run_since(rows, b):
            rows = self.make_due(rows, b)
        batch = rows.batches[b]
        return rows._replace(
            batches=put(rows.batches, b, batch._replace(concluded=batch.activation))
        )

    def has_run_since(self, rows: Rows, b: int) -> bool:
        return any(run.since >> b & 1 and run.status != "S" for run in rows.step_runs)

    def archive(self, rows: Rows) -> Rows:
        """A person archives the cycle, or opens it again; by SQL at any time."""
        return rows._replace(archived=not rows.archived)

    # --- What a chain run waits for.

    def waits(self, rows: Rows, j: int) -> bool:
        """Whether a chain run waits for another batch, or for a run that no claim names."""
        b = j // self.activations
        others = (batch for n, batch in enumerate(rows.batches) if n != b)
        return any(map(self.holds, others)) or any(
            run.status == "A" and run.since >> b & 1 and rows.claim.run != n
            for n, run in enumerate(rows.step_runs, 1)
        )

    def holds(self, other: Batch) -> bool:
        if other.status in "IX":
            return False
        return other.status not in self.rule or other.concluded != other.activation

    def claimable(self, rows: Rows, *, by_hand: bool) -> list[int]:
        """The chain runs that a claim would serve."""
        return [
            j
            for j, run in enumerate(rows.chain_runs)
            if run.status == "P"
            and not rows.archived
            and self.is_current(rows, j)
            and (by_hand or (run.tries < MOST_TRIES and self.waits_for_nothing(rows, j)))
        ]

    def waits_for_nothing(self, rows: Rows, j: int) -> bool:
        return rows.chain_runs[j].released or not self.waits(rows, j)

    # --- Claims.

    def is_free(self, rows: Rows) -> bool:
        return not rows.claim.owner

    def has_expired(self, rows: Rows) -> bool:
        return bool(rows.claim.owner) and rows.claim.age >= self.expires

    def expire(self, rows: Rows) -> Rows:
        """Release the claim of an owner who has been silent for too long."""
        return self._released(rows) if self.has_expired(rows) else rows

    def claim_due(self, rows: Rows, owner: int) -> Rows | None:
        """A pass claims the step: for all chain runs that wait for nothing, or for a rerun."""
        rows = self.expire(rows)
        is_rerun = self.rerun_is_due(rows)
        due = self.claimable(rows, by_hand=is_rerun)
        if rows.claim.held or not (due or is_rerun):
            return None
        return self._take(rows, owner, due)

    def rerun_is_due(self, rows: Rows) -> bool:
        return not rows.archived and 0 <= rows.claim.rerun < MOST_TRIES

    def claim_step(self, rows: Rows, owner: int) -> Rows | None:
        """A person claims the step, due or not, with the chain runs that wait too."""
        rows = self.expire(rows)
        return self._take(rows, owner, self.claimable(rows, by_hand=True))

    def claim_for_work(self, rows: Rows, owner: int) -> Rows | None:
        """A person's kernel claims the step for what it does there; it serves nothing."""
        return self._take(self.expire(rows), owner, [], tries=0)

    def _take(self, rows: Rows, owner: int, due: list[int], *, tries: int = 1) -> Rows | None:
        """Take the claim if it is free; what is due, a rerun too, has had one more try."""
        if not self.is_free(rows):
            return None
        attempt, rerun = self.next_attempt(rows.claim), rows.claim.rerun
        runs = rows.chain_runs
        for j in due:
            had = min(runs[j].tries + tries, MOST_TRIES)
            runs = put(runs, j, runs[j]._replace(status="R", tries=had, served_by=attempt))
        if rerun >= 0:
            rerun = min(rerun + tries, MOST_TRIES)
        claim = Claim(owner, attempt, held=rows.claim.held, rerun=rerun)
        return rows._replace(claim=claim, chain_runs=runs)

    def next_attempt(self, claim: Claim) -> int:
        return claim.attempt + 1

    def guard(self, rows: Rows, owner: int, attempt: int) -> bool:
        """What every write of an owner is compared with."""
        return rows.claim.owner == owner and rows.claim.attempt == attempt

    def renew(self, rows: Rows, owner: int, attempt: int) -> Rows | None:
        """A beat."""
        if not self.guard(rows, owner, attempt):
            return None
        return rows._replace(claim=rows.claim._replace(age=0))

    def note_start(self, rows: Rows, owner: int, attempt: int) -> Rows | None:
        """Log the step run that is about to begin; one of an unanswered try has failed."""
        if not self.guard(rows, owner, attempt) or rows.claim.verdict:
            return None
        runs = rows.step_runs
        if rows.claim.run and runs[rows.claim.run - 1].status == "A":
            runs = put(runs, rows.claim.run - 1, runs[rows.claim.run - 1]._replace(status="S"))
        runs = (*runs, StepRun(since=self.ended(rows)))
        return rows._replace(claim=rows.claim._replace(run=len(runs), age=0), step_runs=runs)

    def ended(self, rows: Rows) -> int:
        """A bit for each batch that has ended."""
        return sum(1 << b for b, batch in enumerate(rows.batches) if batch.status in "CFX")

    def log_own_run(self, rows: Rows, by: str, status: str = "A") -> Rows:
        """A notebook, or an older monitor, logs a run of the step by itself."""
        return rows._replace(step_runs=(*rows.step_runs, StepRun(status, by, self.ended(rows))))

    def finish_own_run(self, rows: Rows, by: str, status: str) -> Rows | None:
        """Whoever has logged a run by itself logs its end."""
        for n in reversed(range(len(rows.step_runs))):
            run = rows.step_runs[n]
            if run.by == by and run.status == "A":
                runs = put(rows.step_runs, n, run._replace(status=status))
                return rows._replace(step_runs=runs)
        return None

    def adopted(self, rows: Rows) -> int:
        """The run that the notebook has logged itself, in place of ours; 0 if there is none."""
        own = rows.claim.run
        return len(rows.step_runs) if own and len(rows.step_runs) > own else 0

    def record(self, rows: Rows, owner: int, attempt: int, status: str) -> Rows | None:
        """The verdict: on the claim, the chain runs that it serves, and the step run."""
        claim = rows.claim
        if not self.guard(rows, owner, attempt) or claim.verdict:
            return None
        runs, named = rows.step_runs, claim.run
        if noted := self.adopted(rows):
            status = "F" if "F" in (status, runs[noted - 1].status) else "C"
            runs, named = (*runs[: named - 1], *runs[named:]), noted - 1
        if named:
            runs = put(runs, named - 1, runs[named - 1]._replace(status=status))
        return rows._replace(
            claim=claim._replace(verdict=status, run=named, age=0, rerun=-1),
            chain_runs=self.concluded_runs(rows, attempt, status),
            step_runs=runs,
        )

    def concluded_runs(self, rows: Rows, attempt: int, status: str) -> tuple[ChainRun, ...]:
        """Verdict on the chain runs of a claim; one whose batch is active again is cancelled."""
        return tuple(
            run._replace(status=status if self.is_current(rows, j) else "X")
            if run.status == "R" and run.served_by == attempt
            else run
            for j, run in enumerate(rows.chain_runs)
        )

    def release(self, rows: Rows, owner: int, attempt: int) -> Rows | None:
        """Release a claim; without a verdict, what it served is due again."""
        return self._released(rows) if self.guard(rows, owner, attempt) else None

    def _released(self, rows: Rows) -> Rows:
        claim = rows.claim
        due_again = tuple(
            run._replace(status="P")
            if run.status == "R" and run.served_by == claim.attempt
            else run
            for run in rows.chain_runs
        )
        stopped = tuple(
            run._replace(status="S")
            if run.status == "A" and claim.run and not claim.verdict and n >= claim.run
            else run
            for n, run in enumerate(rows.step_runs, 1)
        )
        return rows._replace(
            claim=claim._replace(owner=0, age=0, run=0, verdict=""),
            chain_runs=due_again,
            step_runs=stopped,
        )

    def give_up(self, rows: Rows) -> Rows:
        """Cancel the chain runs that were overtaken; give up what has no try left."""
        rows = self.expire(rows)
        if rows.claim.rerun >= MOST_TRIES and not rows.claim.owner:
            rows = rows._replace(claim=rows.claim._replace(rerun=-1))
        return rows._replace(chain_runs=tuple(self._pruned(rows)))

    def _pruned(self, rows: Rows) -> Iterator[ChainRun]:
        for j, run in enumerate(rows.chain_runs):
            if run.status != "P":
                yield run
            elif not self.is_current(rows, j):
                yield run._replace(status="X")
            else:
                yield run._replace(status="F") if run.tries >= MOST_TRIES else run

"""The protocol with one thing taken away each: a search has to find what breaks then.

Each mutant overrides one method or attribute of the model, and names the smallest team and the
faults with which the search finds it.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

from tests.model.promises import Checked
from tests.model.rows import Batch, ChainRun, Claim, Rows, StepRun
from tests.model.world import Move, Runner, Wire, World


class Mutant(Checked):
    """A protocol that lacks something; the docstring says what."""

    team: ClassVar[dict[str, Any]] = {}


class DueRowIsNotAtomic(Mutant):
    """The transaction that ends a batch does not write the chain run; a later one does."""

    def end(self, rows: Rows, b: int, status: str) -> Rows:
        ended = super().end(rows, b, status)
        return ended._replace(chain_runs=rows.chain_runs)

    def ends(self, world: World, b: int, status: str, by: str = "s") -> Move:
        move = super().ends(world, b, status, by)
        return move._replace(world=move.world._replace(wire=Wire("chain run", 0, 0, False)))

    def wire_moves(self, world: World, wire: Wire) -> Iterator[Move]:
        done = world._replace(wire=None)
        yield Move("f", "the pass is killed before it writes the chain run", done)
        due = self.make_due(world.rows, 0)  # of the only batch
        yield Move("s", "the pass writes the chain run", done._replace(rows=due))


class NoWatchdog(Mutant):
    """Nobody ends a kernel whose monitor was killed."""

    team: ClassVar = {"crash": 1}
    has_watchdog = False


class LiveClaimIsStolen(Mutant):
    """A claim is taken from an owner who still renews it."""

    def has_expired(self, rows: Rows) -> bool:
        return bool(rows.claim.owner)


class NoStepLock(Mutant):
    """What is claimed is a chain run, and not its step."""

    team: ClassVar = {"batches": 2, "rule": "CA"}  # siblings do not hold

    def _take(self, rows: Rows, owner: int, due: list[int], *, tries: int = 1) -> Rows | None:
        free = rows._replace(claim=rows.claim._replace(owner=0))
        return super()._take(free, owner, due[:1], tries=tries)


class LiveRunIsCancelled(Mutant):
    """A chain run whose batch is active again is cancelled while its notebook runs."""

    team: ClassVar = {"resubmit": 1, "activations": 2}

    def give_up(self, rows: Rows) -> Rows:
        served = [run.status == "R" for run in rows.chain_runs]
        overtaken = [
            j for j, is_served in enumerate(served) if is_served and not self.is_current(rows, j)
        ]
        if overtaken and sum(served) == len(overtaken):
            rows = self._released(rows)
        return super().give_up(rows)


class SilenceOutlivesTheClaim(Mutant):
    """The watchdog waits for as long as the claim lasts."""

    team: ClassVar = {"cut": 1}
    silence_seconds = 90.0


class NoActivationCheck(Mutant):
    """A claim serves chain runs of activations that are over."""

    team: ClassVar = {"resubmit": 1, "activations": 2}

    def claimable(self, rows: Rows, *, by_hand: bool) -> list[int]:
        return [j for j, run in enumerate(rows.chain_runs) if run.status == "P"]


class StartIsNotGuarded(Mutant):
    """The note of a start does not ask whether the claim is still held."""

    team: ClassVar = {"freeze": 1}
    start_is_guarded = False


class OwnerSurvivesRestarts(Mutant):
    """An owner is a host and a service, the same after a restart, and stands for its attempt."""

    team: ClassVar = {"crash": 1, "interrupt": 1, "wire": True}
    owner_ids_are_unique = False

    def guard(self, rows: Rows, owner: int, attempt: int) -> bool:
        return rows.claim.owner == owner


class AttemptIsNotCompared(Mutant):
    """A write compares the owner, and not the attempt."""

    team: ClassVar = {"cut": 1, "interrupt": 1, "wire": True}

    def guard(self, rows: Rows, owner: int, attempt: int) -> bool:
        return rows.claim.owner == owner


class AttemptsStartAgain(Mutant):
    """The attempt is counted from one again after each release."""

    team: ClassVar = {"cut": 1, "interrupt": 1, "wire": True}

    def next_attempt(self, claim: Claim) -> int:
        return 1


class NoLease(Mutant):
    """The monitor itself watches its kernel, and is frozen with that watch."""

    team: ClassVar = {"freeze": 1}
    watchdog_holds_lease = False


class StartNeedsNoLease(Mutant):
    """A watchdog starts a kernel however long ago the start was noted."""

    team: ClassVar = {"freeze": 1}
    start_needs_lease = False


class RenewalsLoseTheirTime(Mutant):
    """A renewal counts from when the watchdog reads it."""

    team: ClassVar = {"freeze": 2, "split_beats": True}
    renewals_carry_their_time = False


class ReleaseAfterFinish(Mutant):
    """The claim is released when the notebook is over, whatever of its kernel still runs."""

    team: ClassVar = {"interrupt": 1}
    release_waits_for_kernel = False


class RecordingGivesUp(Mutant):
    """A verdict that finds the database away for 30 s is dropped."""

    team: ClassVar = {"outage": 1, "short_outage": 2}
    recording_gives_up = True


class ChainRunsEndWithTheRelease(Mutant):
    """The verdict is written to the claim, and to the chain runs when it is released."""

    team: ClassVar = {"crash": 1}

    def concluded_runs(self, rows: Rows, attempt: int, status: str) -> tuple[ChainRun, ...]:
        return rows.chain_runs

    def release(self, rows: Rows, owner: int, attempt: int) -> Rows | None:
        if self.guard(rows, owner, attempt) and rows.claim.verdict:
            ended = super().concluded_runs(rows, attempt, rows.claim.verdict)
            rows = rows._replace(chain_runs=ended)
        return super().release(rows, owner, attempt)


class SiblingsDoNotHold(Mutant):
    """A step is claimed while another batch of the step before it is active."""

    team: ClassVar = {"batches": 2}

    def holds(self, other: Batch) -> bool:
        return False


class ReleaseByHandIsForAll(Mutant):
    """A chain run that a person releases takes all others of its step with it."""

    team: ClassVar = {"monitors": 1, "batches": 3, "releases": True}

    def waits_for_nothing(self, rows: Rows, j: int) -> bool:
        return super().waits_for_nothing(rows, j) or any(run.released for run in rows.chain_runs)


class ClaimsDoNotExpire(Mutant):
    """The claim of an owner who was killed stays."""

    team: ClassVar = {"crash": 1}

    def has_expired(self, rows: Rows) -> bool:
        return False


class StoppedIsNotDueAgain(Mutant):
    """A release without a verdict leaves the chain runs as they are."""

    team: ClassVar = {"interrupt": 1}

    def _released(self, rows: Rows) -> Rows:
        return super()._released(rows)._replace(chain_runs=rows.chain_runs)


class SweepDoesNotWait(Mutant):
    """The sweep concludes an ending of an older monitor at once."""

    team: ClassVar = {"older": "chains"}

    def is_unconcluded(self, rows: Rows, b: int) -> bool:
        batch = rows.batches[b]
        return batch.status in "CFX" and batch.concluded != batch.activation


class SweepIsBlind(Mutant):
    """The sweep does not ask whether the step has run since."""

    team: ClassVar = {"older": "chains"}

    def has_run_since(self, rows: Rows, b: int) -> bool:
        return False


class SweepNeverConcludes(Mutant):
    """Nobody looks for the endings that another tool wrote."""

    team: ClassVar = {"older": "stays"}

    def conclude(self, rows: Rows, b: int) -> Rows | None:
        return None


class RunsThatNobodyClaimsDoNotHold(Mutant):
    """A run that an older monitor has started since holds nothing."""

    team: ClassVar = {"older": "chains", "batches": 2}

    def waits(self, rows: Rows, j: int) -> bool:
        return super().waits(rows._replace(step_runs=tuple[StepRun, ...]()), j)


class HoldIsReadBeforeTheClaim(Mutant):
    """A pass reads the hold in a statement of its own, before the one that takes the claim."""

    team: ClassVar = {"monitors": 1, "hold": 1}

    def pass_moves(self, world: World, i: int, runner: Runner) -> Iterator[Move]:
        looked = Wire("look", self.owner(i, runner), 0, False)
        if self.claim_due(world.rows, looked.owner) and not world.wire:
            event = f"{self.name(i)} finds the step due, and not held"
            yield Move("s", event, world._replace(wire=looked))

    def wire_moves(self, world: World, wire: Wire) -> Iterator[Move]:
        rows, held = world.rows, world.rows.claim.held
        free = rows._replace(claim=rows.claim._replace(held=False))
        claimed = self.claim_due(free, wire.owner)
        if claimed is not None:
            claimed = claimed._replace(claim=claimed.claim._replace(held=held))
            looked, action = world._replace(wire=None), ("claim_due", wire.owner)
            yield self.claims(looked, 0, world.runners[0], claimed, action)


class RerunOutlivesItsVerdict(Mutant):
    """A verdict leaves the rerun due that it is about."""

    team: ClassVar = {"rerun": 1}

    def record(self, rows: Rows, owner: int, attempt: int, status: str) -> Rows | None:
        after = super().record(rows, owner, attempt, status)
        return after and after._replace(claim=after.claim._replace(rerun=rows.claim.rerun))


class RerunEndsWithItsClaim(Mutant):
    """A rerun is closed by the claim that serves it, whatever comes of it."""

    team: ClassVar = {"rerun": 1, "crash": 1}

    def _take(self, rows: Rows, owner: int, due: list[int], *, tries: int = 1) -> Rows | None:
        taken = super()._take(rows, owner, due, tries=tries)
        return taken and taken._replace(claim=taken.claim._replace(rerun=-1))


class RunningStepIsMadeDue(Mutant):
    """A rerun is made due while the step runs, and its verdict is taken for that of the rerun."""

    team: ClassVar = {"rerun": 1}

    def is_in_use(self, rows: Rows) -> bool:
        return False


class RerunServesPastActivations(Mutant):
    """A rerun serves all that ever led to the step."""

    team: ClassVar = {"rerun": 1, "resubmit": 1, "activations": 2}

    def claimable(self, rows: Rows, *, by_hand: bool) -> list[int]:
        if self.rerun_is_due(rows):
            return [j for j, run in enumerate(rows.chain_runs) if run.status == "P"]
        return super().claimable(rows, by_hand=by_hand)


class HandsAskNobody(Mutant):
    """What acts in a person's kernel does not ask whether its claim is still renewed."""

    team: ClassVar = {"verb": 1, "freeze": 1}
    acts_are_guarded = False


MUTANTS: tuple[type[Mutant], ...] = tuple(Mutant.__subclasses__())

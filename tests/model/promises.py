"""What must hold in every state, in the words of ``docs/architecture.md``.

``PROMISES`` maps the short name by which a search reports a broken promise to the sentence of the
document. ``Checked`` adds to the team what a search needs: which promise a state breaks, whether
it is good (the next step has run, can run, or a person is shown why not), and its normal form.
"""

from functools import cached_property

from tests.model.rows import ChainRun, Rows, StepRun
from tests.model.team import Team
from tests.model.world import ALIVE, Runner, World

PROMISES = {
    "beside": "A step runs once at a time.",
    "stuck": "nothing lost, nothing twice, nothing silently stuck",
    "lost": "A chain run is given up after three tries of its own.",
    "over": "Each activation may complete, chain and notify once.",
    "again": "A claim that expires with a verdict is closed and never run again.",
    "twice": "A notebook that *fails* is not tried again: people look first.",
    "overtaken": (
        "every write of an owner compares owner *and* attempt, so that one that arrives late, or "
        "comes from an owner who was overtaken, changes nothing"
    ),
    "waits": "Waiting is a predicate of the claim",
    "held": "no pass starts a step once its hold is committed",
    "due": "A rerun is due until a run of its step has a verdict, and given up after three tries",
    "acts": "in an open notebook the calls that act hold the claim while they act",
    "swept": (
        "makes the next step due only if no run of that step has started since that goes on or has "
        "ended by itself; otherwise it shows that"
    ),
}


class Checked(Team):
    """A team whose promises are checked."""

    is_alike = True  # monitors are distinguished only in traces

    def broken(self, world: World) -> str:
        """Return which promise this state breaks; empty if none."""
        kernels = sum(runner.kernel > 0 for runner in world.runners)
        if kernels > 1:
            return "beside"
        if world.starts and max(world.starts) > 1:
            return "swept" if self.older else "twice"
        return "due" if world.rows.claim.verdict and world.rows.claim.rerun >= 0 else ""

    def is_good(self, world: World) -> bool:
        """Whether nothing is due, except for what people are shown."""
        rows = world.rows
        if rows.archived:
            return True
        is_held, is_due = rows.claim.held, rows.claim.rerun >= 0
        if (is_due and not is_held) or (world.unserved & self.wanted_again(rows) and not is_due):
            return False
        for b, batch in enumerate(rows.batches):
            if batch.status in "IA":
                continue
            run = rows.chain_runs[self.row_of(b, batch.activation)]
            if batch.concluded != batch.activation or run.status == "R":
                return False
            is_shown = is_held or self.waits(rows, self.row_of(b, batch.activation))
            if run.status == "P" and not is_shown:
                return False
            if run.status in "-X" and world.unserved >> b & 1:
                return False
        return True

    # --- The normal form.

    def canonical(self, world: World) -> World:
        """The same world in fewer words: what makes no difference any more is left out."""
        rows = self._short.get(world.rows)
        if rows is None:
            rows = self._short[world.rows] = self._rows(world.rows)
        counts = world.starts
        if counts and not (self.is_clean(world) or self.short_outage):
            counts = ()
        runners = tuple(map(self._runner, world.runners))
        world = world._replace(rows=rows, runners=runners, starts=counts)
        world = self._renumbered(world)
        return self._in_order(world) if self.is_alike and self.monitors > 1 else world

    @cached_property
    def _short(self) -> dict[Rows, Rows]:
        """The rows that were shortened before: many worlds share them."""
        return {}

    def _rows(self, rows: Rows) -> Rows:
        runs = tuple(self._chain_run(rows, j) for j in range(len(rows.chain_runs)))
        rows = rows._replace(chain_runs=runs)
        if rows.claim.verdict == "F":  # as over as after a success
            rows = rows._replace(claim=rows.claim._replace(verdict="C"))
        return self._step_runs(rows) if rows.step_runs else rows

    def _runner(self, runner: Runner) -> Runner:
        """A lease is asked for by a watchdog only; all else asks whether a beat is owed."""
        owes = min(runner.lease, 1)
        if runner.kernel != ALIVE and runner.does not in "bw" and owes != runner.lease:
            runner = runner._replace(lease=owes)
        if runner.serves and runner.does not in "cb":
            runner = runner._replace(serves=0)
        return runner

    def _chain_run(self, rows: Rows, j: int) -> ChainRun:
        run = rows.chain_runs[j]
        if run.status == "P":
            return run._replace(served_by=0) if self.is_current(rows, j) else ChainRun("P")
        if run.status in "R-":
            return run
        if not self.is_current(rows, j) or run.status == "X":
            return ChainRun("X")
        return ChainRun(run.status if self.has_reruns else "C")

    def _step_runs(self, rows: Rows) -> Rows:
        """Leave out the runs that nobody asks for any more, and name the claim's anew."""
        unconcluded = sum(
            1 << b
            for b, batch in enumerate(rows.batches)
            if batch.status in "CFX" and batch.concluded != batch.activation
        )
        ended, own = self.ended(rows), rows.claim.run
        kept: list[StepRun] = []
        named = 0
        for n, run in enumerate(rows.step_runs, 1):
            may_be_adopted = own and n > own and not rows.claim.verdict
            since = run.since & (ended if run.status == "A" else unconcluded)
            if run.status != "S" and (n == own or run.status == "A" or since or may_be_adopted):
                is_open = may_be_adopted or run.status == "A"
                short = run._replace(since=since) if is_open else StepRun("C", "", since)
                if short not in kept or n == own or may_be_adopted:
                    kept.append(short)
                    named = len(kept) if n == own else named
        return rows._replace(step_runs=tuple(kept), claim=rows.claim._replace(run=named))

    def _renumbered(self, world: World) -> World:
        """Count attempts, and the lives of processes, from one again."""
        rows, claim, wire = world.rows, world.rows.claim, world.wire
        used = {0, claim.attempt, wire.attempt if wire else 0}
        used |= {run.served_by for run in rows.chain_runs if run.status == "R"}
        used |= {runner.attempt for runner in world.runners}
        if max(used) >= len(used):
            new = {attempt: n for n, attempt in enumerate(sorted(used))}
            runs = tuple(
                run._replace(served_by=new[run.served_by]) if run.status == "R" else run
                for run in rows.chain_runs
            )
            rows = rows._replace(claim=claim._replace(attempt=new[claim.attempt]), chain_runs=runs)
            wire = wire and wire._replace(attempt=new[wire.attempt])
            runners = tuple(r._replace(attempt=new[r.attempt]) for r in world.runners)
            world = world._replace(rows=rows, wire=wire, runners=runners)
        if any(runner.life for runner in world.runners):
            named = {claim.owner, wire.owner if wire else 0}
            runners = tuple(
                r if self._is_named(i, r, named) else r._replace(life=0)
                for i, r in enumerate(world.runners)
            )
            world = world._replace(runners=runners)
        return world

    def _is_named(self, i: int, runner: Runner, named: set[int]) -> bool:
        return any(owner and (owner - 1) % 4 == i for owner in named)

    def _in_order(self, world: World) -> World:
        """Put monitors, which are alike, in order."""
        claim, wire, runners = world.rows.claim, world.wire, world.runners
        of_claim = (claim.owner - 1) % 4 if claim.owner else -1
        of_wire = (wire.owner - 1) % 4 if wire else -1
        order = sorted(
            range(self.monitors), key=lambda i: (runners[i], i == of_claim, i == of_wire)
        )
        if order == list(range(self.monitors)):
            return world
        rank = {old: n for n, old in enumerate(order)}
        rows = world.rows
        if of_claim in rank:
            owner = claim.owner + rank[of_claim] - of_claim
            rows = rows._replace(claim=claim._replace(owner=owner))
        if wire and of_wire in rank:
            wire = wire._replace(owner=wire.owner + rank[of_wire] - of_wire)
        ordered = tuple(runners[i] for i in order) + runners[self.monitors :]
        return world._replace(rows=rows, runners=ordered, wire=wire)

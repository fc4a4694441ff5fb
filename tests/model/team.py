"""What the team does: batches that end, passes, an older monitor, an outage; people besides.

``Team.moves`` yields all that may happen next in a world; each move names the promise that it
would break, so that a search finds the shortest way to break one.
"""

from collections.abc import Iterator

from tests.model.people import People
from tests.model.rows import MOST_TRIES, Batch, ChainRun, Rows, put
from tests.model.statements import SWEEP_WAITS
from tests.model.world import IDLE_OLDER, SPENT, Move, Runner, Wire, World

WORDS = {"C": "completed", "F": "failed", "X": "cancelled"}


class Team(People):
    """Some monitors, perhaps a person and an older monitor, and how often each fault may strike."""

    def __init__(
        self,
        *,
        monitors: int = 2,
        batches: int = 1,
        first: Batch | None = None,
        endings: str = "C",
        rule: str = "C",
        activations: int = 1,
        older: str = "",  # "": none; chains: it starts the next step by itself; stays: it does not
        strict: bool = False,  # also about the limits of what can be done beside an older monitor
        releases: bool = False,
        wire: bool = False,
        split_beats: bool = False,
        short_outage: int = 0,
        most_faults: int = 0,
        most_deeds: int = 0,
        tick_seconds: float = 15,
        **budget: int,
    ) -> None:
        super().__init__(activations=activations, rule=rule, tick_seconds=tick_seconds)
        self.silence = round(self.silence_seconds / tick_seconds)
        self.monitors, self.endings, self.older = monitors, endings, older
        self.releases, self.wired, self.split_beats = releases, wire, split_beats
        self.short_outage, self.is_strict = short_outage, strict
        self.most_faults, self.most_deeds = most_faults, most_deeds
        self._passes = f"{tick_seconds:g} s pass"
        assert set(budget) <= set(SPENT), budget
        self.has_reruns = bool(budget.get("rerun"))
        self.budget = tuple(budget.get(name, 0) for name in SPENT)
        people = 1 if budget.get("hand") or budget.get("verb") else 0
        rows = Rows(
            (first or Batch(),) + (Batch(),) * (batches - 1),
            (ChainRun(),) * (batches * activations),
        )
        self.first = World(
            rows,
            (Runner(),) * (monitors + people),
            starts=(0,) * len(rows.chain_runs),
            budget=self.budget,
        )

    # --- Everything that may happen next.

    def moves(self, world: World) -> Iterator[Move]:
        """Yield what may happen next, and which promise it would break."""
        if not world.down:
            yield from self.batch_moves(world)
            if world.wire:
                yield from self.wire_moves(world, world.wire)
        for i, runner in enumerate(world.runners):
            if runner.does == "i" and runner.mode == "U" and not world.down:
                idle = self.pass_moves if i < self.monitors else self.hand_moves
                yield from idle(world, i, runner)
            elif runner.does == "w":
                yield from self.acts(world, i, runner)
            yield from self.process_moves(world, i, runner)
        if self.older:
            yield from self.older_moves(world)
        yield from self.outage_moves(world)
        if self.time_may_pass(world):
            yield Move("s", self._passes, self.tick(world))

    def batch_moves(self, world: World) -> Iterator[Move]:
        rows = world.rows
        for b, batch in enumerate(rows.batches):
            if batch.status == "A" and not rows.archived:
                for status in self.endings:
                    yield self.ends(world, b, status)
                if self.left(world, "cancel"):
                    yield self.ends(self.spend(world, "cancel"), b, "X", by="p")
            elif batch.activation < self.activations and not rows.archived:
                yield from self.activations_of(world, b)
        yield from self.cycle_moves(world)
        yield from self.plan_moves(world)

    def ends(self, world: World, b: int, status: str, by: str = "s") -> Move:
        """A batch ends, in a pass or by a person's hand."""
        rows = self.end(world.rows, b, status)
        after = world._replace(rows=rows, unserved=self.unserved_after(world, b, status))
        event = f"batch {b + 1} ends as {WORDS[status]}"
        return Move(by, event, after, action=("end", b, status))

    def unserved_after(self, world: World, b: int, status: str) -> int:
        return world.unserved & ~(1 << b) | (status in self.rule) << b

    def activations_of(self, world: World, b: int) -> Iterator[Move]:
        batch = world.rows.batches[b]
        if batch.status != "I" and not self.left(world, "resubmit"):
            return
        rows = self.activate(world.rows, b)
        if rows is not None:
            after = world if batch.status == "I" else self.spend(world, "resubmit")
            after = after._replace(rows=rows, unserved=world.unserved & ~(1 << b))
            verb = "submits" if batch.status == "I" else "resubmits"
            yield Move("p", f"the person {verb} batch {b + 1}", after, action=("activate", b))

    def wire_moves(self, world: World, wire: Wire) -> Iterator[Move]:
        who = self.name((wire.owner - 1) % 4)
        done = world._replace(wire=None)
        yield Move("s", f"the {wire.kind} of {who} is lost on its way", done)
        if wire.kind == "claim":
            rows = self.claim_due(world.rows, wire.owner)
            if rows is not None:
                event = f"the claim of {who} arrives, and no reply reaches it"
                yield Move("s", event, self.overtake(done, rows), action=("claim_due", wire.owner))
            return
        act = {"verdict": self.record_success, "release": self.release, "beat": self.renew}[
            wire.kind
        ]
        rows = act(world.rows, wire.owner, wire.attempt)
        if rows is not None:
            broken = "overtaken" if wire.overtaken else ""
            event = f"the {wire.kind} of {who} arrives late"
            yield Move("s", event, done._replace(rows=rows), broken)

    def record_success(self, rows: Rows, owner: int, attempt: int) -> Rows | None:
        return self.record(rows, owner, attempt, "C")

    def pass_moves(self, world: World, i: int, runner: Runner) -> Iterator[Move]:
        """What a pass does: conclude, give up, claim."""
        who, rows = self.name(i), world.rows
        if self.older:
            for b in range(len(rows.batches)):
                yield from self.sweep_moves(world, i, b)
        pruned = self.give_up(rows)
        if pruned != rows:
            unserved = world.unserved
            if pruned.claim.rerun != rows.claim.rerun:
                unserved &= ~self.wanted_again(rows)
            after = world._replace(rows=pruned, unserved=unserved)
            event = f"{who} gives up what has had its tries"
            yield Move("s", event, after, self.given_up_early(rows, pruned), ("give_up",))
        claimed = self.claim_due(rows, self.owner(i, runner))
        if claimed is not None:
            action = ("claim_due", self.owner(i, runner))
            yield self.claims(world, i, runner, claimed, action)

    def given_up_early(self, before: Rows, after: Rows) -> str:
        """Which promise is broken by giving up what has a try left."""
        if after.claim.rerun < before.claim.rerun < MOST_TRIES:
            return "due"
        chain_runs = zip(after.chain_runs, before.chain_runs, strict=True)
        is_early = any(
            run.status == "F" and was.status == "P" and was.tries < MOST_TRIES
            for run, was in chain_runs
        )
        return "lost" if is_early else ""

    def sweep_moves(self, world: World, i: int, b: int) -> Iterator[Move]:
        rows = self.conclude(world.rows, b)
        if rows is None:
            return
        made_due = rows.chain_runs != world.rows.chain_runs
        unserved = world.unserved if made_due else world.unserved & ~(1 << b)
        what = "makes the step due after" if made_due else "only shows"
        event = f"the sweep of {self.name(i)} {what} batch {b + 1}"
        after = world._replace(rows=rows, unserved=unserved)
        broken = "over" if rows.batches[b].status == "A" else ""
        yield Move("s", event, after, broken, ("conclude", b))

    # --- An older monitor, and an outage.

    def older_moves(self, world: World) -> Iterator[Move]:
        """A tool of before, which ends batches by SQL and may start the next step by itself."""
        state, j = world.older
        if state != "i":
            dead = world._replace(older=IDLE_OLDER)
            yield Move("f", "the older monitor dies", dead)
        if world.down:
            return
        if state == "i" and not world.rows.archived:
            for b, batch in enumerate(world.rows.batches):
                for status in self.endings if batch.status == "A" else "":
                    yield self.ends_elsewhere(world, b, status)
        elif state == "d":
            yield self.older_starts(world, j)
        elif state in "kl":
            ended = self.finish_own_run(world.rows, "older", "C") or world.rows
            after = world._replace(rows=ended, older=IDLE_OLDER)
            action = ("finish_own_run", "older", "C")
            yield Move("s", "the older monitor's kernel ends", after, action=action)

    def ends_elsewhere(self, world: World, b: int, status: str) -> Move:
        chains = status in self.rule and self.older == "chains"
        j = self.row_of(b, world.rows.batches[b].activation)
        after = world._replace(
            rows=self.end_elsewhere(world.rows, b, status),
            older=("d", j) if chains else IDLE_OLDER,
            unserved=self.unserved_after(world, b, status),
        )
        event = f"the older monitor ends batch {b + 1} as {WORDS[status]}"
        return Move("s", event, after, action=("end_elsewhere", b, status))

    def older_starts(self, world: World, j: int) -> Move:
        """It starts the step for an ending: in time, or after the sweep has waited for it."""
        batch, starts = world.rows.batches[j // self.activations], world.starts
        is_late = batch.age >= SWEEP_WAITS
        if starts and (self.is_strict or not is_late) and self.is_current(world.rows, j):
            starts = put(starts, j, starts[j] + 1)
        after = world._replace(
            rows=self.log_own_run(world.rows, "older"),
            older=("l" if is_late else "k", j),
            unserved=0,
            starts=starts,
        )
        return Move("s", "the older monitor runs the step", after, action=("log_own_run", "older"))

    def outage_moves(self, world: World) -> Iterator[Move]:
        if world.down:
            yield Move("s", "the database is back", world._replace(down=0))
        # Beats come every 3 s, not every tick: a short outage begins right behind one.
        elif self.left(world, "outage") and not (
            self.short_outage and any(runner.lease for runner in world.runners)
        ):
            gone = self.spend(world, "outage")._replace(down=1)
            yield Move("f", "the database is gone", gone)

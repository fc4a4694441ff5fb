"""What people do by hand: they run the step, work in it, and plan for it and its cycle."""

from collections.abc import Iterator
from typing import Any

from tests.model.processes import Processes
from tests.model.rows import Rows, put
from tests.model.world import Move, Runner, World


class People(Processes):
    """A person beside the monitors; what claims the step, theirs and a pass's, is here too."""

    acts_are_guarded = True  # in a person's kernel, by its last confirmed beat
    releases = has_reruns = is_strict = False

    def after(self, j: int) -> str:
        return f"after batch {j // self.activations + 1}"

    def overtake(self, world: World, rows: Rows) -> World:
        """After a claim was taken: whoever had claimed the step before is overtaken."""
        runners = tuple(r._replace(overtaken=True) if r.attempt else r for r in world.runners)
        wire = world.wire and world.wire._replace(overtaken=True)
        return world._replace(rows=rows, runners=runners, wire=wire)

    def claims(
        self, world: World, i: int, runner: Runner, rows: Rows, action: tuple[Any, ...]
    ) -> Move:
        """A process has claimed the step."""
        does = "w" if action[0] == "claim_for_work" else "c"
        held = self.overtake(world, rows)
        served = [
            j
            for j, run in enumerate(rows.chain_runs)
            if run.status == "R" and run.served_by == rows.claim.attempt
        ]
        after = self.now(
            held,
            i,
            runner,
            does=does,
            attempt=rows.claim.attempt,
            serves=sum(1 << j for j in served),
        )
        for_what = " and ".join(map(self.after, served)) or "without a chain run"
        event = f"{self.name(i)} claims the step {for_what}"
        by = "s" if i < self.monitors else "p"
        broken = [self.broken_by_claim(world, rows, j, by) for j in served]
        if by == "s" and rows.claim.held:
            broken.append("held")
        return Move(by, event, after, next(filter(None, broken), ""), action)

    def broken_by_claim(self, before: World, rows: Rows, j: int, by: str) -> str:
        """Which promise a claim breaks by serving this chain run."""
        if not self.is_current(rows, j) or before.rows.chain_runs[j].status in "CFX":
            return "over"
        if before.rows.claim.verdict and before.rows.chain_runs[j].status == "R":
            return "again"
        if by == "p" or rows.chain_runs[j].released or self.rerun_is_due(before.rows):
            return ""
        b = j // self.activations
        if any(batch.status == "A" for n, batch in enumerate(rows.batches) if n != b):
            return "waits"
        is_beside = before.older[0] == "k" and (self.is_strict or self.has_run_since(rows, b))
        return "swept" if is_beside else ""

    def hand_moves(self, world: World, i: int, runner: Runner) -> Iterator[Move]:
        """What a person may begin: run the step, or work in a kernel of their own."""
        owner = self.owner(i, runner)
        if self.left(world, "hand"):
            rows = self.claim_step(world.rows, owner)
            if rows is not None:
                spent = self.spend(world, "hand")
                yield self.claims(spent, i, runner, rows, ("claim_step", owner))
        if self.left(world, "verb"):
            rows = self.claim_for_work(world.rows, owner)
            if rows is not None:
                spent = self.spend(world, "verb")
                yield self.claims(spent, i, runner, rows, ("claim_for_work", owner))

    def acts(self, world: World, i: int, runner: Runner) -> Iterator[Move]:
        """In an open notebook a call acts, which changes no row of the protocol."""
        if runner.mode == "U" and (runner.lease < self.silence or not self.acts_are_guarded):
            broken = "acts" if runner.overtaken else ""
            yield Move("p", f"{self.name(i)} submits a job", world, broken)

    def cycle_moves(self, world: World) -> Iterator[Move]:
        """What a person does about the cycle."""
        rows = world.rows
        if self.left(world, "archive") or rows.archived:
            after = world if rows.archived else self.spend(world, "archive")
            verb = "opens the cycle again" if rows.archived else "archives the cycle"
            after = after._replace(rows=self.archive(rows))
            yield Move("p", f"the person {verb}", after, action=("archive",))

    def plan_moves(self, world: World) -> Iterator[Move]:
        """What a person plans for the step, and applies at once."""
        rows = world.rows
        if self.left(world, "hold") and (held := self.hold_step(rows)) is not None:
            after = self.spend(world, "hold")._replace(rows=held)
            yield Move("p", "the person holds the step", after, action=("hold_step",))
        if self.releases or rows.claim.held:
            released = self.release_step(rows)
            if released is not None:
                what = "" if rows.claim.held else " from what it waits for"
                event = f"the person releases the step{what}"
                yield Move("p", event, world._replace(rows=released), action=("release_step",))
        if self.left(world, "rerun") and (due := self.plan_rerun(rows)) is not None:
            yield self.reruns(self.spend(world, "rerun"), due)

    def reruns(self, world: World, rows: Rows) -> Move:
        """The step is due once more, because a person says so."""
        starts = world.starts
        for j in self.reopened(world.rows) if starts else ():
            starts = put(starts, j, 0)
        after = world._replace(
            rows=rows, starts=starts, unserved=world.unserved | self.wanted_again(rows)
        )
        event = "the person wants the step run again"
        return Move("p", event, after, action=("plan_rerun",))

    def wanted_again(self, rows: Rows) -> int:
        """The bit of ``unserved`` that says that a rerun has not started a kernel yet."""
        return 1 << len(rows.batches)

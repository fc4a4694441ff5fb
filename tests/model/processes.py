"""What a process does: its statements, its heartbeat, its kernel with the watchdog, its faults.

A process that is up beats in every tick, and does what it owes within one. The watchdog of a
kernel is not frozen with its process, and knows when the last confirmed beat was sent.
"""

from collections.abc import Iterator
from typing import Any

from tests.model.plans import Plans
from tests.model.rows import put
from tests.model.statements import SWEEP_WAITS
from tests.model.world import (
    ALIVE,
    ENDING,
    FAULTS,
    IDLE,
    LATE,
    NONE,
    ORPHAN,
    SPENT,
    Move,
    Runner,
    Wire,
    World,
)

_MOST_DOWN = 7


class Processes(Plans):
    """Monitors and people's processes; a mutant changes one of these attributes."""

    silence_seconds = 45.0  # without a confirmed beat, after which a watchdog ends its kernel
    silence = 0  # in ticks
    has_watchdog = True
    watchdog_holds_lease = True
    renewals_carry_their_time = True
    start_needs_lease = True
    start_is_guarded = True
    recording_gives_up = False
    release_waits_for_kernel = True
    owner_ids_are_unique = True

    monitors = 2
    wired = split_beats = False
    short_outage = 0
    most_faults = most_deeds = 0  # altogether, of the system and of people; 0: as the budget says
    budget: tuple[int, ...] = ()

    def left(self, world: World, what: str) -> int:
        """How often this may still happen."""
        i = SPENT[what]
        if i < len(FAULTS):
            most, counted = self.most_faults, slice(len(FAULTS))
        else:
            most, counted = self.most_deeds, slice(len(FAULTS), None)
        if most and sum(self.budget[counted]) - sum(world.budget[counted]) >= most:
            return 0
        return world.budget[i]

    def spend(self, world: World, what: str) -> World:
        i = SPENT[what]
        return world._replace(budget=put(world.budget, i, world.budget[i] - 1))

    def is_clean(self, world: World) -> bool:
        """Whether no fault has struck yet."""
        return world.budget[: len(FAULTS)] == self.budget[: len(FAULTS)]

    def name(self, i: int) -> str:
        return f"monitor {i + 1}" if i < self.monitors else "the person"

    def owner(self, i: int, runner: Runner) -> int:
        return 1 + i + 4 * runner.life

    def now(self, world: World, i: int, runner: Runner, **change: Any) -> World:
        return world._replace(runners=put(world.runners, i, runner._replace(**change)))

    def process_moves(self, world: World, i: int, runner: Runner) -> Iterator[Move]:
        """All that one process, its kernel and its watchdog may do next."""
        if runner.does != "i":
            if runner.mode == "U" and not world.down:
                yield from self.statement_moves(world, i, runner)
            yield from self.kernel_moves(world, i, runner)
        if runner.kernel in (ENDING, LATE):
            after = self.now(world, i, runner, kernel=NONE)
            yield Move("s", f"the kernel of {self.name(i)} is gone", after)
        yield from self.fault_moves(world, i, runner)

    # --- What it asks of the database.

    def statement_moves(self, world: World, i: int, runner: Runner) -> Iterator[Move]:
        if runner.does == "c":
            yield self.begins(world, i, runner)
        if runner.does == "e":
            yield from self.verdicts(world, i, runner)
        gone = runner.kernel == NONE or not self.release_waits_for_kernel
        if runner.does in "vxw" and gone:
            yield self.releases_claim(world, i, runner)
        if runner.lease >= 1 and runner.renewal < 0:
            yield self.beats(world, i, runner)

    def written(self, runner: Runner) -> str:
        """Which promise a write of this process breaks."""
        return "overtaken" if runner.overtaken else ""

    def begins(self, world: World, i: int, runner: Runner) -> Move:
        action = ("note_start", self.owner(i, runner), runner.attempt)
        rows = self.note_start(world.rows, *action[1:])
        if rows is None:
            if not self.start_is_guarded:
                after = self.now(world, i, runner, does="b", lease=0)
                return Move("s", f"{self.name(i)} begins, whatever the row says", after)
            after = self.now(world, i, runner, **IDLE)
            return Move("s", f"{self.name(i)} finds its claim lost", after, action=action)
        after = self.now(world._replace(rows=rows), i, runner, does="b", lease=0)
        return Move("s", f"{self.name(i)} notes its start", after, self.written(runner), action)

    def verdicts(self, world: World, i: int, runner: Runner) -> Iterator[Move]:
        owner, ending = self.owner(i, runner), max(runner.kernel, ENDING) if runner.kernel else NONE
        for status in "CF":
            action = ("record", owner, runner.attempt, status)
            rows = self.record(world.rows, *action[1:])
            if rows is None:
                after = self.now(world, i, runner, does="x", kernel=ending)
                yield Move("s", f"{self.name(i)}'s verdict is refused", after, action=action)
            else:
                after = self.now(world._replace(rows=rows), i, runner, does="v")
                what = "success" if status == "C" else "failure"
                event = f"{self.name(i)} records the {what}"
                yield Move("s", event, after, self.written(runner), action)

    def releases_claim(self, world: World, i: int, runner: Runner) -> Move:
        action = ("release", self.owner(i, runner), runner.attempt)
        released = self.release(world.rows, *action[1:])
        if released is None:
            after = self.now(world, i, runner, **IDLE)
            return Move("s", f"{self.name(i)}'s release is refused", after, action=action)
        after = self.now(world._replace(rows=released), i, runner, **IDLE)
        return Move("s", f"{self.name(i)} releases the claim", after, self.written(runner), action)

    def beats(self, world: World, i: int, runner: Runner) -> Move:
        action = ("renew", self.owner(i, runner), runner.attempt)
        rows = self.renew(world.rows, *action[1:])
        if rows is None:
            return self.learns_of_loss(world, i, runner, action)
        beaten = world._replace(rows=rows)
        if self.split_beats and runner.kernel == ALIVE:
            after = self.now(beaten, i, runner, renewal=0)
        else:
            after = self.now(beaten, i, runner, lease=0)
        return Move("s", f"{self.name(i)} beats", after, self.written(runner), action)

    def learns_of_loss(self, world: World, i: int, runner: Runner, action: tuple[Any, ...]) -> Move:
        if runner.does in "cbw":
            after = self.now(world, i, runner, **IDLE)
        else:
            ending = max(runner.kernel, ENDING) if runner.kernel else NONE
            does = "e" if runner.does == "e" else "x"
            after = self.now(world, i, runner, does=does, lease=0, kernel=ending)
        return Move("s", f"{self.name(i)} learns that its claim is lost", after, action=action)

    # --- Its kernel, and the watchdog between.

    def kernel_moves(self, world: World, i: int, runner: Runner) -> Iterator[Move]:
        who = self.name(i)
        if runner.mode in "UX" and runner.does == "b":
            if runner.lease >= self.silence and self.start_needs_lease:
                after = self.now(world, i, runner, does="x")
                yield Move("s", f"{who}'s watchdog starts nothing under an old lease", after)
            else:
                yield self.starts_kernel(world, i, runner)
        if runner.kernel == ALIVE and runner.does == "r" and runner.mode != "D":
            yield Move("s", f"{who}'s last cell ends", self.now(world, i, runner, does="e"))
            yield from self.own_run_moves(world, i, runner)
        if runner.mode in "UX" and runner.kernel == ALIVE and runner.does == "v":
            yield Move("s", f"{who} ends its kernel", self.now(world, i, runner, kernel=ENDING))
        yield from self.watchdog_moves(world, i, runner)

    def watchdog_moves(self, world: World, i: int, runner: Runner) -> Iterator[Move]:
        who = self.name(i)
        if runner.mode in "UX" and runner.renewal >= 0:
            age = runner.renewal if self.renewals_carry_their_time else 0
            after = self.now(world, i, runner, lease=min(age, runner.lease), renewal=-1)
            yield Move("s", f"{who}'s renewal reaches the watchdog", after)
        if self.is_silent(runner):
            does = runner.does if runner.does in "ev" else "x"
            after = self.now(world, i, runner, kernel=ENDING, does=does)
            yield Move("s", f"silence: the watchdog ends the kernel of {who}", after)
        if self.recording_gives_up and runner.does == "e" and runner.lease >= 2 and world.down:
            after = self.now(world, i, runner, does="x", kernel=ENDING if runner.kernel else NONE)
            yield Move("s", f"{who} gives up recording", after)

    def is_silent(self, runner: Runner) -> bool:
        watched = runner.mode in "UX" or (runner.mode == "F" and self.watchdog_holds_lease)
        return runner.kernel == ALIVE and runner.lease >= self.silence and watched

    def starts_kernel(self, world: World, i: int, runner: Runner) -> Move:
        """The watchdog starts the kernel, for all chain runs of the attempt."""
        broken, starts = "", world.starts
        for j, run in enumerate(world.rows.chain_runs):
            if runner.serves >> j & 1:
                if run.status in "CF" and self.is_current(world.rows, j):
                    broken = "over"
                if starts:
                    starts = put(starts, j, starts[j] + 1)
        after = self.now(world, i, runner, does="r", kernel=ALIVE)
        after = after._replace(starts=starts, unserved=0)
        return Move("s", f"{self.name(i)} starts the kernel", after, broken)

    def own_run_moves(self, world: World, i: int, runner: Runner) -> Iterator[Move]:
        """The notebook logs its run by itself, as the team's notebooks do."""
        if world.down or runner.mode == "X":
            return
        who = f"the notebook of {self.name(i)}"
        if self.left(world, "own_run"):
            logged = self.log_own_run(world.rows, "notebook")
            after = self.spend(world, "own_run")._replace(rows=logged)
            yield Move("s", f"{who} logs a run", after, action=("log_own_run", "notebook"))
        for status in "CF":
            ended = self.finish_own_run(world.rows, "notebook", status)
            if ended is not None:
                event = f"{who} notes that its run has {'completed' if status == 'C' else 'failed'}"
                action = ("finish_own_run", "notebook", status)
                yield Move("s", event, world._replace(rows=ended), action=action)

    # --- Faults, and what ends them.

    def fault_moves(self, world: World, i: int, runner: Runner) -> Iterator[Move]:
        who, acts = self.name(i), runner.does != "i"
        if runner.mode == "U" and acts:
            yield from self.strikes(world, i, runner)
        elif runner.mode == "U" and self.wired and self.left(world, "cut") and not world.wire:
            yield from self.cut_off(world, i, runner, i < self.monitors and "claim")
        if runner.mode == "F":
            yield Move("s", f"{who} thaws", self.now(world, i, runner, mode="U"))
            if self.left(world, "crash"):
                yield self.dies(world, i, runner)
        if runner.mode == "X":
            yield Move("s", f"{who} is connected again", self.now(world, i, runner, mode="U"))
        if runner.mode == "D" and runner.kernel not in (ENDING, LATE) and i < self.monitors:
            life = runner.life + 1 if self.owner_ids_are_unique else runner.life
            after = self.now(world, i, runner, mode="U", life=life)
            yield Move("s", f"{who} starts anew", after)

    def strikes(self, world: World, i: int, runner: Runner) -> Iterator[Move]:
        who = self.name(i)
        if self.left(world, "interrupt") and runner.does == "r":
            spent = self.spend(world, "interrupt")
            after = self.now(spent, i, runner, does="x", kernel=ENDING)
            yield Move("f", f"{who} is interrupted", after)
        if self.left(world, "crash"):
            yield self.dies(world, i, runner)
            kind = self.under_way(runner)
            if self.wired and kind and not world.wire:
                after = self.dies(world, i, runner).world._replace(wire=self.wire(i, runner, kind))
                yield Move("f", f"{who} is killed, its {kind} under way", after)
        if self.left(world, "freeze"):
            frozen = self.now(self.spend(world, "freeze"), i, runner, mode="F")
            yield Move("f", f"{who} freezes", frozen)
        if self.left(world, "cut"):
            cut = self.now(self.spend(world, "cut"), i, runner, mode="X")
            yield Move("f", f"{who} is cut off", cut)
            if self.wired and not world.wire:
                yield from self.cut_off(world, i, runner, self.under_way(runner))

    def dies(self, world: World, i: int, runner: Runner) -> Move:
        end = ENDING if self.has_watchdog else ORPHAN
        kernel = max(runner.kernel, end) if runner.kernel else NONE
        spent = self.spend(world, "crash")
        return Move(
            "f",
            f"{self.name(i)} is killed",
            self.now(spent, i, runner, mode="D", kernel=kernel, **IDLE),
        )

    def under_way(self, runner: Runner) -> str:
        if runner.does in "vx" and runner.kernel == NONE:
            return "release"
        return {"e": "verdict", "r": "beat"}.get(runner.does, "")

    def wire(self, i: int, runner: Runner, kind: str) -> Wire:
        return Wire(kind, self.owner(i, runner), runner.attempt, runner.overtaken)

    def cut_off(self, world: World, i: int, runner: Runner, kind: str | bool) -> Iterator[Move]:
        if kind:
            cut = self.now(self.spend(world, "cut"), i, runner, mode="X")
            after = cut._replace(wire=self.wire(i, runner, str(kind)))
            yield Move("f", f"{self.name(i)} is cut off, its {kind} under way", after)

    # --- Time.

    def time_may_pass(self, world: World) -> bool:
        """Whether nobody owes an act within this tick."""
        if self.short_outage and world.down > self.short_outage:
            return False
        for runner in world.runners:
            if runner.kernel == LATE or (runner.mode in "UX" and runner.renewal >= 0):
                return False
            if runner.mode == "U" and not world.down and runner.does != "i" and runner.lease:
                return False
            if self.is_silent(runner):
                return False
        return True

    def tick(self, world: World) -> World:
        """15 s pass."""
        rows, claim = world.rows, world.rows.claim
        if claim.owner:
            rows = rows._replace(claim=claim._replace(age=min(claim.age + 1, self.expires)))
        if any(batch.concluded != batch.activation for batch in rows.batches):
            rows = rows._replace(
                batches=tuple(
                    batch._replace(age=min(batch.age + 1, SWEEP_WAITS))
                    if batch.status in "CFX"
                    else batch
                    for batch in rows.batches
                )
            )
        return world._replace(
            rows=rows,
            runners=tuple(map(self.later, world.runners)),
            down=min(world.down + 1, _MOST_DOWN) if world.down else 0,
        )

    def later(self, runner: Runner) -> Runner:
        kernel = LATE if runner.kernel == ENDING else runner.kernel
        if runner.does == "i":
            return runner if kernel == runner.kernel else runner._replace(kernel=kernel)
        return runner._replace(
            kernel=kernel,
            lease=min(runner.lease + 1, self.silence),
            renewal=min(runner.renewal + 1, self.silence) if runner.renewal >= 0 else -1,
        )

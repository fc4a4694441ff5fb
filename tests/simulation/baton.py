"""Threads of which one runs at a time, on a clock that jumps to what happens next.

Each actor is a thread that holds a baton while it runs, and hands it on wherever it waits: at every
transaction, every request, every sleep. Who goes on is drawn from the seed, so that a run can be
repeated. Actors belong to processes, which can be killed or frozen at such a boundary.
"""

import math
import random
import threading
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Self

_here = threading.local()


@dataclass(eq=False)
class Process:
    """A process of the simulated world: a pass, a kernel, a person's notebook."""

    pid: int
    name: str
    environment: dict[str, str] = field(default_factory=dict)
    is_dead: bool = False
    was_disturbed: bool = False  # killed or frozen at some time
    frozen_until: float = -math.inf
    kill_at: int | None = None  # after so many more boundaries
    freeze_at: int | None = None
    freeze_seconds: float = 0.0
    connections: list[Any] = field(default_factory=list)

    def cut_off(self) -> None:
        """Close every connection of its own, as the server sees it if the process is gone."""
        for connection in self.connections:
            connection.close()
        self.connections.clear()


class Actor:
    """One thread of a process."""

    def __init__(self, scheduler: "Scheduler", process: Process, work: Callable[[], Any]) -> None:
        self.process = process
        self.wake = scheduler.elapsed
        self.ready: Callable[[], bool] | None = None
        self.is_done = False
        self.error: BaseException | None = None
        self.baton = threading.Semaphore(0)
        self._scheduler, self._work = scheduler, work
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        self.baton.acquire()
        _here.actor = self
        try:
            self._work()
        except BaseException as exc:  # noqa: BLE001 - the judge is told
            self.error = exc
        self.is_done = True
        self._scheduler.baton.release()

    def may_run(self, now: float) -> bool:
        if self.process.frozen_until > now:
            return False
        return self.wake <= now or (self.ready is not None and self.ready())


class Scheduler:
    """Decides which actor goes on, and what time it is."""

    def __init__(self, rng: random.Random, *, on_time: Callable[[float], None]) -> None:
        self.elapsed = 0.0
        self.baton = threading.Semaphore(0)
        self.actors: list[Actor] = []
        self.switches = 0
        self.kills = self.freezes = 0
        self.errors: list[str] = []  # of actors that ended with one
        self._rng = rng
        self._on_time = on_time
        self._next_pid = 1000

    # --- From outside.

    def process(self, name: str, **environment: str) -> Process:
        self._next_pid += 1
        return Process(self._next_pid, name, environment)

    def spawn(self, process: Process, work: Callable[[], Any]) -> Actor:
        actor = Actor(self, process, work)
        self.actors.append(actor)
        return actor

    def run_until(self, is_over: Callable[[], bool]) -> None:
        """Let actors run until this holds, or nobody has anything to do any more."""
        while not is_over():
            self.actors = [a for a in self.actors if not (a.is_done or a.process.is_dead)]
            now = self.elapsed
            runnable = [actor for actor in self.actors if actor.may_run(now)]
            if not runnable:
                times = [max(a.wake, a.process.frozen_until) for a in self.actors]
                times += [a.process.frozen_until for a in self.actors if a.ready is not None]
                soonest = min((time for time in times if time > now), default=math.inf)
                if soonest == math.inf:
                    return
                self.elapsed = soonest
                self._on_time(soonest)
                continue
            actor = self._rng.choice(runnable) if len(runnable) > 1 else runnable[0]
            self.switches += 1
            actor.baton.release()
            self.baton.acquire()
            if actor.error is not None:
                self.errors.append("".join(traceback.format_exception(actor.error)))
                actor.error = None

    # --- For whoever holds the baton.

    def boundary(self) -> None:
        """Let others go on here, or end here."""
        process = current_process()
        if process is None:
            return
        if process.kill_at is not None:
            process.kill_at -= 1
            if process.kill_at < 0:
                self.kills += 1
                self.kill(process)
        if process.freeze_at is not None:
            process.freeze_at -= 1
            if process.freeze_at < 0:
                self.freezes += 1
                process.freeze_at, process.was_disturbed = None, True
                process.frozen_until = self.elapsed + process.freeze_seconds
                if process.freeze_seconds > 60:
                    process.cut_off()  # as the server does after a minute of silence
        if (
            process.is_dead
            or any(
                actor is not _here.actor and actor.may_run(self.elapsed) for actor in self.actors
            )
            or process.frozen_until > self.elapsed
        ):
            self.pause(0.0)

    def kill(self, process: Process) -> None:
        """End a process without a word; its own threads never come back from their boundary."""
        process.is_dead = process.was_disturbed = True
        process.cut_off()

    def pause(self, seconds: float) -> None:
        self.wait_for(None, seconds)

    def wait_for(self, ready: Callable[[], bool] | None, seconds: float = math.inf) -> bool:
        """Wait until something holds, for so long at most; return whether it does."""
        actor: Actor = _here.actor
        actor.wake, actor.ready = self.elapsed + max(seconds, 0.0), ready
        self.baton.release()
        actor.baton.acquire()
        actor.ready = None
        return ready is not None and ready()


def current_process() -> Process | None:
    """Return the process of the thread that asks; None outside the simulation."""
    actor = getattr(_here, "actor", None)
    return actor.process if actor is not None else None


# --- What the product uses of ``threading`` and ``concurrent.futures``, on a scheduler.


class SimulatedThread:
    """A thread of the current process that is an actor."""

    def __init__(self, scheduler: Scheduler, target: Callable[..., Any], args: Iterable[Any] = ()):
        self._scheduler, self._work = scheduler, lambda: target(*args)
        self._actor: Actor | None = None

    def start(self) -> None:
        process = current_process()
        assert process is not None
        self._actor = self._scheduler.spawn(process, self._work)

    def is_alive(self) -> bool:
        return self._actor is not None and not self._actor.is_done

    def join(self, seconds: float = math.inf) -> None:
        self._scheduler.wait_for(lambda: not self.is_alive(), seconds)


class SimulatedEvent:
    """An event whose wait lets others go on."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler, self._is_set = scheduler, False

    def set(self) -> None:
        self._is_set = True

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, seconds: float = math.inf) -> bool:
        return self._is_set or self._scheduler.wait_for(self.is_set, seconds)


class SimulatedPool:
    """An executor each of whose calls is an actor of the current process."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._futures: list[Future[Any]] = []

    def submit(self, work: Callable[..., Any], *args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        process = current_process()
        assert process is not None
        self._scheduler.spawn(process, lambda: future.set_result(work(*args)))
        self._futures.append(future)
        return future

    def shutdown(self, *, wait: bool) -> None:
        assert wait
        if not all(future.done() for future in self._futures):
            self._scheduler.wait_for(lambda: all(future.done() for future in self._futures))


class InlinePool:
    """An executor that does each call at once, in the thread that asks for it."""

    def __init__(self, *_args: object, **_settings: object) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def submit(self, work: Callable[..., Any], *args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(work(*args))
        return future

    def shutdown(self, **_settings: object) -> None:
        pass

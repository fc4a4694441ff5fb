"""Judge a soak by what its notebooks noted themselves, and by when the metastore was told.

Pure: values in, problems and figures out. A kernel's run is one of its notebook; it is complete if
its last cell came to its end. A chain run is one activation of a batch that made a step due.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from statistics import median

_GIVEN_UP = "Each of 3 tries ended"
_KERNEL_SECONDS = 1.5  # a kernel may go on for so long after its monitor was killed
_MARK_SECONDS = 0.5  # a mark may come so long after what it marks, on a busy machine


class Strike(StrEnum):
    """What is done to a monitor, or to the database that all share."""

    KILL = "killed"
    FREEZE = "frozen"
    TERM = "terminated"
    RESTART = "database restarted"


@dataclass(frozen=True)
class Fault:
    """A strike, on a monitor by its pid (None: on all), and until when a frozen one was frozen."""

    strike: Strike
    pid: int | None
    ts: float
    until: float = 0.0


@dataclass
class KernelRun:
    """One run of a step's notebook, by its own marks."""

    step_id: int
    attempt: int
    monitor: int
    started: float
    seen: float  # the last sign of life
    last_cell: float | None = None  # it began
    ended: float | None = None  # it came to its end

    def was_struck(self, faults: Iterable[Fault], until: float) -> bool:
        """Tell whether its monitor was struck before another kernel took its place.

        A restart of the database is no excuse: notebooks outlive it.
        """
        return any(
            fault.pid == self.monitor
            and fault.ts <= until
            and max(fault.ts, fault.until) >= self.started - _MARK_SECONDS
            for fault in faults
        )


@dataclass(frozen=True)
class Due:
    """A chain run as the metastore has it at the end."""

    id: int
    step_id: int
    made: float
    status: str
    error: str
    served_by: int | None
    committed: float  # when the transaction that ended it was committed


@dataclass
class Judgement:
    """What is wrong, which should be nothing, and the figures."""

    problems: list[str] = field(default_factory=list)
    windows: list[float] = field(default_factory=list)  # seconds from last cell to commit
    figures: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        counts = ", ".join(f"{number} {what}" for what, number in sorted(self.figures.items()))
        if not self.windows:
            return counts
        middle, most = median(self.windows) * 1000, max(self.windows) * 1000
        return f"{counts}; from last cell to commit {middle:.1f} ms (median), {most:.0f} ms at most"


def runs_of(ledger: Iterable[str]) -> tuple[list[KernelRun], list[str]]:
    """Return the runs of kernels, and what they said of others beside them."""
    found: dict[int, KernelRun] = {}
    overlaps: list[str] = []
    for line in ledger:
        mark = json.loads(line)
        what, ts = mark["what"], mark["ts"]
        if what == "start":
            found[mark["pid"]] = KernelRun(
                mark["step"], mark["attempt"], mark["monitor"], started=ts, seen=ts
            )
            continue
        run = found[mark["pid"]]
        run.seen = max(run.seen, ts)
        if what == "overlap":
            overlaps.append(f"step {run.step_id}: attempt {run.attempt} ran beside another kernel")
        elif what == "last":
            run.last_cell = ts
        elif what == "end":
            run.ended = ts
    return sorted(found.values(), key=lambda run: run.started), overlaps


def judge(runs: list[KernelRun], dues: list[Due], faults: list[Fault]) -> Judgement:
    """Return what broke the promise, and the figures."""
    judgement = Judgement()
    of_step: dict[int, list[KernelRun]] = defaultdict(list)
    for run in runs:
        of_step[run.step_id].append(run)
    for step_id, its in of_step.items():
        judgement.problems += [
            f"step {step_id}: attempts {a.attempt} and {b.attempt} ran side by side for"
            f" {a.seen - b.started:.2f} s"
            for a, b in pairwise(its)
            if b.started < a.seen
        ]
    served: set[int] = set()
    for due in dues:
        its = [r for r in of_step[due.step_id] if due.made <= r.started <= due.committed]
        served |= {id(run) for run in its}
        judgement.problems += _judge_due(due, its, faults, judgement)
    judgement.problems += [
        f"step {run.step_id}: attempt {run.attempt} ran although nothing was due"
        for run in runs
        if id(run) not in served
    ]
    judgement.figures.update(fault.strike.value for fault in faults)
    judgement.figures["kernels"] = len(runs)
    judgement.figures["chain runs"] = len(dues)
    return judgement


def _judge_due(
    due: Due, runs: list[KernelRun], faults: list[Fault], judgement: Judgement
) -> Iterator[str]:
    about = f"chain run {due.id} of step {due.step_id}"
    for run, following in pairwise(runs):
        yield from _judge_repeat(about, run, following, faults, judgement)
    last = runs[-1] if runs else None
    if due.status not in {"COMPLETED", "FAILED"}:
        yield f"{about} was lost: it is {due.status}"
    elif due.error.startswith(_GIVEN_UP):
        judgement.figures["given up after three tries, each struck"] += 1
        if last is not None and not last.was_struck(faults, due.committed):
            yield f"{about} was given up although its last try was not struck"
        if last is not None and last.ended is not None:
            yield from _judge_unrecorded(about, last, faults, judgement)
    elif last is None or last.ended is None or last.attempt != due.served_by:
        yield f"{about} is {due.status} ({due.error}) without a run that came to its end"
    else:
        judgement.windows.append(due.committed - last.ended)


def _judge_repeat(
    about: str, run: KernelRun, following: KernelRun, faults: list[Fault], judgement: Judgement
) -> Iterator[str]:
    judgement.figures["runs that were cut off and begun again"] += 1
    if not run.was_struck(faults, following.started):
        yield f"{about}: attempt {following.attempt} followed {run.attempt}, which nothing struck"
    elif run.ended is not None:
        yield from _judge_unrecorded(about, run, faults, judgement)


def _judge_unrecorded(
    about: str, run: KernelRun, faults: list[Fault], judgement: Judgement
) -> Iterator[str]:
    """A run that came to its end was not recorded: only a strike in that moment may do that."""
    assert run.ended is not None
    begin = run.last_cell or run.ended
    for fault in faults:
        if fault.pid != run.monitor:
            continue
        if fault.strike is Strike.KILL and fault.ts >= run.ended:
            judgement.figures["complete, then killed before the record"] += 1
            return
        if fault.strike is Strike.KILL and fault.ts >= begin - _KERNEL_SECONDS:
            judgement.figures["killed, and complete while its kernel was being ended"] += 1
            return
        if (
            fault.strike is Strike.FREEZE
            and fault.until >= run.ended
            and fault.ts >= begin - _MARK_SECONDS
        ):
            judgement.figures["frozen in the last cell or before the record"] += 1
            return
    yield f"{about}: attempt {run.attempt} was complete, and not recorded without a reason"

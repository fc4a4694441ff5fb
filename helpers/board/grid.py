"""The board: what waits for a person, the steps of each cycle, and their jobs. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from helpers.attention import Waiting
from helpers.board.rows import StepRow, StepState, with_waits
from helpers.board.step_jobs import StepJobs
from helpers.display import (
    AsOf,
    Block,
    Cell,
    Fold,
    Headline,
    Note,
    Report,
    Row,
    Severity,
    Table,
    clock,
    clock_and_age,
    duration,
    tally,
)
from helpers.text import counted, listed

_COLUMNS = ["Step", "State", "Jobs", "Started", "Took", "Expected end", "Waits for"]
_RUNNING = frozenset({StepState.NOTEBOOK, StepState.ACTIVE})
_QUIET = frozenset({StepState.DONE, StepState.OPEN})


@dataclass(frozen=True, repr=False)
class Board(Report):
    """The steps of the ACTIVE cycles at one moment."""

    steps: Sequence[StepRow]
    now_ts: datetime
    jobs: Sequence[StepJobs] = ()  # of steps in which jobs are open or have failed
    waiting: Waiting = Waiting()  # noqa: RUF009 - it is frozen
    held: tuple[int, int] = (0, 0)  # of the last forecasts, and how many those are
    families: Sequence[Mapping[str, Any]] = ()  # what passes have learned of asking Moody's

    def blocks(self) -> Iterator[Block]:
        """Show what waits, a headline and a table for each cycle, and the jobs of its steps."""
        if not self.steps:
            yield Headline(Severity.NEUTRAL, "No cycle is ACTIVE: helpers.cycle.create_cycle(…).")
        cycles = [list(of) for _, of in groupby(self.steps, key=lambda step: step.cycle_name)]
        yield from (_headline(steps, self.now_ts) for steps in cycles)
        yield self.waiting.list_of_items(title="What waits for you")
        for steps in cycles:
            title = f"Cycle {steps[0].cycle_name}" if len(cycles) > 1 else "The steps"
            rows = [self._row(step, waits, is_busy=busy) for step, waits, busy in with_waits(steps)]
            yield Table(_COLUMNS, rows, noun="step", title=title)
            for jobs in self.jobs:
                if jobs.cycle_name == steps[0].cycle_name:
                    yield from jobs.tables(prefix=f"{jobs.step}: ", folded=True)
        if self.families:
            yield _families(self.families, self.now_ts)
        if held := _held(*self.held):
            yield Note(held, is_quiet=True)
        yield AsOf.at(self.now_ts)

    def _row(self, step: StepRow, waits: str, *, is_busy: bool) -> Row:
        counts, started = step.counts, step.started_ts
        ended = step.ended_ts or (self.now_ts if step.state in _RUNNING else None)
        took = ended - started if started and ended else None
        return Row(
            [
                Cell(step.name, link=step.notebook_path),
                Cell(_state(step), _severity(step, is_busy=is_busy), link=step.executed_path),
                Cell(tally(counts), counts=counts) if counts else "—",
                clock(started, self.now_ts),
                duration(took) if took is not None and took >= timedelta(0) else "—",
                step.ends.text(self.now_ts) if step.ends else "—",
                waits or "—",
            ],
            is_quiet=step.state in _QUIET,
        )


def _state(step: StepRow) -> str:
    if step.state is StepState.ACTIVE and step.failed_jobs:
        return f"{step.state}, {step.failed_jobs:,} failed"
    return step.state.value


def _severity(step: StepRow, *, is_busy: bool) -> Severity:
    """Return how a step looks; prepared jobs are no matter while steps before them go on."""
    if step.state is StepState.ACTIVE and step.failed_jobs:
        return Severity.ERROR
    if step.state is StepState.PREPARED and is_busy:
        return Severity.NEUTRAL
    return step.state.severity


def _headline(steps: Sequence[StepRow], now: datetime) -> Headline:
    """Return a cycle in one sentence, as severe as its worst step."""
    states = {step.state for step in steps}
    is_failing = any(step.failed_jobs for step in steps if step.state in _RUNNING)
    severities = (
        (StepState.FAILED in states or is_failing, Severity.ERROR),
        (states & _RUNNING, Severity.INFO),
        (states & {StepState.PREPARED, StepState.HELD}, Severity.WARNING),
        (states == {StepState.DONE}, Severity.OK),
    )
    severity = next((severity for is_so, severity in severities if is_so), Severity.NEUTRAL)
    return Headline(severity, f"Cycle {steps[0].cycle_name}: {in_one_sentence(steps, now)}")


def in_one_sentence(steps: Sequence[StepRow], now: datetime) -> str:
    """Return what failed in a cycle, what runs and until when, and how far it is."""
    failed = [step for step in steps if step.state is StepState.FAILED]
    running = [step for step in steps if step.state in _RUNNING]
    held = [step for step in steps if step.state is StepState.HELD]
    prepared = [step for step in steps if step.state is StepState.PREPARED][:1]  # later ones wait
    done = sum(step.state is StepState.DONE for step in steps)
    parts = [
        f"{_named(failed)} failed" if failed else "",
        *(_in_progress(step, now) for step in running),
        f"{_named(held)} held" if held else "",
        *(
            f"{counted(step.open_jobs, 'prepared job')} of step {step.name} not submitted"
            for step in prepared
        ),
        f"{done} of {counted(len(steps), 'step')} done",
    ]
    return f"{'; '.join(filter(None, parts))}."


def _named(steps: Sequence[StepRow]) -> str:
    return listed([step.name for step in steps], most=4)


def _in_progress(step: StepRow, now: datetime) -> str:
    end = step.ends.in_short(now) if step.ends else ""
    done = f", done {end}" if end else ""
    if not step.failed_jobs:
        return f"{step.name} in progress{done}"
    jobs = counted(sum(step.counts.values()), "job")
    rest = f", the rest done {end}" if end else ""
    return f"{step.failed_jobs} of {jobs} of {step.name} failed so far{rest}"


def _held(held: int, total: int) -> str:
    """Say how good forecasts have been; empty as long as none has been judged."""
    if not total:
        return ""
    share = f"{100 * held / total:.0f} %"
    return f"Of the last {counted(total, 'forecast')} {share} held; 80 % should."


def _families(families: Sequence[Mapping[str, Any]], now: datetime) -> Table:
    """Return how each family of jobs is asked, and since when."""
    bad = sum(family["search_problem"] is not None for family in families)
    problem = f"; of {bad} no job is searched for" if bad else ""
    return Table(
        ["Family", "Requests at once", "A second", "Learned", "Why jobs are read one by one"],
        [_family(family, now) for family in families],
        noun="family",
        plural="families",
        title=f"How Moody's is asked: {counted(len(families), 'family', 'families')}{problem}",
        fold=Fold.CLOSED,
        severity=Severity.WARNING if bad else Severity.NEUTRAL,
    )


def _family(family: Mapping[str, Any], now: datetime) -> Row:
    at_once, per_second = family["at_once"], family["per_second"]
    limit = " at most" if family["at_once_is_limit"] else ""
    problem, since = family["search_problem"], clock_and_age(family["search_problem_ts"], now)
    return Row(
        [
            family["family"],
            "—" if at_once is None else f"{int(at_once)}{limit}",
            "no limit known" if per_second is None else f"{per_second:.1f}",
            clock_and_age(family["learned_ts"], now),
            f"{problem} ({since})" if problem else "—",
        ]
    )

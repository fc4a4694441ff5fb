"""What each step waits for: a person, a pass, Moody's, or the steps before it. Pure."""

from collections.abc import Iterator, Sequence

from helpers.board.rows import BAD_ENDS, StepRow, StepState
from helpers.text import counted, shorten

_LONGEST_REASON = 120
_RUN_IT = "you: run its notebook"


def with_waits(steps: Sequence[StepRow]) -> Iterator[tuple[StepRow, str]]:
    """Give each step of a cycle with what it waits for; empty for what is done."""
    before: StepRow | None = None
    is_busy = False
    for step in steps:
        yield step, _waits_for(step, before, is_busy=is_busy)
        before, is_busy = step, is_busy or step.is_busy


def _waits_for(step: StepRow, before: StepRow | None, *, is_busy: bool) -> str:
    match step.state:
        case StepState.FAILED:
            return f"you: {_what_failed(step)}"
        case StepState.ACTIVE:
            return f"{counted(step.open_jobs, 'job')} at Moody's"
        case StepState.HELD:
            return step.held
        case StepState.DUE:
            return "a pass, which starts its notebook"
        case StepState.OPEN | StepState.PREPARED:
            return _before_it_starts(step, before, is_busy=is_busy)
        case _:
            return ""


def _before_it_starts(step: StepRow, before: StepRow | None, *, is_busy: bool) -> str:
    if step.state is StepState.PREPARED and not is_busy:
        return f"{_RUN_IT}, which submits the jobs"
    if before is not None and before.state is not StepState.DONE:
        return _holds(before, step)
    return "the steps before it" if is_busy else _RUN_IT


def _what_failed(step: StepRow) -> str:
    bad = [batch for batch in step.batches if batch.status in BAD_ENDS]
    if bad:
        return f"batch {bad[-1].batch_id} is {bad[-1].status}"
    return shorten(" ".join((step.run_error or "its notebook failed").split()), _LONGEST_REASON)


def _holds(before: StepRow, step: StepRow) -> str:
    if before.state is StepState.ACTIVE and before.open_jobs:
        name = before.batches[-1].batch_type
        verb = "holds" if before.open_jobs == 1 else "hold"
        return f"{counted(before.open_jobs, 'job')} of {name} {verb} step {step.number}"
    return f"step {before.name} ({before.state.value})"

"""The course of the demo: what the analyst does, what Moody's answers, what the monitor does.

Nothing is played: the analyst's lines are run as they are printed, and the passes are real.
"""

import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from helpers.batch import choose_batch
from helpers.board import board
from helpers.board.rows import StepRow, StepState
from helpers.constants import BatchStatus, JobStatus
from helpers.irp_integration.building import can_be_built
from helpers.monitor import Monitor
from helpers.monitor.chaining_section import ChainReport
from helpers.monitor.reports import ReconciledBatch
from helpers.notebook_executor import execute_next_step
from helpers.steps.rules import fired_rule
from helpers.text import counted, listed
from sandbox.demo_cycle import CYCLE_NAME, notebook, prepare_cycle

_LONGEST_SECONDS = 300.0  # the demo gives up, and says so
_PAUSE_SECONDS = 0.2  # a schedule would wait for the next minute
_QUIET_SECONDS = 2.0  # without a line, until one reports progress
_FIRST = [(2, 1), (3, 1)]  # the steps, by stage, that the analyst starts in the beginning
_THEN = {(3, 6): [(4, 1)], (4, 1): [(5, 1), (6, 1)]}  # and those that follow by hand
_SUMMARY = (4, 2)
_MOST_NAMED = 3
_MEND = (
    "choose_batch().plan_resubmit()"
    '.apply(reason="The other process has ended; Demo_FL is free again")'
)
_SILENT_SECONDS = 10.0
_START_OF_LINE = "\r" if sys.stdout.isatty() else ""
_begun = _printed = time.monotonic()

Key = tuple[int, int]  # stage and step


class WalkthroughError(Exception):
    """What the demo is to show did not happen."""


def say(text: str, who: str = "") -> None:
    """Print a line, with the seconds since the beginning."""
    global _printed  # noqa: PLW0603 - there is one demo at a time
    _printed = time.monotonic()
    print(f"{_START_OF_LINE}{_printed - _begun:4.0f} s  {who:10}{text}", flush=True)


def show(*lines: str) -> None:
    """Print lines of Python."""
    for line in lines:
        print(f"{'':18}>>> {line}", flush=True)


def _tick() -> None:
    """Let the seconds go on where a terminal shows them, and a line now and then elsewhere."""
    while True:
        time.sleep(0.5)
        now = time.monotonic()
        if _START_OF_LINE:
            print(f"\r{now - _begun:4.0f} s  …", end="", flush=True)
        elif now - _printed > _SILENT_SECONDS:
            say("…")


class Walkthrough:
    """A cycle from its preparation to its end."""

    def __init__(self) -> None:
        self.began = datetime.now(UTC)
        self._failed: list[str] = []
        self._resubmitted = 0
        self._summaries = 0
        self._steps: dict[Key, StepRow] = {}

    def run(self, *, cards: Callable[[], int]) -> None:
        """Bring the cycle to its end.

        Args:
            cards: returns how many cards have arrived in Teams.

        Raises:
            WalkthroughError: something that the demo shows did not happen.
        """
        threading.Thread(target=_tick, daemon=True).start()
        say(f"prepares the cycle {CYCLE_NAME}: notebooks, and a list for each step.", "Analyst")
        show(f'create_cycle("{CYCLE_NAME}")')
        prepare_cycle()
        self._look()
        say("runs the first notebooks. Each prepares what its list names, and submits:", "Analyst")
        show('plan = step.prepare("edms.csv")', "plan.apply()", "step.submit_batch()")
        self._start(_FIRST)
        say("does the rest: pass after pass it asks, decides, and starts what follows.", "Monitor")
        until = time.monotonic() + _LONGEST_SECONDS
        while self._pass():
            if time.monotonic() > until:
                raise WalkthroughError(f"something is still active after {_LONGEST_SECONDS:.0f} s.")
            time.sleep(_PAUSE_SECONDS)
        self._require_whole(cards())

    def _pass(self) -> bool:
        """Run one pass, and do what the analyst does at what it brings; False if all is done."""
        monitor = Monitor()
        monitor.find_batches()
        monitor.poll_jobs()
        self._look()
        ended = monitor.reconcile_batches().finished
        if not ended and time.monotonic() - _printed > _QUIET_SECONDS:
            self._tell_progress()
        for item in ended:
            self._tell_end(item)
        done = [_key(item) for item in ended if item.outcome.status is BatchStatus.COMPLETED]
        by_hand = [key for step in done for key in _THEN.get(step, [])]
        with ThreadPoolExecutor(1) as analyst:
            started = analyst.submit(self._start, by_hand)
            self._tell_chained(monitor.execute_next_steps())
            started.result()
        summary = monitor.summarise()
        if len(done) < len(ended):
            self._mend()
        return bool(by_hand or summary.next_run_ts or len(done) < len(ended))

    def _look(self) -> None:
        self._steps = {(step.stage_num, step.step_num): step for step in board().steps}

    def _start(self, keys: list[Key]) -> None:
        """Run the notebooks of these steps side by side, as the analyst does."""
        if not keys:
            return
        names = " and ".join(self._steps[key].step_name for key in keys)
        say(f"runs {names}.", "Analyst")
        with ThreadPoolExecutor(len(keys)) as pool:
            results = list(pool.map(lambda key: execute_next_step(notebook(*key)), keys))
        for key, result in zip(keys, results, strict=True):
            if result["error"]:
                raise WalkthroughError(
                    f"the notebook {result['notebook_path'].name}: {result['error']}"
                )
            self._tell_submitted(key)

    def _mend(self) -> None:
        say("has seen the card, has the cause removed, and submits again what failed:", "Analyst")
        show(_MEND)
        outcome = eval(_MEND, {"choose_batch": choose_batch})  # noqa: S307 - as it is printed
        self._resubmitted += outcome["done"]
        say(f"accepts {counted(outcome['done'], 'job')}.", "Moody's")

    def _tell_submitted(self, key: Key) -> None:
        self._look()
        step = self._steps[key]
        if not step.batches:
            say(f"{step.step_name}: shows what became of the stage.", "Notebook")
            return
        jobs = [job.name or "?" for job in choose_batch(step.batches[-1].batch_id).jobs]
        names = listed(jobs, most=_MOST_NAMED)
        if not can_be_built(step.batches[-1].batch_type):
            say(f"{step.step_name}: does {counted(len(jobs), 'job')} itself: {names}.", "Notebook")
        elif step.counts.keys() <= JobStatus.terminal():
            say(f"{step.step_name}: {counted(len(jobs), 'job')} done at once: {names}.", "Moody's")
        else:
            say(f"{step.step_name}: works on {counted(len(jobs), 'job')}: {names}.", "Moody's")

    def _tell_progress(self) -> None:
        for step in self._steps.values():
            if step.state is StepState.ACTIVE:
                finished = step.counts.get(JobStatus.FINISHED, 0)
                total = sum(step.counts.values())
                say(f"{step.step_name}: {finished} of {counted(total, 'job')} finished.", "Moody's")

    def _tell_end(self, item: ReconciledBatch) -> None:
        key = _key(item)
        step = self._steps[key]
        rule, _ = fired_rule(item.batch, item.outcome.status)
        follows = self._steps[key[0], rule.next_step_num].step_name if rule else "nothing"
        if item.failures is None:
            finished = counted(step.counts.get(JobStatus.FINISHED, 0), "job")
            say(f"{step.step_name}: {finished} finished. Starts {follows}.", "Monitor")
            return
        failed = counted(item.failures.total, "job")
        say(f"{step.step_name}: {failed} failed: {item.failures.sentence(most=3)}", "Moody's")
        say(f"sends a card to Teams, and starts {follows} for what has finished.", "Monitor")
        self._failed += [str(job["name"]) for job in item.failures.jobs]

    def _tell_chained(self, report: ChainReport) -> None:
        if report.failed:
            raise WalkthroughError(f"a next step failed: {report.failed[0].error}")
        for step in report.steps:
            key = (step.stage_num, step.next_step_num)
            self._tell_submitted(key)
            self._summaries += key == _SUMMARY

    def _require_whole(self, cards: int) -> None:
        open_steps = [s.name for s in self._steps.values() if s.state is not StepState.DONE]
        for is_so, problem in (
            (len(self._failed) == 1, f"one analysis was to fail: {self._failed or 'none did'}."),
            (self._resubmitted == 1, f"{self._resubmitted} jobs were submitted again, not one."),
            (self._summaries == 2, f"the summary ran {self._summaries} times, not twice."),  # noqa: PLR2004
            (cards > 0, "no card came to Teams."),
            (not open_steps, f"these steps are not done: {', '.join(open_steps)}."),
        ):
            if not is_so:
                raise WalkthroughError(problem)


def _key(item: ReconciledBatch) -> Key:
    return item.batch["stage_num"], item.batch["step_num"]

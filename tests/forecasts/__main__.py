"""Evaluate the forecasts: ``python -m tests.forecasts [folder of *.csv.gz]``."""

import argparse
from pathlib import Path

from tests.forecasts import cost, figures, hangs, oracle
from tests.forecasts.replay import Replay
from tests.forecasts.report import PAGE, Report
from tests.forecasts.simulated import Cycles
from tests.forecasts.standing_still import watch
from tests.forecasts.traces import read

_SEEDS = (1, 2, 3)


def main() -> None:
    """Print one line per data set, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m tests.forecasts", description=__doc__)
    parser.add_argument("traces", nargs="?", type=Path, help="a folder of *.csv.gz")
    parser.add_argument("--batches", type=int, default=1_000, help="simulated, per seed")
    given = parser.parse_args()
    paths = sorted(given.traces.glob("*.csv.gz")) if given.traces else []
    if given.traces and not paths:
        parser.error(f"there is no *.csv.gz in {given.traces}")
    report = Report(given.batches)
    for path in paths:
        evaluate_trace(report, path)
    for seed in _SEEDS:
        evaluate_simulated(report, seed)
    report.cost_seconds = cost.measure()
    report.write()
    missed = [goal for goal in report.goals() if not goal.is_met]
    for goal in missed:
        print(f"missed: {goal.data}: {goal.what} {goal.measured}, goal {goal.goal}")
    print(f"{PAGE.name} is written; {len(missed)} goals are missed")


def evaluate_trace(report: Report, path: Path) -> None:
    """Forecast every job and batch of a trace."""
    replay = Replay(rows := read(path))
    judged = list(replay.judged())
    sized = any(row.size is not None for row in rows)
    found = figures.jobs(path.name, len(rows), sized=sized, judged=judged)
    if found is None:
        print(f"{path.name}: no kind has 20 jobs that are known in time, n 0", flush=True)
        return
    report.jobs.append(found)
    print(f"{path.name}: {found.score}", flush=True)
    if replay.batch_ends:
        report.real_ends[path.name] = figures.ends(replay.batch_ends)
        report.without_number[path.name] = replay.batches_without_number


def evaluate_simulated(report: Report, seed: int) -> None:
    """Forecast simulated batches beside the oracle, and look for planted hangs."""
    cycles, ends, best = Cycles(seed), [], []
    for _, batch in cycles.batches(report.batches):
        found = cycles.forecast(batch)
        ends += found
        best += [oracle.median_error(batch, each.now) for each in found]
    report.simulated_ends[seed] = figures.ends(ends, best)
    report.hangs[seed] = figures.Hangs.of(list(hangs.plant(seed, report.batches // 4)))
    report.standing_still[seed] = figures.false_share(watch(seed, report.batches // 20))
    print(f"simulated, seed {seed}: {figures.end_score(ends)}", flush=True)


if __name__ == "__main__":
    main()

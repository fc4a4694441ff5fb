"""The targets, each measured; `make bench` runs this file and writes ``docs/performance.md``."""

import resource
import subprocess
import sys
import time
from statistics import median

import psycopg
import pytest

from helpers.batch import reconcile
from helpers.constants import BatchStatus, BatchType, JobStatus
from helpers.notebooks.run import NotebookRun
from helpers.recording import RECORD_CHUNK
from helpers.settings import PROJECT_DIR, get_settings
from helpers.steps.claims import claim_due
from sandbox.server import bound_socket
from tests.benchmarks.adoption import measured_adoption
from tests.benchmarks.growth import bytes_per_poll
from tests.benchmarks.report import Row, number
from tests.benchmarks.world import (
    add_active_jobs,
    add_finished_batches,
    add_long_past,
    far_away,
    run_loop,
    run_pass,
    run_passes,
)
from tests.support.notebooks import write_notebook

pytestmark = pytest.mark.timeout(600)

JOBS = 10_000
BATCHES = 20
WORKERS = 64
BUDGET_SECONDS = 45
MONITOR_NOTEBOOK = (
    PROJECT_DIR / "workflows" / "_Tools" / "Batch Management" / "Monitor Active Jobs.ipynb"
)


def watched_seconds(measured):
    """What finding, polling, logging and reconciling take in one pass."""
    named = ("find_batches", "poll_jobs", "reconcile_batches")
    return sum(measured["seconds"][name] for name in named)


def watched_cpu(measured):
    """The CPU of the same."""
    named = ("find_batches", "poll_jobs", "reconcile_batches")
    return sum(measured["cpu_seconds"][name] for name in named)


def several(benchmark, rounds, run):
    """Run it so many times, timed as a whole by the harness; return what each run measured."""
    measured = []
    benchmark.pedantic(lambda: measured.append(run()), rounds=rounds, iterations=1)
    return measured


def note_growth(results, how, database):
    size = bytes_per_poll(database)
    results.facts += [
        (f"Bytes of one poll, {how}", size.shown),
        (f"The log of a day of 1,000 active jobs, {how} every minute", size.day_shown),
    ]


def requests_of(moodys):
    return moodys.control("GET", "statistics")["requests_total"]


def test_searched_jobs(benchmark, metastore, moodys, results, seconds_before):
    add_active_jobs(moodys, BatchType.ANALYSIS, jobs=JOBS, batches=BATCHES)

    passes = several(benchmark, 3, run_pass)

    assert [one["jobs_polled"] for one in passes] == [JOBS] * 3
    seconds = median(watched_seconds(one) for one in passes)
    faster = seconds_before * JOBS / seconds
    case = "10,000 Analysis jobs in 20 batches, searched: poll, log and reconcile"
    parts = ", ".join(
        f"{name.partition('_')[0]} {median(one['seconds'][name] for one in passes):.2f} s"
        for name in ("find_batches", "poll_jobs", "reconcile_batches")
    )
    memory = max(one["peak_mb"] for one in passes)
    results.rows += [
        Row(
            case,
            1.5,
            seconds,
            against_baseline=faster,
            cpu_seconds=median(watched_cpu(one) for one in passes),
            note=f"Median of 3 passes: {parts}.",
        ),
        Row("the same: peak memory of the pass", 150, memory, "MB"),
        Row(
            "the same, against the loop of before",
            200,
            faster,
            "times faster",
            at_least=True,
            against_baseline=faster,
            note=f"Before: {seconds_before * 1000:.0f} ms per job, one after another; "
            f"{seconds_before * JOBS / 60:.0f} min for all.",
        ),
        Row(
            "the same: requests to Moody's in a pass without changes",
            120,
            requests_of(moodys) / 3,
            "",
        ),
    ]
    note_growth(results, "searched", metastore)


def test_searched_jobs_that_have_all_moved(benchmark, metastore, moodys, results):
    add_active_jobs(moodys, BatchType.ANALYSIS, jobs=JOBS, batches=BATCHES, known=JobStatus.QUEUED)

    [one] = several(benchmark, 1, run_pass)

    case = "10,000 Analysis jobs that have all moved on and not ended: poll"
    results.rows += [
        Row(case, 3, one["seconds"]["poll_jobs"], cpu_seconds=one["cpu_seconds"]["poll_jobs"]),
        Row("the same: requests to Moody's", 120, requests_of(moodys), ""),
    ]


def test_searched_jobs_that_have_all_ended(benchmark, metastore, moodys, results):
    ids = add_active_jobs(
        moodys, BatchType.ANALYSIS, jobs=JOBS, batches=BATCHES, at_moodys=JobStatus.FINISHED
    )
    add_active_jobs(moodys, BatchType.GEOHAZ, jobs=1, batches=1)  # not the last pass of all

    [one] = several(benchmark, 1, run_pass)

    assert one["jobs_polled"] == len(ids) + 1
    case = "10,000 Analysis jobs that have all ended: poll, log and reconcile"
    floor = run_loop(geohaz_jobs(moodys))["seconds"]
    results.rows.append(
        Row(
            case,
            max(6, 1.3 * floor),
            watched_seconds(one),
            cpu_seconds=watched_cpu(one),
            note=f"The bare loop takes {floor:.1f} s for as many jobs.",
        )
    )


def geohaz_jobs(moodys):
    wanted = {"family": "geohaz", "status": JobStatus.RUNNING, "count": JOBS}
    return moodys.control("POST", "jobs", wanted)["jobIds"]


def test_a_family_whose_search_answers(benchmark, metastore, moodys, results):
    moodys.control("POST", "searchable", {"families": ["geohaz"]})
    add_active_jobs(moodys, BatchType.GEOHAZ, jobs=JOBS, batches=BATCHES)

    passes = several(benchmark, 2, run_pass)

    assert [one["jobs_polled"] for one in passes] == [JOBS] * 2
    quicker = min(passes, key=watched_seconds)
    results.rows += [
        Row(
            "10,000 GeoHaz jobs, whose search answers",
            2,
            watched_seconds(quicker),
            cpu_seconds=watched_cpu(quicker),
            note="The quicker of 2 passes.",
        ),
        Row("the same: requests to Moody's", 130, requests_of(moodys) / 2, ""),
    ]


def test_jobs_read_one_by_one(benchmark, metastore, moodys, results, seconds_before):
    ids = add_active_jobs(moodys, BatchType.GEOHAZ, jobs=JOBS, batches=BATCHES)

    passes = several(benchmark, 3, run_pass)
    floor, ours = run_loop(ids), run_loop(ids, "ours")

    assert [one["jobs_polled"] for one in passes] == [JOBS] * 3
    quickest = min(passes, key=watched_seconds)
    seconds = watched_seconds(quickest)
    faster = seconds_before * JOBS / seconds
    results.rows += [
        Row(
            "10,000 GeoHaz jobs, whose search is refused: read one by one",
            max(6, 1.3 * floor["seconds"]),
            seconds,
            against_baseline=faster,
            cpu_seconds=watched_cpu(quickest),
            note=f"The quickest of 3 passes, {seconds / floor['seconds']:.2f} times the bare loop "
            f"({floor['seconds']:.1f} s, CPU {floor['cpu_seconds']:.1f} s).",
        ),
        Row(
            "the same: CPU of a poll for HTTP and parsing",
            350,
            ours["cpu_seconds"] / JOBS * 1e6,
            "µs",
            note=f"The bare loop takes {floor['cpu_seconds'] / JOBS * 1e6:.0f} µs.",
        ),
        Row(
            "the same, against the loop of before",
            40,
            faster,
            "times faster",
            at_least=True,
            against_baseline=faster,
        ),
    ]
    note_growth(results, "read by id", metastore)


@pytest.mark.parametrize(
    ("limit", "case"),
    [
        ({"fault": "rate-limit", "per_second": 200}, "200 requests a second"),
        ({"fault": "busy", "at_once": 20}, "20 requests at once, which is 200 a second"),
    ],
    ids=["a second", "at once"],
)
def test_a_host_that_throttles(benchmark, metastore, moodys, results, limit, case):
    moodys.control("POST", "misbehaviours", {**limit, "families": ["geohaz"]})
    add_active_jobs(moodys, BatchType.GEOHAZ, jobs=JOBS // 5, batches=BATCHES)

    for _ in range(2):
        run_pass()
    before = requests_of(moodys)
    [third] = several(benchmark, 1, run_pass)

    asked = requests_of(moodys) - before
    seconds = third["seconds"]["poll_jobs"]
    results.rows += [
        Row(
            f"a host that allows {case}: used, in the third pass",
            0.9 * 200,
            third["jobs_polled"] / seconds,
            "a second",
            at_least=True,
            cpu_seconds=third["cpu_seconds"]["poll_jobs"],
            note=f"2,000 GeoHaz jobs in {seconds:.1f} s, the login included.",
        ),
        Row("the same: throttled", 2, 100 * (asked - third["jobs_polled"]) / asked, "%"),
    ]


def test_a_hundred_thousand_searched_jobs(benchmark, metastore, moodys, results):
    add_active_jobs(moodys, BatchType.ANALYSIS, jobs=10 * JOBS, batches=10 * BATCHES)

    [one] = several(benchmark, 1, run_pass)

    assert one["jobs_polled"] == 10 * JOBS
    case = "100,000 Analysis jobs in 200 batches, searched: poll, log and reconcile"
    results.rows += [
        Row(case, 12, watched_seconds(one), cpu_seconds=watched_cpu(one)),
        Row("the same: peak memory of the pass", 150, one["peak_mb"], "MB"),
    ]


def test_as_many_batches_as_jobs(benchmark, metastore, moodys, results, monkeypatch):
    add_active_jobs(moodys, BatchType.ANALYSIS, jobs=JOBS, batches=JOBS)
    with far_away(metastore) as address:
        monkeypatch.setenv("DATABASE_URL", address)
        get_settings.cache_clear()
        run_pass()  # does its housekeeping, which one pass an hour does
        [unchanged] = several(benchmark, 1, run_pass)
        with psycopg.connect(metastore) as connection:
            connection.execute("UPDATE irp_job SET status = 'FINISHED'")
        changed = run_pass()

    assert (unchanged["batches_settled"], changed["batches_settled"]) == (0, JOBS)
    case = "10,000 batches of one job, PostgreSQL a millisecond away, none of which changes"
    results.rows += [
        Row(
            case,
            20,
            sum(unchanged["seconds"].values()),
            cpu_seconds=sum(unchanged["cpu_seconds"].values()),
            note=f"The whole pass, {unchanged['statements']} statements.",
        ),
        Row(
            "the same, all of which end",
            60,
            sum(changed["seconds"].values()),
            cpu_seconds=sum(changed["cpu_seconds"].values()),
            note=f"The whole pass, {changed['statements']} statements.",
        ),
    ]


def test_the_command_with_nothing_to_do(benchmark, metastore, results, workflows):
    def cpu_seconds():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "helpers.monitor"]
        subprocess.run(command, capture_output=True, check=True, cwd=PROJECT_DIR)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    cpu_seconds()  # does its housekeeping, which one pass an hour does
    case = "a pass in which nothing is active, as a command: CPU"
    taken = min(several(benchmark, 5, cpu_seconds))
    results.rows.append(Row(case, 0.4, taken, cpu_seconds=taken, note="The best of 5."))


def test_statements_of_a_pass(benchmark, metastore, moodys, results):
    add_active_jobs(moodys, BatchType.ANALYSIS, jobs=JOBS // 10, batches=BATCHES)
    run_pass()  # does its housekeeping, which one pass an hour does
    few = run_pass()
    add_active_jobs(moodys, BatchType.ANALYSIS, jobs=JOBS - JOBS // 10, batches=BATCHES)

    [many] = several(benchmark, 1, run_pass)

    chunks = JOBS // RECORD_CHUNK
    more = many["statements"] - few["statements"]
    per_chunk, always = 5, 110  # one of the five reads the jobs, page by page
    results.rows.append(
        Row(
            "SQL statements of a pass over 10,000 jobs: "
            f"{per_chunk} a chunk of {RECORD_CHUNK}, and {always}",
            per_chunk * chunks + always,
            many["statements"],
            "",
            note=f"{more} more than a pass over a tenth of the jobs in half of the batches.",
        )
    )


def test_a_pass_with_nothing_to_do(benchmark, metastore, moodys, results, workflows):
    empty = write_notebook(workflows / "Empty.ipynb", "pass")
    copy = workflows / "executed.ipynb"

    def seconds_of(source):
        outcome = NotebookRun(source, copy, timeout_seconds=60).execute()
        assert outcome.error is None
        return outcome.execution_seconds

    seconds_of(MONITOR_NOTEBOOK)  # does its housekeeping, which one pass an hour does
    pairs = several(benchmark, 5, lambda: (seconds_of(empty), seconds_of(MONITOR_NOTEBOOK)))

    # The best of each, because other programs only ever add, and here to most of it: imports.
    without, beside = (min(side) for side in zip(*pairs, strict=True))
    results.rows.append(
        Row(
            "a pass in which nothing is active, beyond an empty notebook",
            1.0,
            beside - without,
            note=f"The notebook with its kernel takes {beside:.1f} s, an empty one "
            f"{without:.1f} s; the best of 5 each.",
            why_missed="Half of it is the import of the package, which one core does.",
        )
    )


def test_a_long_past(benchmark, metastore, moodys, results, request):
    log_rows = request.config.getoption("log_rows")
    add_active_jobs(moodys, BatchType.ANALYSIS, jobs=JOBS, batches=BATCHES)
    run_pass()
    before = [run_pass() for _ in range(5)]
    add_long_past(metastore, log_rows=log_rows)

    after = several(benchmark, 5, run_pass)

    without, beside = (median(watched_seconds(one) for one in passes) for passes in (before, after))
    results.rows.append(
        Row(
            f"the searched pass with {log_rows:,} rows in the tracking log and {log_rows // 10:,} "
            "jobs of archived cycles, against the same pass without",
            1.2,
            beside / without,
            "times",
            note=f"{beside:.2f} s against {without:.2f} s, medians of 5.",
        )
    )


@pytest.mark.parametrize("down", ["refuses connections", "hangs"])
def test_moodys_is_down(benchmark, metastore, moodys, results, down, monkeypatch):
    for batch_type in (BatchType.ANALYSIS, BatchType.GEOHAZ):
        add_active_jobs(moodys, batch_type, jobs=JOBS // 2, batches=BATCHES // 2)
    if down == "hangs":
        moodys.control("POST", "misbehaviours", {"fault": "hang"})
    else:
        with bound_socket() as nobody:
            url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        monkeypatch.setenv("RISK_MODELER_BASE_URL", url)

    [measured] = several(benchmark, 1, lambda: run_pass(MONITOR_POLL_BUDGET_SECONDS=BUDGET_SECONDS))

    moodys.control("DELETE", "misbehaviours")
    assert measured["errors"]  # people are told
    assert measured["jobs_polled"] < JOBS
    results.rows.append(
        Row(
            f"Moody's {down}, 10,000 active jobs: the whole pass, its budget {BUDGET_SECONDS} s",
            BUDGET_SECONDS + 10,
            sum(measured["seconds"].values()),
            note=f"{measured['jobs_polled']} jobs asked in vain before the pass knew.",
        )
    )


def test_many_batches_end_in_one_pass(benchmark, metastore, results):
    add_finished_batches(batches=200, jobs=50)
    with psycopg.connect(metastore) as connection:
        ids = [row[0] for row in connection.execute("SELECT id FROM irp_batch ORDER BY id")]

    [outcomes] = several(benchmark, 1, lambda: [reconcile(batch_id) for batch_id in ids])
    reconciled = benchmark.stats.stats.total
    claiming = []
    for _ in range(3):
        started = time.perf_counter()
        claimed = list(iter(claim_due, None))
        claiming.append(time.perf_counter() - started)
        release(metastore)

    assert {one.status for one in outcomes} == {BatchStatus.COMPLETED}
    assert {run["batch_id"] for one in claimed for run in one.served} == set(ids)
    results.rows += [
        Row("200 batches of 50 jobs become terminal in one pass: reconciled", 3, reconciled),
        Row(
            "the same: their 200 chain runs claimed, one after another",
            1,
            median(claiming),
            note="Median of 3.",
            why_missed="Each claim is a transaction of its own, and looks at all that is due.",
        ),
    ]


def release(database):
    """Make all chain runs due again."""
    with psycopg.connect(database) as connection:
        connection.execute(
            "UPDATE irp_chain_run SET status = 'PENDING', attempt = 0, owner = NULL,"
            " started_ts = NULL"
        )
        connection.execute("UPDATE irp_step_claim SET owner = NULL, claim_expires_ts = NULL")


def test_two_machines(benchmark, metastore, moodys, results):
    add_active_jobs(moodys, BatchType.GEOHAZ, jobs=JOBS, batches=BATCHES)

    one = watched_seconds(run_pass(MONITOR_POLL_WORKERS=WORKERS))
    [two] = several(benchmark, 1, lambda: run_passes(2, MONITOR_POLL_WORKERS=WORKERS))
    halves = run_passes(2, shared=True, MONITOR_POLL_WORKERS=WORKERS)

    assert [sum(half["jobs_polled"] for half in both) for both in (two, halves)] == [JOBS, JOBS]
    for case, both in (("started at once", two), ("with half of the batches each", halves)):
        together = max(watched_seconds(half) for half in both)
        shares = sorted(half["jobs_polled"] for half in both)
        results.facts.append(
            (
                f"Two monitors on 10,000 GeoHaz jobs, {case}",
                (
                    f"{together:.1f} s, {one / together:.2f} times as fast as one ({one:.1f} s); "
                    f"they polled {shares[0]:,} and {shares[1]:,} jobs"
                ),
            )
        )


def test_adoption_of_a_tracking_log(benchmark, empty_database, results, request):
    rows = request.config.getoption("adopted_rows")

    [measured] = several(benchmark, 1, lambda: measured_adoption(empty_database, rows=rows))

    results.facts.append(
        (
            f"Adoption of a tracking log of {rows:,} rows",
            (
                f"{number(measured.seconds)} s, during which a poll waited "
                f"{measured.longest_write_ms:.0f} ms and a reader "
                f"{measured.longest_read_ms:.0f} ms at the most"
            ),
        )
    )

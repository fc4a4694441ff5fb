"""One pass of the monitor: five sections, each a call whose result displays itself.

A pass is a reconciliation: each section acts on what the metastore says now, not on what the
pass did before, and may be repeated, overlapped or cut off anywhere. What goes wrong with one
batch is recorded and shown, and the rest goes on; what makes the pass pointless ends it with
one message.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from helpers import batch as batches
from helpers.attention import late_batches, what_waits
from helpers.batch.reconciling import Reconciliation, reconcile_together
from helpers.batch.sweeping import sweep
from helpers.clock import CLOCK
from helpers.constants import BatchStatus
from helpers.database import queries, require_sessions
from helpers.database.schema import require_migrated
from helpers.display import Remark
from helpers.monitor.chaining_section import ChainReport, execute_due_steps
from helpers.monitor.housekeeping import do_housekeeping
from helpers.monitor.pass_record import log_end, log_start
from helpers.monitor.problems import isolated
from helpers.monitor.reports import (
    FoundReport,
    PollReport,
    ReconciledBatch,
    ReconReport,
    grouped_by_text,
)
from helpers.monitor.summary import SummaryReport
from helpers.monitor.watch import call_heartbeat, unpolled_batches, why_idle
from helpers.notifications.events import announce_failing, announce_late
from helpers.notifications.failures import FailingBatch, LateBatch, failing_batches
from helpers.notifications.outbox import Sending, send_due
from helpers.pass_health import PassHealth, pass_health
from helpers.recording import server_clock
from helpers.settings import get_settings, monitor_interval

if TYPE_CHECKING:
    from helpers.irp_integration import IRPClient

_ENDING_AT_ONCE = 6  # of the eight connections of the pool


class Monitor:
    """One pass. Call the sections in order; each may be called again."""

    def __init__(self, *, client: "Callable[[], IRPClient] | None" = None) -> None:
        """Put the start of the pass on record.

        Raises:
            SettingsError: a setting is missing or wrong, or a pooler stands before the database.
            DatabaseUnavailableError: the database cannot be reached.
            SchemaOutdatedError: the database lacks migrations; nothing was written.
            DatabaseError: the database is not encoded in UTF8; nothing was written.
        """
        self._client = client
        require_sessions()
        require_migrated()
        self._clock = server_clock()
        self._started_ts = self._clock()
        self._started = CLOCK.monotonic()
        self._run_id = log_start()
        self._found = FoundReport([])
        self._polled = PollReport()
        self._reconciled = ReconReport()
        self._chained = ChainReport()

    def find_batches(self) -> FoundReport:
        """Section 1: find the ACTIVE batches of ACTIVE cycles."""
        self._found = FoundReport(batches.get_active_batches())
        return self._found

    def poll_jobs(self) -> PollReport:
        """Section 2: ask Moody's about every job that is not terminal, and record the answers."""
        self._polled = PollReport()
        if not self._found.batches:
            return self._polled
        # Imported when there is something to ask about: it brings requests, and half of all that a
        # pass imports.
        from helpers.monitor.polling_section import poll  # noqa: PLC0415

        with isolated("Polling", self._polled.errors):
            poll(self._polled, self._found.batches, client=self._client)
        return self._polled

    def reconcile_batches(self) -> ReconReport:
        """Section 3: decide what each batch is, except for those that another pass is polling."""
        report = ReconReport(left_to_others=len(self._polled.held_elsewhere))
        held = self._polled.held_elsewhere
        found = [batch for batch in self._found.batches if batch["batch_id"] not in held]
        together: dict[int, Reconciliation] = {}
        with isolated("Batches that stay active", report.errors):
            together = reconcile_together([batch["batch_id"] for batch in found])
        ending = [batch["batch_id"] for batch in found if batch["batch_id"] not in together]
        outcomes = together | _reconciled(ending, report.errors)
        report.batches += [
            ReconciledBatch(batch, outcomes[batch["batch_id"]])
            for batch in found
            if batch["batch_id"] in outcomes
        ]
        with isolated("Batches that another tool has ended", report.errors):
            report.swept = sweep(interval=monitor_interval())
        with isolated("What failed", report.errors):
            report.add_failures()
        self._reconciled = report
        return report

    def execute_next_steps(self) -> ChainReport:
        """Section 4: start the steps that are due, and see them to their end."""
        if self._polled.refused:  # the next step would be refused as well, and fail for good
            self._chained = ChainReport(blocked=self._polled.refused)
        else:
            self._chained = ChainReport()
            with isolated("Next steps", self._chained.errors):
                execute_due_steps(self._chained)
        return self._chained

    def summarise(self) -> SummaryReport:
        """Section 5: send due cards, do the housekeeping, put the end of the pass on record."""
        sending = Sending()
        errors: list[Remark] = []
        failing: list[FailingBatch] = []
        late: list[LateBatch] = []
        with isolated("Jobs that failed so far", errors):
            failing = failing_batches()
            announce_failing([batch for batch in failing if batch["batch_id"] in self._polled_here])
        with isolated("Jobs that take far longer than usual", errors):
            late = late_batches()
            announce_late(late)
        settings = get_settings()
        if settings.monitor_report_at is not None:
            with isolated("The morning report", errors):
                from helpers.monitor.morning import announce_reports  # noqa: PLC0415 - the board

                announce_reports(settings.monitor_report_at)
        with isolated("Notifications", errors):
            sending = send_due()
        with isolated("Housekeeping", errors):
            errors += do_housekeeping(self._run_id)
        report = self._summary(sending, failing, late, errors)
        with isolated("The record of this pass", report.errors):
            log_end(self._run_id, report)
            if warning := call_heartbeat(settings.monitor_heartbeat_url):
                report.warnings.append(warning)
        return report

    def _summary(
        self,
        sending: Sending,
        failing: list[FailingBatch],
        late: list[LateBatch],
        errors: list[Remark],
    ) -> SummaryReport:
        work = queries("monitor_runs").open_work()
        health = pass_health(own_run_id=self._run_id)
        waiting = what_waits(
            failing=failing,
            late=late,
            stuck=[(item.batch, item.outcome) for item in self._reconciled.needing_attention],
        )
        finished = [item.outcome.status for item in self._reconciled.finished]
        completed = finished.count(BatchStatus.COMPLETED)
        next_run_ts = max(self._started_ts + monitor_interval(), self._clock())
        return SummaryReport(
            batches_found=len(self._found.batches),
            batches_processed=len(self._reconciled.batches),
            batches_left=self._reconciled.left_to_others,
            batches_completed=completed,
            batches_failed=len(finished) - completed,
            jobs_polled=self._polled.jobs_polled,
            polls_failed=self._polled.polls_failed,
            transitions=self._polled.jobs_moved,
            chains_executed=sum(step.seconds is not None for step in self._chained.steps),
            chains_failed=len(self._chained.failed),
            cards_sent=sending.cards,
            cards_waiting=sending.waiting,
            cards_problem=sending.problem,
            errors=[*self._errors(), *errors],
            waiting=waiting,
            started_ts=self._started_ts,
            seconds=CLOCK.monotonic() - self._started,
            next_run_ts=next_run_ts if any(work.values()) else None,
            active_batches=work["active_batches"],
            jobs_failed_so_far=sum(batch["failed"] for batch in failing),
            idle=why_idle(),
            health=health,
            warnings=self._warnings(health),
        )

    def _warnings(self, health: PassHealth) -> list[str]:
        """Return what is wrong with monitoring itself; before the first pass nothing is missed."""
        warnings = health.about_schedules() if health.age is None else health.warnings()
        warnings += unpolled_batches(self._polled.held_elsewhere)
        return warnings + self._chained.warnings

    def _errors(self) -> list[Remark]:
        polls = self._polled
        failed_steps = [Remark(step.name, step.error or "") for step in self._chained.failed]
        return grouped_by_text(
            [
                *([Remark("Moody's", polls.refused)] if polls.refused else []),
                *polls.problems,
                *self._reconciled.errors,
                *failed_steps,
                *self._chained.errors,
            ]
        )

    @property
    def _polled_here(self) -> set[int]:
        """The batches whose answers are all on record; of others another pass may have half."""
        found = {batch["batch_id"] for batch in self._found.batches}
        return found - set(self._polled.held_elsewhere)


def _reconciled(batch_ids: list[int], errors: list[Remark]) -> dict[int, Reconciliation]:
    """Reconcile each batch in a transaction of its own; an error in one costs no other.

    Six at once, as several monitors would: each mostly waits for the database.
    """
    outcomes: dict[int, Reconciliation] = {}

    def reconcile_one(batch_id: int) -> None:
        with isolated(f"Batch {batch_id}", errors):
            outcomes[batch_id] = batches.reconcile(batch_id)

    with ThreadPoolExecutor(_ENDING_AT_ONCE, thread_name_prefix="reconcile") as pool:
        list(pool.map(reconcile_one, batch_ids))  # an interrupt cancels those that wait
    return outcomes


def run_pass(*, client: "Callable[[], IRPClient] | None" = None) -> SummaryReport:
    """Run all five sections and return the summary."""
    monitor = Monitor(client=client)
    monitor.find_batches()
    monitor.poll_jobs()
    monitor.reconcile_batches()
    monitor.execute_next_steps()
    return monitor.summarise()

"""Weeks of a team's life, drawn from a seed: who does what and what goes wrong, and when."""

import json
import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from helpers.batch import (
    get_active_batches,
    left_to_submit,
    plan_cancel,
    plan_resubmit,
    plan_skip,
    skip_job_configuration,
    submit_batch,
)
from helpers.constants import BatchType
from helpers.cycle import archive_cycle, create_cycle
from helpers.database import close_pools, transaction
from helpers.errors import (
    BatchError,
    BatchMonitoringError,
    CycleError,
    DatabaseUnavailableError,
    JobError,
    PlanOvertakenError,
)
from helpers.monitor import run_pass
from helpers.monitor.summary import SummaryReport
from helpers.settings import get_settings
from sandbox.seeding import PreparedJob, add_batch
from tests.simulation.baton import Scheduler, current_process
from tests.simulation.events import DAY, FAULTS, Event
from tests.simulation.kernels import Kernels
from tests.simulation.moodys import Moodys, SimulatedClient, Teams
from tests.simulation.plans import StepPlans
from tests.simulation.seams import Database, simulated
from tests.support.clock import SimulatedTime

FIRST_DAY = datetime(2026, 10, 5, 4, tzinfo=UTC)  # summer time ends in Europe on 25 October
PASS_EVERY_SECONDS = 1500.0
# Which batches the step of a stage submits; what follows is the product's affair.
STEPS: dict[tuple[int, int], BatchType | None] = {
    (2, 1): BatchType.DATA_EXTRACTION,
    (2, 2): None,
    (3, 1): BatchType.EDM_CREATION,
    (3, 2): BatchType.PORTFOLIO_CREATION,
    (3, 3): BatchType.MRI_IMPORT,
    (3, 4): BatchType.REINSURANCE_TREATIES,
    (3, 5): BatchType.EDM_DB_UPGRADE,
    (3, 6): BatchType.GEOHAZ,
    (3, 7): BatchType.PORTFOLIO_MAPPING,
    (3, 8): None,
    (4, 1): BatchType.ANALYSIS,
    (4, 2): None,
    (5, 1): BatchType.GROUPING,
    (5, 2): BatchType.GROUPING_ROLLUP,
    (5, 3): None,
    (6, 1): BatchType.EXPORT_TO_RDM,
    (6, 2): None,
}
AUDIT = """
CREATE TABLE simulated.ending (
    batch_id int, step_id int, activation_num int, status text, elapsed float8);
CREATE TABLE simulated.activation (batch_id int, activation_num int, elapsed float8);
CREATE TABLE simulated.job (job_id int, name text);
CREATE TABLE simulated.poll (workflow_id text);
CREATE FUNCTION simulated.note_batch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.status IN ('COMPLETED', 'FAILED', 'CANCELLED', 'ERROR') THEN
        INSERT INTO simulated.ending
        SELECT NEW.id, NEW.step_id, NEW.activation_num, NEW.status::text, passed
        FROM simulated.clock;
    ELSE
        INSERT INTO simulated.activation
        SELECT NEW.id, NEW.activation_num, passed FROM simulated.clock;
    END IF;
    RETURN NULL; END $$;
CREATE TRIGGER note AFTER UPDATE OF status ON irp_batch FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION simulated.note_batch();
CREATE FUNCTION simulated.note_job() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO simulated.job VALUES (NEW.id, NEW.submission_request #>> '{json,name}');
    RETURN NULL; END $$;
CREATE TRIGGER note AFTER INSERT ON irp_job FOR EACH ROW EXECUTE FUNCTION simulated.note_job();
CREATE FUNCTION simulated.note_poll() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO simulated.poll VALUES (NEW.moodys_workflow_id); RETURN NULL; END $$;
CREATE TRIGGER note AFTER INSERT ON irp_job_tracking_log FOR EACH ROW
    EXECUTE FUNCTION simulated.note_poll();
"""


REFUSALS = (BatchError, CycleError, JobError, PlanOvertakenError)  # what people may hear
BY_HAND = {"cancel", "hold a step", "rerun a step", "delete a job", "delete a batch"}
KILLED, FROZEN = 0.02, 0.015  # of the passes


@dataclass
class World:
    """One run."""

    seed: int
    url: str
    folder: Path
    scheduler: Scheduler = field(init=False)
    passes: int = 0
    cycles: list[str] = field(default_factory=list)
    summaries: list[SummaryReport] = field(default_factory=list)
    outages: list[tuple[float, float]] = field(default_factory=list)
    deleted_batches: set[int] = field(default_factory=set)
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed + 1)
        self._faults = True
        self._offset = {"machine": 0.0, "server": 0.0}
        self.scheduler = Scheduler(random.Random(self.seed + 2), on_time=self._set_time)
        self.moodys = Moodys(self.scheduler, random.Random(self.seed + 3))
        self.teams = Teams(self.scheduler)
        self.kernels = Kernels(self.scheduler, self._cells)
        self.plans = StepPlans(self.scheduler)
        self.person = self.scheduler.process("a person")
        self.tends = 0

    # --- Time.

    def _set_time(self, elapsed: float) -> None:
        now = FIRST_DAY + timedelta(seconds=elapsed)
        self.time.set(
            now + timedelta(seconds=self._offset["machine"]),
            server=now + timedelta(seconds=self._offset["server"]),
            passed=elapsed,
        )

    # --- A run.

    @contextmanager
    def begun(self) -> Iterator[None]:
        """Prepare the database, the notebooks and the seams while the block runs."""
        _write_template(self.folder)
        with (
            SimulatedTime(self.url, sleep=self.scheduler.pause) as self.time,
            psycopg.connect(self.url, autocommit=True) as self.sql,
        ):
            self.sql.execute(AUDIT)
            self._set_time(0.0)
            with transaction():
                pass  # opens the pool
            self.database = Database(self.scheduler)
            with simulated(
                self.scheduler,
                self.database,
                notebook_run=self.kernels.notebook_run,
                send=self.teams.send,
            ):
                yield
        close_pools()

    def run(self, events: list[Event], days: float) -> None:
        """Let these events happen, and passes besides; then whatever is under way may end."""
        end = days * DAY
        for event in events:
            actor = self.scheduler.spawn(self.person, lambda event=event: self._happens(event))
            actor.wake = event.at
        for host in "ab":
            cron = self.scheduler.process(f"the schedule of host {host}")
            self.scheduler.spawn(cron, lambda: self._schedule(end))
        self.scheduler.run_until(lambda: self.scheduler.elapsed >= end)
        self._faults = False
        self.database.down_until = self.moodys.down_until = self.teams.down_until = -1.0
        self._wind_down()

    def _wind_down(self) -> None:
        """Let people and passes finish what is there, without faults."""
        for _ in range(40):
            for work in (self._tend, self._pass, self._pass):
                process = self.person if work == self._tend else self.scheduler.process("pass")
                self.scheduler.spawn(process, work)
            until = self.scheduler.elapsed + 6 * 3600
            waking = self.scheduler.spawn(self.scheduler.process("night"), lambda: None)
            waking.wake = until
            self.scheduler.run_until(lambda until=until: self.scheduler.elapsed >= until)
            if not get_active_batches():
                self.tends += 1
                if self.tends > 4:
                    return

    # --- Passes.

    def _schedule(self, end: float) -> None:
        while self.scheduler.elapsed < end:
            process = self.scheduler.process("pass")
            if self.rng.random() < KILLED:
                process.kill_at = self.rng.randrange(80)
            elif self.rng.random() < FROZEN:
                process.freeze_at = self.rng.randrange(80)
                process.freeze_seconds = self.rng.choice([20.0, 50.0, 100.0, 200.0])
            self.scheduler.spawn(process, self._pass)
            due = PASS_EVERY_SECONDS * (1 + self.scheduler.elapsed // PASS_EVERY_SECONDS)
            self.scheduler.pause(due - self.scheduler.elapsed)

    def _pass(self) -> None:
        self.passes += 1
        try:
            self.summaries.append(run_pass(client=lambda: SimulatedClient(self.moodys)))
        except BatchMonitoringError as exc:
            self.log.append(f"{self.scheduler.elapsed:.0f} a pass ended: {exc}")
            process = current_process()
            assert process is not None
            if not process.was_disturbed and self.scheduler.elapsed > self.database.down_until:
                raise

    # --- What a stage notebook does, in its kernel.

    def _cells(self, step_id: int) -> None:
        with transaction() as connection:
            row = connection.execute(
                "SELECT stage_num, step_num FROM irp_step JOIN irp_stage ON irp_stage.id = stage_id"
                " WHERE irp_step.id = %s",
                [step_id],
            ).fetchone()
        assert row is not None
        self.scheduler.pause(self.rng.expovariate(1 / 60))
        if self.rng.random() < 0.02 and self._faults:
            raise RuntimeError("a cell failed")
        self._submit_step(step_id, (row["stage_num"], row["step_num"]))
        self.scheduler.pause(self.rng.expovariate(1 / 60))

    def _submit_step(self, step_id: int, at: tuple[int, int]) -> None:
        batch_type = STEPS[at]
        if batch_type is None:
            return
        with transaction() as connection:
            rows = connection.execute(
                "SELECT id FROM irp_batch WHERE step_id = %s ORDER BY id", [step_id]
            ).fetchall()
        ids = [row["id"] for row in rows] or [self._prepare(step_id, batch_type)]
        if not rows and self.rng.random() < 0.4:
            ids.append(self._prepare(step_id, batch_type))  # a sibling
        for batch_id in ids:
            self._submit(batch_id)

    def _prepare(self, step_id: int, batch_type: BatchType) -> int:
        path = batch_type.family.jobs_path if batch_type.family else "/synchronous"
        names = [f"s{step_id}-{self.rng.getrandbits(40):x}" for _ in range(self.rng.randint(1, 8))]
        jobs = [
            PreparedJob(
                request={"method": "POST", "path": path, "json": {"name": name}},
                configuration={"name": name},
            )
            for name in names
        ]
        return add_batch(step_id, batch_type, jobs).batch_id

    def _submit(self, batch_id: int) -> None:
        if not left_to_submit(batch_id):
            return
        try:
            outcome = submit_batch(
                batch_id, SimulatedClient(self.moodys), retry_after=(60.0, 300.0)
            )
        except REFUSALS as exc:
            self.log.append(f"{self.scheduler.elapsed:.0f} batch {batch_id}: {exc}")
            return
        self.log.append(f"{self.scheduler.elapsed:.0f} {outcome}")

    # --- People, and what goes wrong.

    def _happens(self, event: Event) -> None:
        draw = random.Random(event.draw)
        now = self.scheduler.elapsed
        self.log.append(f"{now:.0f} {event.kind}")
        try:
            if event.kind in FAULTS and event.kind not in BY_HAND:
                self._breaks(event.kind, draw)
            else:
                self._acts(event.kind, draw)
        except DatabaseUnavailableError:
            self.scheduler.pause(1800)
            self._happens(event)
        except REFUSALS as exc:
            self.log.append(f"{now:.0f} refused: {exc}")

    def _acts(self, kind: str, draw: random.Random) -> None:
        match kind.split():
            case ["new", "cycle"]:
                name = f"Cycle-{len(self.cycles) + 1}"
                create_cycle(name, alongside=True)
                self.cycles.append(name)
            case ["stage", number]:
                self._begin_stage(int(number))
            case ["archive"]:
                self._tend()
                archive_cycle(self.cycles[-1], "it is over")
            case ["tend"]:
                self._tend()
            case ["cancel"]:
                self._cancel(draw)
            case ["hold" | "rerun" as what, *_]:
                self.plans.apply(what, draw)
            case ["delete", "a", what]:
                self._delete(what, draw)

    def _breaks(self, kind: str, draw: random.Random) -> None:
        now = self.scheduler.elapsed
        match kind.split():
            case ["Moody's", *_]:
                self.moodys.down_until = now + draw.uniform(60, 6 * 3600)
            case ["Teams", *_]:
                self.teams.down_until = now + draw.uniform(60, 12 * 3600)
            case ["the", "database", *_]:
                self.database.down_until = now + draw.choice([20, 40, 200, 3600])
                self.outages.append((now, self.database.down_until))
            case ["the", "machine's", *_]:
                self._offset["machine"] += draw.choice([-7200, -60, 60, 7200])
            case ["the", "server's", *_]:
                self._offset["server"] += draw.choice([-3600, -60, -5, 5, 30])

    def _begin_stage(self, stage_num: int) -> None:
        if not self.cycles:
            return
        with transaction() as connection:
            row = connection.execute(FIRST_STEP, [self.cycles[-1], stage_num]).fetchone()
        if row is not None:
            self._submit_step(row["id"], (stage_num, 1))

    def _cancel(self, draw: random.Random) -> None:
        ids = sorted(batch["batch_id"] for batch in get_active_batches())
        if ids:
            plan = plan_cancel(draw.choice(ids))
            plan.apply(SimulatedClient(self.moodys), reason="not needed")

    def _delete(self, what: str, draw: random.Random) -> None:
        """Delete rows by SQL, as people do."""
        ids = sorted(batch["batch_id"] for batch in get_active_batches())
        if not ids:
            return
        batch_id = draw.choice(ids)
        with transaction() as connection:
            jobs = "SELECT id FROM irp_job WHERE batch_id = %s ORDER BY id DESC"
            where = jobs + (" LIMIT 1" if what == "job" else "")
            connection.execute(f"DELETE FROM irp_job WHERE id IN ({where})", [batch_id])
            if what == "batch":
                connection.execute(
                    "DELETE FROM irp_job_configuration WHERE batch_id = %s", [batch_id]
                )
                connection.execute(
                    "DELETE FROM irp_batch_recon_log WHERE batch_id = %s", [batch_id]
                )
                connection.execute("DELETE FROM irp_batch WHERE id = %s", [batch_id])
        if what == "batch":
            self.deleted_batches.add(batch_id)

    def _tend(self) -> None:
        """Look after what waits for a person."""
        try:
            self.plans.release_all()
            for batch in get_active_batches():
                self._submit(batch["batch_id"])
            with transaction() as connection:
                rows = connection.execute(NEEDY).fetchall()
            for row in rows:
                self._mend(row["id"])
            with transaction() as connection:
                failed = connection.execute(FAILED_STEPS).fetchall()
            for row in failed:
                self._submit_step(row["step_id"], (row["stage_num"], row["step_num"]))
            with transaction() as connection:
                unmade = connection.execute(UNMADE).fetchall()
            for row in unmade:
                skip_job_configuration(row["id"], "its job was deleted")
        except (DatabaseUnavailableError, *REFUSALS) as exc:
            self.log.append(f"{self.scheduler.elapsed:.0f} refused: {exc}")

    def _mend(self, batch_id: int) -> None:
        client = SimulatedClient(self.moodys)
        try:
            if self.rng.random() < 0.7:
                plan_resubmit(batch_id).apply(client, reason="again")
            else:
                plan_skip(batch_id).apply(reason="without")
        except REFUSALS as exc:
            self.log.append(f"{self.scheduler.elapsed:.0f} refused: {exc}")

    def rows(self, query: str) -> list[tuple]:
        return self.sql.execute(query).fetchall()


_OF_CYCLE = """
JOIN irp_stage AS stage ON stage.id = step.stage_id
JOIN irp_cycle AS cycle ON cycle.id = stage.cycle_id
"""
FIRST_STEP = f"""
SELECT step.id FROM irp_step AS step {_OF_CYCLE}
WHERE cycle_name = %s AND stage_num = %s AND step_num = 1
"""
NEEDY = f"""
SELECT DISTINCT batch.id FROM irp_batch AS batch JOIN irp_job AS job ON job.batch_id = batch.id
JOIN irp_step AS step ON step.id = batch.step_id {_OF_CYCLE}
WHERE cycle.status = 'ACTIVE' AND job.status IN ('FAILED', 'ERROR', 'CANCELLED')
  AND NOT coalesce(job.skipped, false) AND batch.status <> 'COMPLETED' ORDER BY batch.id
"""
UNMADE = f"""
SELECT configuration.id FROM irp_job_configuration AS configuration
JOIN irp_batch AS batch ON batch.id = configuration.batch_id
JOIN irp_step AS step ON step.id = batch.step_id {_OF_CYCLE}
WHERE cycle.status = 'ACTIVE' AND batch.status = 'ACTIVE'
  AND NOT coalesce(configuration.skipped, false)
  AND NOT EXISTS (SELECT FROM irp_job AS job WHERE job.job_configuration_id = configuration.id
                  AND NOT coalesce(job.skipped, false))
ORDER BY configuration.id
"""
FAILED_STEPS = f"""
SELECT DISTINCT step.id AS step_id, stage.stage_num, step.step_num FROM irp_chain_run AS run
JOIN irp_step AS step ON step.id = run.next_step_id {_OF_CYCLE}
WHERE run.status = 'FAILED' AND cycle.status = 'ACTIVE' ORDER BY step.id
"""


def _write_template(folder: Path) -> None:
    empty = json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    shutil.rmtree(folder, ignore_errors=True)
    for stage, step in STEPS:
        path = folder / f"_Template/notebooks/Stage_{stage:02}_S/Step_{step:02}_X.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(empty)


SETTINGS = {
    "MONITOR_POLL_WORKERS": "1",
    "MONITOR_STEP_WORKERS": "2",
    "MONITOR_RETENTION_DAYS": "7",
    "MONITOR_TIME_ZONE": "Europe/Berlin",
    "MONITOR_REPORT_AT": "07:00",
    "TEAMS_WEBHOOK_URL": "https://teams.example/hook",
}


@contextmanager
def settings(url: str, folder: Path) -> Iterator[None]:
    """Set what the product reads from its environment while the block runs."""
    before = dict(os.environ)
    os.environ.update(SETTINGS, DATABASE_URL=url, IRP_WORKFLOWS_DIR=str(folder))
    get_settings.cache_clear()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        get_settings.cache_clear()

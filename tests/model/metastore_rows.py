"""The model's rows in the metastore: put there, and read back, in the terms of the model."""

import itertools
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from helpers import actions
from helpers.constants import ActionKind, ActionStatus, BatchStatus, BatchType
from helpers.database import Connection
from helpers.records import Step
from tests.model.rows import MOST_TRIES, Batch, ChainRun, Claim, Rows, StepRun
from tests.model.statements import Statements

BATCH_STATUSES = {
    "I": BatchStatus.INITIATED,
    "A": BatchStatus.ACTIVE,
    "C": BatchStatus.COMPLETED,
    "F": BatchStatus.FAILED,
    "X": BatchStatus.CANCELLED,
}
CHAIN_STATUSES = {
    "P": "PENDING", "R": "RUNNING", "C": "COMPLETED", "F": "FAILED", "X": "CANCELLED"
}  # fmt: skip
STEP_STATUSES = {"A": "ACTIVE", "C": "COMPLETED", "F": "FAILED", "S": "FAILED"}
JOB_STATUSES = {"C": "FINISHED", "F": "FAILED", "X": "CANCELLED"}
LOCATIONS = {"C": (3, 3, BatchType.MRI_IMPORT), "CF": (4, 1, BatchType.ANALYSIS)}  # by rule
SWEEP_WAITS_SECONDS = 120.0
_AGES = (60.0, 90.0, 150.0)  # seconds since a batch ended, by ticks


@dataclass(frozen=True)
class Location:
    """Where the batches of a replay stand: a cycle with two steps."""

    cycle_id: int
    from_step: Step
    next_step: Step
    batch_type: BatchType
    batch_ids: tuple[int, ...]


class MetastoreRows:
    """The rows of one pair in the metastore."""

    def __init__(self, connection: Connection, location: Location, model: Statements) -> None:
        self._connection, self._location, self._model = connection, location, model
        self._run_ids: list[int] = []
        self._put_expiry = (0.0, 90)  # when the claim expires, and how many seconds that was away

    # --- From the model's rows to the metastore's.

    def put(self, rows: Rows) -> None:
        """Put rows into the metastore."""
        ends, starts = times(self._model, rows)
        self._put_batches(rows, ends)
        for j, run in enumerate(rows.chain_runs):
            if run.status != "-":
                self._put_chain_run(j, run)
        self._run_ids = [
            self._insert_step_run(n, run, starts[n]) for n, run in enumerate(rows.step_runs)
        ]
        if rows.claim != Claim():
            self._put_claim(rows.claim)
        if rows.archived:
            self._execute(
                "UPDATE irp_cycle SET status = 'ARCHIVED' WHERE id = %s", self._location.cycle_id
            )

    def _execute(self, statement: str, *parameters: object) -> list[dict[str, Any]]:
        cursor = self._connection.execute(statement, parameters)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []

    def _put_batches(self, rows: Rows, ends: list[float]) -> None:
        for b, batch in enumerate(rows.batches):
            self._execute(
                "UPDATE irp_batch SET status = %s, concluded_activation_num = %s,"
                " completed_ts = now() - make_interval(secs => %s) WHERE id = %s",
                BATCH_STATUSES[batch.status],
                batch.concluded,
                ends[b] if batch.status in JOB_STATUSES else None,
                self._location.batch_ids[b],
            )
            self._execute(  # by itself, because a trigger counts activations
                "UPDATE irp_batch SET activation_num = %s WHERE id = %s",
                batch.activation,
                self._location.batch_ids[b],
            )

    def _put_chain_run(self, j: int, run: ChainRun) -> None:
        is_running = run.status == "R"
        self._execute(
            "INSERT INTO irp_chain_run (batch_id, activation_num, stage_num, from_step_num,"
            " next_step_num, next_step_id, status, attempt, owner, served_by, released,"
            " completed_ts)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            self._location.batch_ids[j // self._model.activations],
            j % self._model.activations + 1,
            self._location.from_step["stage_num"],
            self._location.from_step["step_num"],
            self._location.next_step["step_num"],
            self._location.next_step["step_id"],
            CHAIN_STATUSES[run.status],
            run.tries,
            "its owner" if is_running else None,
            run.served_by or None,
            run.released,
            "now" if run.status in "CFX" else None,
        )

    def _insert_step_run(self, n: int, run: StepRun, started: float) -> int:
        [row] = self._execute(
            "INSERT INTO irp_step_run (step_id, run_num, status, started_ts)"
            " VALUES (%s, %s, %s, now() - make_interval(secs => %s)) RETURNING id",
            self._location.next_step["step_id"],
            n + 1,
            STEP_STATUSES[run.status],
            started,
        )
        run_id: int = row["id"]
        return run_id

    def _put_claim(self, claim: Claim) -> None:
        left = 90 - 15 * claim.age - (5 if claim.age >= 6 else 1)
        [row] = self._execute(
            "INSERT INTO irp_step_claim (step_id, attempt, owner, claim_expires_ts, step_run_id,"
            " verdict, hold_action_id, rerun_action_id, rerun_tries) VALUES"
            " (%s, %s, %s, clock_timestamp() + make_interval(secs => %s), %s, %s, %s, %s, %s)"
            " RETURNING extract(epoch FROM claim_expires_ts) AS expires",
            self._location.next_step["step_id"],
            claim.attempt,
            owner_name(claim.owner) if claim.owner else None,
            left if claim.owner else None,
            self._run_ids[claim.run - 1] if claim.run else None,
            STEP_STATUSES[claim.verdict] if claim.verdict else None,
            self._planned(ActionKind.HOLD) if claim.held else None,
            self._planned(ActionKind.RERUN) if claim.rerun >= 0 else None,
            max(0, claim.rerun),
        )
        self._put_expiry = float(row["expires"] or 0), left

    def _planned(self, kind: ActionKind) -> int:
        step, status = self._location.next_step, ActionStatus.PLANNED
        return actions.record(uuid4(), kind, step, reason="A reason.", status=status)

    # --- From the metastore's rows to the model's.

    def read(self, chain_runs: int) -> Rows:
        """Return what stands in the metastore."""
        batches, ends = self._read_batches()
        runs = [ChainRun()] * chain_runs
        for row in self._execute(
            "SELECT * FROM irp_chain_run WHERE next_step_id = %s",
            self._location.next_step["step_id"],
        ):
            b = self._location.batch_ids.index(row["batch_id"])
            [status] = [key for key, value in CHAIN_STATUSES.items() if value == row["status"]]
            runs[self._model.row_of(b, row["activation_num"])] = ChainRun(
                status, row["attempt"], row["served_by"] or 0, row["released"]
            )
        step_runs = self._execute(
            "SELECT id, status, output_data, started_ts FROM irp_step_run"
            " WHERE step_id = %s ORDER BY id",
            self._location.next_step["step_id"],
        )
        ids = [row["id"] for row in step_runs]
        [cycle] = self._execute(
            "SELECT status FROM irp_cycle WHERE id = %s", self._location.cycle_id
        )
        rows = Rows(
            tuple(batches),
            tuple(runs),
            self._read_claim(ids),
            tuple(_step_run(row, ends) for row in step_runs),
            cycle["status"] == "ARCHIVED",
        )
        return visible(self._model, rows)

    def _read_batches(self) -> tuple[list[Batch], list[Any]]:
        found = self._execute(
            "SELECT status, activation_num, concluded_activation_num, completed_ts,"
            " extract(epoch FROM now() - completed_ts) AS ago FROM irp_batch"
            " WHERE id = ANY (%s) ORDER BY id",
            list(self._location.batch_ids),
        )
        batches = []
        for row in found:
            [status] = [key for key, value in BATCH_STATUSES.items() if value == row["status"]]
            age = sum(float(row["ago"] or 0) > limit for limit in (75, SWEEP_WAITS_SECONDS))
            is_over = status in JOB_STATUSES
            batches.append(
                Batch(status, row["activation_num"], row["concluded_activation_num"], age * is_over)
            )
        ends = [
            row["completed_ts"] if b.status in JOB_STATUSES else None
            for row, b in zip(found, batches, strict=True)
        ]
        return batches, ends

    def _read_claim(self, run_ids: list[int]) -> Claim:
        found = self._execute(
            "SELECT owner, attempt, step_run_id, verdict, hold_action_id, rerun_action_id,"
            " rerun_tries, extract(epoch FROM claim_expires_ts) AS expires FROM irp_step_claim"
            " WHERE step_id = %s",
            self._location.next_step["step_id"],
        )
        if not found:
            return Claim()
        [row] = found
        verdict = {"COMPLETED": "C", "FAILED": "F", None: ""}[row["verdict"]]
        run = run_ids.index(row["step_run_id"]) + 1 if row["step_run_id"] else 0
        owner = int(row["owner"].rpartition(" ")[2]) if row["owner"] else 0
        is_held, tries = row["hold_action_id"] is not None, min(row["rerun_tries"], MOST_TRIES)
        rerun = tries if row["rerun_action_id"] else -1
        return Claim(owner, row["attempt"], self._age_of(row), run, verdict, is_held, rerun)

    def _age_of(self, row: dict[str, Any]) -> int:
        """The ticks since the last beat, by the clock of when the rows were put there."""
        if not row["owner"]:
            return 0
        expires, left = self._put_expiry
        if not expires:  # there was no claim, so this one is new
            return 0
        return max(0, min(6, round((90 - (left + float(row["expires"]) - expires)) / 15)))


def owner_name(number: int) -> str:
    return f"owner {number}"


def _step_run(row: dict[str, Any], ends: list[Any]) -> StepRun:
    stopped = bool(row["output_data"]) and row["output_data"].get("stopped") is True
    status = "S" if stopped else {"ACTIVE": "A", "COMPLETED": "C", "FAILED": "F"}[row["status"]]
    since = sum(1 << b for b, end in enumerate(ends) if end and row["started_ts"] > end)
    return StepRun(status, "", since)


def visible(model: Statements, rows: Rows) -> Rows:
    """The rows without what neither side says: who logged a run, and since which old endings."""
    return rows._replace(
        chain_runs=tuple(
            run if run.status == "R" else run._replace(served_by=0) for run in rows.chain_runs
        ),
        step_runs=tuple(
            run._replace(by="", since=run.since & _asked(model, rows, run))
            for run in rows.step_runs
        ),
    )


def _asked(model: Statements, rows: Rows, run: StepRun) -> int:
    """A bit for each batch of which somebody asks whether this run has started since it ended."""
    if run.status == "A":
        return model.ended(rows)
    return sum(
        1 << b
        for b, batch in enumerate(rows.batches)
        if batch.status in JOB_STATUSES and batch.concluded != batch.activation
    )


def times(model: Statements, rows: Rows) -> tuple[list[float], list[float]]:
    """Return how long ago batches ended and step runs started, so that the rows come out."""
    for order in itertools.permutations(range(len(rows.batches))):
        by_age = [rows.batches[b].age for b in order if rows.batches[b].status in JOB_STATUSES]
        if by_age == sorted(by_age, reverse=True):
            ends = [_AGES[rows.batches[b].age] - 3.0 * order.index(b) for b in range(len(order))]
            starts = _starts(model, rows, ends)
            if starts is not None:
                return ends, starts
    raise AssertionError(f"No order of events leads to {rows}.")


def _starts(model: Statements, rows: Rows, ends: list[float]) -> list[float] | None:
    starts: list[float] = []
    latest = 300.0
    for n, run in enumerate(rows.step_runs):
        asked = _asked(model, rows, run)
        after = [ends[b] for b in range(len(ends)) if (asked & run.since) >> b & 1]
        before = [ends[b] for b in range(len(ends)) if (asked & ~run.since) >> b & 1]
        started = min([latest, *(end - 1.0 for end in after)]) - 0.01 * n
        if any(started < end for end in before):
            return None
        starts.append(started)
        latest = started
    return starts

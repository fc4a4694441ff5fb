"""A metastore of 0.1.0 in which a monitor runs a step while it is migrated."""

import psycopg
import pytest

from helpers.database import migrations
from helpers.database.migrations import migrate
from helpers.database.named import sql_dir
from helpers.errors import SchemaOutdatedError
from helpers.steps import claims

OF_0_1_0 = [path for path in sorted((sql_dir() / "migrations").glob("*.sql")) if path.stem < "0010"]
A_CHAIN = """
INSERT INTO irp_cycle (cycle_name) VALUES ('Q1');
INSERT INTO irp_stage (cycle_id, stage_num, stage_name) VALUES (1, 4, 'Analysis');
INSERT INTO irp_step (stage_id, step_num, step_name) VALUES (1, 1, 'Submit'), (1, 2, 'Summary');
INSERT INTO irp_batch (step_id, batch_type, status) SELECT 1, 'Analysis', 'ACTIVE'
FROM generate_series(1, 3);
UPDATE irp_batch SET status = 'COMPLETED', completed_ts = now() - interval '1 day' WHERE id < 3;
INSERT INTO irp_step_run (step_id, run_num) VALUES (2, 1);
INSERT INTO irp_chain_run (batch_id, activation_num, stage_num, from_step_num, next_step_num,
                           next_step_id, status, attempt, owner, heartbeat_ts, step_run_id)
VALUES (1, 1, 4, 1, 2, 2, 'RUNNING', 1, 'old', now(), 1),
       (2, 1, 4, 1, 2, 2, 'PENDING', 0, NULL, NULL, NULL);
"""


def test_what_runs_keeps_its_claim_and_what_has_ended_is_concluded(
    empty_database, monkeypatch, tmp_path
):
    for path in OF_0_1_0:
        (tmp_path / path.name).write_text(path.read_text())
    read = migrations.yoyo.read_migrations
    with monkeypatch.context() as patch:
        patch.setattr(migrations.yoyo, "read_migrations", lambda _: read(str(tmp_path)))
        with pytest.raises(SchemaOutdatedError):
            migrate()
    with psycopg.connect(empty_database, autocommit=True) as sql:
        sql.execute(A_CHAIN)

        migrate()

        held = sql.execute("SELECT step_id, attempt, owner, step_run_id FROM irp_step_claim")
        assert held.fetchall() == [(2, 1, "old", 1)]
        runs = sql.execute(
            "SELECT status::text, served_by, released FROM irp_chain_run ORDER BY id"
        )
        assert runs.fetchall() == [("RUNNING", 1, False), ("PENDING", None, False)]
        concluded = sql.execute("SELECT concluded_activation_num FROM irp_batch ORDER BY id")
        assert concluded.fetchall() == [(1,), (1,), (0,)]
        assert claims.claim_due() is None

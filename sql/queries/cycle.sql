-- name: cycles(cycle_name, status)
-- Cycles with what they hold, oldest first; a filter that is NULL lets everything through. A cycle
-- without a status is in none of ours.
SELECT cycle.id AS cycle_id, cycle.cycle_name, cycle.status::text AS status, cycle.created_ts,
       cycle.archived_ts,
       (SELECT count(*) FROM irp_stage AS stage WHERE stage.cycle_id = cycle.id) AS stages,
       (SELECT count(*) FROM irp_v_step AS step WHERE step.cycle_id = cycle.id) AS steps
FROM irp_cycle AS cycle
WHERE (:cycle_name::text IS NULL OR cycle.cycle_name = :cycle_name::text)
  AND (:status::text IS NULL OR cycle.status::text = :status::text)
ORDER BY cycle.id;

-- name: lock_creation()^
-- Let one process at a time create cycles, until its transaction ends.
SELECT pg_advisory_xact_lock(hashtext('irp_cycle'));

-- name: add_cycle(cycle_name)$
-- Register a cycle, once; NULL if it is there already.
INSERT INTO irp_cycle (cycle_name, status) VALUES (:cycle_name::text, 'ACTIVE')
ON CONFLICT (cycle_name) DO NOTHING
RETURNING id;

-- name: add_stage(cycle_id, stage_num, stage_name)$
-- Register a stage, once, and return its id; one that is there keeps its name.
WITH added AS (
    INSERT INTO irp_stage (cycle_id, stage_num, stage_name)
    VALUES (:cycle_id::int, :stage_num::int, :stage_name::text)
    ON CONFLICT (cycle_id, stage_num) DO NOTHING
    RETURNING id
)
SELECT id FROM added
UNION ALL
SELECT id FROM irp_stage WHERE cycle_id = :cycle_id::int AND stage_num = :stage_num::int
LIMIT 1;

-- name: add_step(stage_id, step_num, step_name, notebook_path, requires_batch)!
-- Register a step, once; one that is there stays as it is.
INSERT INTO irp_step (stage_id, step_num, step_name, notebook_path, requires_batch)
VALUES (:stage_id::int, :step_num::int, :step_name::text, :notebook_path::text,
        :requires_batch::boolean)
ON CONFLICT (stage_id, step_num) DO NOTHING;

-- name: lock_cycle(cycle_id)^
-- Hold a cycle against those who would start something in it, until the transaction ends.
SELECT id, status::text AS status FROM irp_cycle WHERE id = :cycle_id::int FOR UPDATE;

-- name: what_is_active(cycle_id, fresh)
-- What keeps a cycle from being archived: batches, chain runs, reruns that are due, and step runs that
-- are not long over.
SELECT 'batch' AS what, batch_id AS id, stage_num, step_num, batch_type AS name
FROM irp_v_batch
WHERE cycle_id = :cycle_id::int AND is_active
UNION ALL
SELECT 'chain run', run.id, run.stage_num, run.next_step_num, run.status::text
FROM irp_chain_run AS run
JOIN irp_v_batch AS batch USING (batch_id)
WHERE batch.cycle_id = :cycle_id::int AND run.status IN ('PENDING', 'RUNNING')
UNION ALL
SELECT 'rerun', claim.rerun_action_id, step.stage_num, step.step_num, NULL
FROM irp_step_claim AS claim
JOIN irp_v_step AS step USING (step_id)
WHERE step.cycle_id = :cycle_id::int AND claim.rerun_action_id IS NOT NULL
UNION ALL
SELECT 'step run', run.id, step.stage_num, step.step_num, run.started_by
FROM irp_step_run AS run
JOIN irp_v_step AS step USING (step_id)
WHERE step.cycle_id = :cycle_id::int AND run.status = 'ACTIVE'
  AND run.started_ts > irp_now() - :fresh::interval
ORDER BY 1, 2;

-- name: archive_cycle(cycle_id)!
-- Archive an ACTIVE cycle.
UPDATE irp_cycle SET status = 'ARCHIVED', archived_ts = irp_now()
WHERE id = :cycle_id::int AND status = 'ACTIVE';

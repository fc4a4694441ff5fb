-- name: step_by_numbers(cycle_name, stage_num, step_num)^
-- A step by its location in the workflow.
SELECT step.id AS step_id, step.step_num, step.step_name, step.notebook_path, stage.stage_num,
       stage.stage_name, cycle.id AS cycle_id, cycle.cycle_name,
       coalesce(cycle.status, 'ACTIVE')::text AS cycle_status
FROM irp_step AS step
JOIN irp_stage AS stage ON stage.id = step.stage_id
JOIN irp_cycle AS cycle ON cycle.id = stage.cycle_id
WHERE cycle.cycle_name = :cycle_name::text AND stage.stage_num = :stage_num::int
  AND step.step_num = :step_num::int;

-- name: step_by_id(step_id)^
-- A step by its id.
SELECT step.id AS step_id, step.step_num, step.step_name, step.notebook_path, stage.stage_num,
       stage.stage_name, cycle.id AS cycle_id, cycle.cycle_name,
       coalesce(cycle.status, 'ACTIVE')::text AS cycle_status
FROM irp_step AS step
JOIN irp_stage AS stage ON stage.id = step.stage_id
JOIN irp_cycle AS cycle ON cycle.id = stage.cycle_id
WHERE step.id = :step_id::int;

-- name: steps_with_a_path()
-- Steps of active cycles that name their notebook themselves.
SELECT step.id AS step_id, step.notebook_path, cycle.cycle_name
FROM irp_step AS step
JOIN irp_stage AS stage ON stage.id = step.stage_id
JOIN irp_cycle AS cycle ON cycle.id = stage.cycle_id
WHERE coalesce(cycle.status, 'ACTIVE') = 'ACTIVE' AND step.notebook_path IS NOT NULL
ORDER BY step.id;

-- name: lock_step(step_id)^
-- Hold a step, so that no two of its runs take the same number, until the transaction ends.
SELECT id FROM irp_step WHERE id = :step_id::int FOR NO KEY UPDATE;

-- name: start_step_run(step_id, started_by)^
-- Log that a step's notebook starts. Lock the step first, by a statement of its own: this one counts
-- what was committed before it began.
INSERT INTO irp_step_run (step_id, run_num, status, started_ts, started_by)
SELECT :step_id::int, coalesce(max(run_num), 0) + 1, 'ACTIVE', now(), :started_by::text
FROM irp_step_run
WHERE step_id = :step_id::int
RETURNING id, run_num;

-- name: close_lost_step_run(chain_run_id, error)!
-- End what an earlier attempt of a chain run began and could not end.
UPDATE irp_step_run
SET status = 'FAILED', completed_ts = now(), error_message = :error::text
WHERE id = (SELECT step_run_id FROM irp_chain_run WHERE id = :chain_run_id::int)
  AND status = 'ACTIVE';

-- name: finish_step_run(step_run_id, status, error, output)!
-- Log how a step's notebook ended.
UPDATE irp_step_run
SET status = :status::step_status_enum, completed_ts = now(), error_message = :error::text,
    output_data = :output::jsonb
WHERE id = :step_run_id::int AND status = 'ACTIVE';

-- name: batches_of_step(step_id)
-- The batches of one step, oldest first.
SELECT id AS batch_id, batch_type, coalesce(status, 'INITIATED')::text AS status
FROM irp_batch
WHERE step_id = :step_id::int
ORDER BY id;

-- name: step_by_numbers(cycle_name, stage_num, step_num)^
-- A step by its location in the workflow.
SELECT step_id, step_num, step_name, notebook_path, stage_num, stage_name, cycle_id, cycle_name,
       cycle_status
FROM irp_v_step
WHERE cycle_name = :cycle_name::text AND stage_num = :stage_num::int AND step_num = :step_num::int;

-- name: step_by_id(step_id)^
-- A step by its id.
SELECT step_id, step_num, step_name, notebook_path, stage_num, stage_name, cycle_id, cycle_name,
       cycle_status
FROM irp_v_step
WHERE step_id = :step_id::int;

-- name: steps_with_a_path()
-- Steps of active cycles that name their notebook themselves.
SELECT step_id, notebook_path, cycle_name
FROM irp_v_step
WHERE is_in_active_cycle AND notebook_path IS NOT NULL
ORDER BY step_id;

-- name: lock_step(step_id)^
-- Hold a step, so that no two of its runs take the same number, until the transaction ends.
SELECT id FROM irp_step WHERE id = :step_id::int FOR NO KEY UPDATE;

-- name: start_step_run(step_id, started_by)^
-- Log that a step's notebook starts. Lock the step first, by a statement of its own: this one counts
-- what was committed before it began.
INSERT INTO irp_step_run (step_id, run_num, status, started_ts, started_by)
SELECT :step_id::int, coalesce(max(run_num), 0) + 1, 'ACTIVE', irp_now(), :started_by::text
FROM irp_step_run
WHERE step_id = :step_id::int
RETURNING id, run_num;

-- name: log_run_by_hand(step_id, status, error, seconds, started_by, owner)!
-- Log a run of a step's notebook that a person has brought to an end, cell by cell, unless somebody else
-- runs the step. Lock the step first: a run that begins later has a higher id, and does not adopt this one.
INSERT INTO irp_step_run (step_id, run_num, status, started_ts, completed_ts, started_by,
                          error_message, output_data)
SELECT :step_id::int, coalesce(max(run_num), 0) + 1, :status::step_status_enum,
       irp_now() - make_interval(secs => :seconds::float), irp_now(), :started_by::text, :error::text,
       '{"by_hand": true}'
FROM irp_step_run
WHERE step_id = :step_id::int
HAVING NOT EXISTS (SELECT FROM irp_step_claim
                   WHERE step_id = :step_id::int AND owner <> :owner::text
                     AND claim_expires_ts >= irp_clock());

-- name: close_unanswered_start(step_id, attempt, error)!
-- End the step run that this very claim began in a try whose reply was lost.
UPDATE irp_step_run
SET status = 'FAILED', completed_ts = irp_now(), error_message = :error::text,
    output_data = '{"stopped": true}'
WHERE status = 'ACTIVE'
  AND id = (SELECT step_run_id FROM irp_step_claim
            WHERE step_id = :step_id::int AND attempt = :attempt::int);

-- name: run_of_notebook(step_run_id)^
-- The step run that a notebook has logged by itself while this one ran; the last one counts.
SELECT run.id, run.status::text AS status, run.error_message
FROM irp_step_run AS own
JOIN irp_step_run AS run
    ON run.step_id = own.step_id AND run.id > own.id AND run.started_ts >= own.started_ts
WHERE own.id = :step_run_id::int
  AND NOT EXISTS (SELECT FROM irp_step_claim AS claim WHERE claim.step_run_id = run.id)
ORDER BY run.id DESC
LIMIT 1;

-- name: finish_step_run(step_run_id, status, error, output)!
-- Log how a step's notebook ended. What the run has logged by itself is kept.
UPDATE irp_step_run
SET status = :status::step_status_enum, completed_ts = coalesce(completed_ts, irp_now()),
    error_message = coalesce(:error::text, error_message),
    output_data = CASE WHEN jsonb_typeof(coalesce(output_data, '{}')) = 'object'
                       THEN :output::jsonb || coalesce(output_data, '{}') ELSE output_data END
WHERE id = :step_run_id::int;

-- name: delete_step_run(step_run_id)!
-- Remove a step run in whose place stands the one that its notebook has logged.
DELETE FROM irp_step_run WHERE id = :step_run_id::int;

-- name: note_executed_copy(step_run_id, path)!
-- Note where the executed copy, whose path was fixed before the run, went after all; NULL: nowhere.
UPDATE irp_step_run
SET output_data = output_data || jsonb_build_object('executed_notebook', :path::text)
WHERE id = :step_run_id::int AND jsonb_typeof(output_data) = 'object';

-- name: has_ended_by_itself(step_run_id)$
-- Whether a run has an end on record that nobody wrote who found it dead; one that is gone has been
-- replaced by its notebook's own.
SELECT NOT EXISTS (SELECT FROM irp_step_run
                   WHERE id = :step_run_id::int
                     AND (status = 'ACTIVE' OR output_data @> '{"stopped": true}'));

-- name: run_since(batch_id, next_step_num)^
-- The latest run of the step after a batch's own that has started since the batch ended, and goes on
-- or has ended by itself.
SELECT run.status::text AS status, run.started_by
FROM irp_batch AS batch
JOIN irp_step AS step ON step.id = batch.step_id
JOIN irp_step AS next_step
    ON next_step.stage_id = step.stage_id AND next_step.step_num = :next_step_num::int
JOIN irp_step_run AS run ON run.step_id = next_step.id
WHERE batch.id = :batch_id::int
  AND run.started_ts > coalesce(batch.completed_ts, batch.updated_ts, 'epoch')
  AND NOT coalesce(run.output_data @> '{"stopped": true}', false)
ORDER BY run.id DESC
LIMIT 1;

-- name: batches_of_step(step_id)
-- The batches of one step, oldest first.
SELECT id AS batch_id, batch_type, coalesce(status, 'INITIATED')::text AS status
FROM irp_batch
WHERE step_id = :step_id::int
ORDER BY id;

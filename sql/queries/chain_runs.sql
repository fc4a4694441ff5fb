-- name: due(batch_id, activation_num, stage_num, from_step_num, next_step_num)$
-- Make the next step due, once per activation; NULL if it was made due before.
INSERT INTO irp_chain_run
    (batch_id, activation_num, stage_num, from_step_num, next_step_num, next_step_id)
SELECT batch.id, :activation_num::int, :stage_num::int, :from_step_num::int, :next_step_num::int,
       next_step.id
FROM irp_batch AS batch
JOIN irp_step AS step ON step.id = batch.step_id
LEFT JOIN irp_step AS next_step
    ON next_step.stage_id = step.stage_id AND next_step.step_num = :next_step_num::int
WHERE batch.id = :batch_id::int
ON CONFLICT (batch_id, activation_num) DO NOTHING
RETURNING id;

-- name: cancel_overtaken(reason, expires)!
-- Cancel the chain runs whose batch became active again before they started, or after their claim
-- expired; the step run of such an owner has failed.
WITH overtaken AS (
    UPDATE irp_chain_run AS run
    SET status = 'CANCELLED', completed_ts = now(), error_message = :reason::text
    FROM irp_batch AS batch
    WHERE batch.id = run.batch_id AND batch.activation_num <> run.activation_num
      AND (run.status = 'PENDING'
           OR (run.status = 'RUNNING' AND run.heartbeat_ts < now() - :expires::interval))
    RETURNING run.step_run_id
)
UPDATE irp_step_run AS left_behind
SET status = 'FAILED', completed_ts = now(), error_message = :reason::text
FROM overtaken
WHERE left_behind.id = overtaken.step_run_id AND left_behind.status = 'ACTIVE';

-- name: give_up(most_attempts, reason, expires)
-- Fail the chain runs whose every attempt ended with the death of its monitor.
WITH given_up AS (
    UPDATE irp_chain_run
    SET status = 'FAILED', completed_ts = now(), error_message = :reason::text
    WHERE id IN (
        SELECT run.id
        FROM irp_chain_run AS run
        WHERE run.attempt >= :most_attempts::int
          AND (run.status = 'PENDING'
               OR (run.status = 'RUNNING' AND run.heartbeat_ts < now() - :expires::interval))
        ORDER BY run.id
        FOR UPDATE SKIP LOCKED)
    RETURNING id, batch_id, activation_num, next_step_num, next_step_id, notebook_path, step_run_id,
              error_message
)
SELECT given_up.*, batch.batch_type, cycle.cycle_name, stage.stage_num, stage.stage_name,
       step.step_num, step.step_name
FROM given_up
JOIN irp_batch AS batch ON batch.id = given_up.batch_id
JOIN irp_step AS step ON step.id = batch.step_id
JOIN irp_stage AS stage ON stage.id = step.stage_id
JOIN irp_cycle AS cycle ON cycle.id = stage.cycle_id
ORDER BY given_up.id;

-- name: claim(owner, most_attempts, next_step_id, expires)^
-- Claim the oldest chain run that is due, or whose claim has expired, unless its step's notebook runs
-- already. A next_step_id of NULL claims any step.
UPDATE irp_chain_run AS run
SET status = 'RUNNING', attempt = run.attempt + 1, owner = :owner::text, heartbeat_ts = now(),
    started_ts = now(), error_message = NULL
FROM (
    SELECT due.id, batch.batch_type, cycle.cycle_name, stage.stage_name, step.step_num, step.step_name
    FROM irp_chain_run AS due
    JOIN irp_batch AS batch ON batch.id = due.batch_id AND batch.activation_num = due.activation_num
    JOIN irp_step AS step ON step.id = batch.step_id
    JOIN irp_stage AS stage ON stage.id = step.stage_id
    JOIN irp_cycle AS cycle ON cycle.id = stage.cycle_id
    WHERE coalesce(cycle.status, 'ACTIVE') = 'ACTIVE'
      AND due.attempt < :most_attempts::int
      AND (due.status = 'PENDING'
           OR (due.status = 'RUNNING' AND due.heartbeat_ts < now() - :expires::interval))
      AND (:next_step_id::int IS NULL OR due.next_step_id = :next_step_id::int)
      AND NOT EXISTS (SELECT FROM irp_chain_run AS other
                      WHERE other.next_step_id = due.next_step_id AND other.id <> due.id
                        AND other.status = 'RUNNING')
    ORDER BY due.id
    LIMIT 1
    FOR UPDATE OF due SKIP LOCKED
) AS due
WHERE run.id = due.id
RETURNING run.id, run.batch_id, run.activation_num, run.attempt, run.next_step_num, run.next_step_id,
          due.batch_type, due.cycle_name, run.stage_num, due.stage_name, due.step_num, due.step_name;

-- name: heartbeat(owner, ids)
-- Renew this owner's claims, as of the moment of writing: it may have waited for a lock.
UPDATE irp_chain_run SET heartbeat_ts = clock_timestamp()
WHERE owner = :owner::text AND status = 'RUNNING' AND id = ANY (:ids::int[])
RETURNING id;

-- name: note_start(id, owner, step_run_id, notebook_path)!
-- Note which notebook an owner is about to run and where its step run is logged; renews the claim.
UPDATE irp_chain_run
SET step_run_id = :step_run_id::int, notebook_path = :notebook_path::text,
    heartbeat_ts = clock_timestamp()
WHERE id = :id::int AND owner = :owner::text AND status = 'RUNNING';

-- name: finish(id, owner, status, error)!
-- Record how a chain run ended, if it is still owned.
UPDATE irp_chain_run
SET status = :status::chain_run_status_enum, completed_ts = now(), error_message = :error::text
WHERE id = :id::int AND owner = :owner::text AND status = 'RUNNING';

-- name: release(id, owner, reason)!
-- Release a chain run that was stopped on the way; its attempt counts.
UPDATE irp_chain_run
SET status = 'PENDING', owner = NULL, heartbeat_ts = NULL, error_message = :reason::text
WHERE id = :id::int AND owner = :owner::text AND status = 'RUNNING';

-- name: open_runs()
-- Chain runs that are due or running, oldest first.
SELECT run.id, run.batch_id, run.stage_num, run.from_step_num, run.next_step_num,
       run.status::text AS status, run.attempt, run.owner, run.heartbeat_ts, run.started_ts,
       cycle.cycle_name, coalesce(cycle.status, 'ACTIVE')::text AS cycle_status
FROM irp_chain_run AS run
JOIN irp_batch AS batch ON batch.id = run.batch_id
JOIN irp_step AS step ON step.id = batch.step_id
JOIN irp_stage AS stage ON stage.id = step.stage_id
JOIN irp_cycle AS cycle ON cycle.id = stage.cycle_id
WHERE run.status IN ('PENDING', 'RUNNING')
ORDER BY run.id;

-- name: running_now(next_step_id, expires)^
-- Who runs a step's notebook at this moment.
SELECT id, owner FROM irp_chain_run
WHERE next_step_id = :next_step_id::int AND status = 'RUNNING'
  AND heartbeat_ts >= now() - :expires::interval;

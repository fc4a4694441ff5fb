-- name: due(batch_id, activation_num, stage_num, from_step_num, next_step_num)$
-- Make a hand-over due, once per activation; NULL where it was made before.
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
-- Hand-overs whose batch became active again before they started, or after their owner died; the
-- step run that such an owner left behind has failed.
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
-- Hand-overs whose every attempt ended with the death of its monitor.
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
RETURNING id, batch_id, activation_num, stage_num, from_step_num, next_step_num, next_step_id,
          notebook_path, step_run_id, error_message;

-- name: claim(owner, most_attempts, next_step_id, expires)^
-- Take the oldest hand-over that is due, or whose owner is dead; a step's notebook that runs already
-- is left to run. A next_step_id of NULL takes any step.
UPDATE irp_chain_run AS run
SET status = 'RUNNING', attempt = run.attempt + 1, owner = :owner::text, heartbeat_ts = now(),
    started_ts = now(), error_message = NULL
FROM (
    SELECT due.id
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
RETURNING run.id, run.batch_id, run.activation_num, run.stage_num, run.from_step_num,
          run.next_step_num, run.next_step_id, run.attempt;

-- name: heartbeat(owner, ids)
-- Renew what this owner still runs, as of the moment of writing: it may have waited for a lock.
UPDATE irp_chain_run SET heartbeat_ts = clock_timestamp()
WHERE owner = :owner::text AND status = 'RUNNING' AND id = ANY (:ids::int[])
RETURNING id;

-- name: note_start(id, owner, step_run_id, notebook_path)!
-- Which notebook an owner is about to run, and where its step run is logged; a sign of life.
UPDATE irp_chain_run
SET step_run_id = :step_run_id::int, notebook_path = :notebook_path::text,
    heartbeat_ts = clock_timestamp()
WHERE id = :id::int AND owner = :owner::text AND status = 'RUNNING';

-- name: finish(id, owner, status, error)!
-- How a hand-over ended; only its owner may say so.
UPDATE irp_chain_run
SET status = :status::chain_run_status_enum, completed_ts = now(), error_message = :error::text
WHERE id = :id::int AND owner = :owner::text AND status = 'RUNNING';

-- name: release(id, owner, reason)!
-- Give a hand-over back that was stopped on the way; its attempt counts.
UPDATE irp_chain_run
SET status = 'PENDING', owner = NULL, heartbeat_ts = NULL, error_message = :reason::text
WHERE id = :id::int AND owner = :owner::text AND status = 'RUNNING';

-- name: open_runs()
-- Hand-overs that are due or running, oldest first.
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

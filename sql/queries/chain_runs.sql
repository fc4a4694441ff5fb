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

-- name: cancel_overtaken(reason)!
-- Cancel the chain runs whose batch became active again before they were served.
UPDATE irp_chain_run AS run
SET status = 'CANCELLED', completed_ts = irp_now(), error_message = :reason::text
FROM irp_batch AS batch
WHERE batch.id = run.batch_id AND batch.activation_num <> run.activation_num
  AND run.status = 'PENDING';

-- name: give_up(most_tries, reason)
-- Fail the chain runs whose every try ended before its verdict, and those whose cycle lacks the step.
WITH hopeless AS (
    SELECT run.id, run.next_step_id
    FROM irp_chain_run AS run
    JOIN irp_v_batch AS batch USING (batch_id)
    WHERE run.status = 'PENDING'
      AND (run.attempt >= :most_tries::int
           OR (run.next_step_id IS NULL AND batch.is_in_active_cycle))
    ORDER BY run.id
    FOR UPDATE OF run SKIP LOCKED
), given_up AS (
    UPDATE irp_chain_run AS run
    SET status = 'FAILED', completed_ts = irp_now(),
        error_message = CASE WHEN hopeless.next_step_id IS NULL THEN 'The cycle has no step ' || run.next_step_num || ' in stage ' || run.stage_num
                                  || ': it is not in irp_step.'
                             ELSE :reason::text END
    FROM hopeless
    WHERE run.id = hopeless.id
    RETURNING run.id, run.batch_id, run.activation_num, run.next_step_num,
              run.notebook_path, run.error_message
)
SELECT given_up.*, batch.batch_type, batch.cycle_name, batch.stage_num, batch.stage_name,
       batch.step_num, batch.step_name
FROM given_up
JOIN irp_v_batch AS batch USING (batch_id)
ORDER BY given_up.id;

-- name: claimable_steps(most_tries, rules)
-- The steps that a pass may claim: nobody holds them, and a person wants them run again, or a chain run
-- is due that waits for nothing.
WITH due AS (
    SELECT run.next_step_id AS step_id, run.id AS since
    FROM irp_chain_run AS run
    JOIN irp_v_batch AS batch USING (batch_id, activation_num)
    LEFT JOIN jsonb_to_recordset(:rules::jsonb) AS rule (stage_num int, step_num int, fires_on text[])
        ON rule.stage_num = run.stage_num AND rule.step_num = run.from_step_num
    WHERE run.status = 'PENDING' AND run.attempt < :most_tries::int AND run.next_step_id IS NOT NULL
      AND batch.is_in_active_cycle
      AND (run.released
           OR NOT EXISTS (SELECT FROM irp_chain_run_holders(run.batch_id, run.next_step_id,
                                                            rule.fires_on)))
    UNION ALL
    SELECT claim.step_id, 0
    FROM irp_step_claim AS claim
    JOIN irp_v_step AS step USING (step_id)
    WHERE claim.rerun_action_id IS NOT NULL AND claim.rerun_tries < :most_tries::int
      AND step.is_in_active_cycle
)
SELECT due.step_id
FROM due
WHERE NOT EXISTS (SELECT FROM irp_step_claim AS claim
                  WHERE claim.step_id = due.step_id
                    AND (claim.owner IS NOT NULL OR claim.hold_action_id IS NOT NULL))
GROUP BY due.step_id
ORDER BY min(due.since);

-- name: serve(step_id, attempt, owner, most_tries, by_hand, rules)
-- Stamp all chain runs of a step that are due with the claim that serves them; each counts a try. A
-- run by hand serves those too that wait or have no try left.
UPDATE irp_chain_run AS run
SET status = 'RUNNING', served_by = :attempt::int, attempt = least(run.attempt + 1, :most_tries::int),
    owner = :owner::text, heartbeat_ts = NULL, started_ts = irp_now(), error_message = NULL
FROM irp_v_batch AS batch
LEFT JOIN jsonb_to_recordset(:rules::jsonb) AS rule (stage_num int, step_num int, fires_on text[])
    ON rule.stage_num = batch.stage_num AND rule.step_num = batch.step_num
WHERE run.next_step_id = :step_id::int AND run.status = 'PENDING'
  AND batch.batch_id = run.batch_id AND batch.activation_num = run.activation_num
  AND batch.is_in_active_cycle
  AND (:by_hand::boolean
       OR (run.attempt < :most_tries::int
           AND (run.released
                OR NOT EXISTS (SELECT FROM irp_chain_run_holders(run.batch_id, run.next_step_id,
                                                                 rule.fires_on)))))
RETURNING run.id, run.batch_id, run.activation_num, run.next_step_num,
          batch.batch_type, batch.cycle_name, batch.stage_num, batch.stage_name, batch.step_num,
          batch.step_name;

-- name: note_start(step_id, attempt, step_run_id, notebook_path)!
-- Note which notebook is about to run for the chain runs that a claim serves.
UPDATE irp_chain_run
SET step_run_id = :step_run_id::int, notebook_path = :notebook_path::text
WHERE next_step_id = :step_id::int AND served_by = :attempt::int AND status = 'RUNNING';

-- name: finish(step_id, attempt, status, step_run_id, error, overtaken)
-- Record how the chain runs that a claim serves ended; those whose batch is active again are cancelled.
UPDATE irp_chain_run AS run
SET status = CASE WHEN batch.activation_num = run.activation_num THEN :status::chain_run_status_enum
                  ELSE 'CANCELLED' END,
    error_message = CASE WHEN batch.activation_num = run.activation_num THEN :error::text
                         ELSE :overtaken::text END,
    step_run_id = coalesce(:step_run_id::int, run.step_run_id), completed_ts = irp_now()
FROM irp_batch AS batch
WHERE run.next_step_id = :step_id::int AND run.served_by = :attempt::int AND run.status = 'RUNNING'
  AND batch.id = run.batch_id
RETURNING run.id, run.status::text AS status;

-- name: holders(batch_id, step_id, fires_on)
-- What the chain run of a batch to a step waits for.
SELECT batch_id, batch_status, step_run_id, started_by
FROM irp_chain_run_holders(:batch_id::int, :step_id::int, :fires_on::text[])
ORDER BY batch_id, step_run_id;

-- name: is_released(batch_id, activation_num)$
-- Whether a person has released the chain run of a batch from what it waits for.
SELECT coalesce(bool_or(released), false)
FROM irp_chain_run
WHERE batch_id = :batch_id::int AND activation_num = :activation_num::int;

-- name: open_runs(rules)
-- Chain runs that are due or running, oldest first, with who runs them or what they wait for.
SELECT run.id, run.batch_id, run.stage_num, run.next_step_num,
       run.status::text AS status, run.attempt, run.owner, claim.claim_expires_ts, run.started_ts,
       batch.cycle_name, batch.cycle_status,
       hold.person AS held_by, hold.created_ts AS held_ts, hold.reason AS held_because,
       CASE WHEN run.released OR run.status = 'RUNNING' THEN '[]'
            ELSE (SELECT coalesce(jsonb_agg(to_jsonb(holder)
                                            ORDER BY holder.batch_id, holder.step_run_id), '[]')
                  FROM irp_chain_run_holders(run.batch_id, run.next_step_id, rule.fires_on) AS holder)
       END AS waits_for
FROM irp_chain_run AS run
JOIN irp_v_batch AS batch USING (batch_id)
LEFT JOIN irp_step_claim AS claim
    ON claim.step_id = run.next_step_id AND claim.attempt = run.served_by
LEFT JOIN irp_step_claim AS of_step ON of_step.step_id = run.next_step_id
LEFT JOIN irp_action AS hold ON hold.id = of_step.hold_action_id
LEFT JOIN jsonb_to_recordset(:rules::jsonb) AS rule (stage_num int, step_num int, fires_on text[])
    ON rule.stage_num = run.stage_num AND rule.step_num = run.from_step_num
WHERE run.status IN ('PENDING', 'RUNNING')
ORDER BY run.id;

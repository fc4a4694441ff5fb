-- name: lock_claim(step_id)!
-- Make sure that a step has the row of its claim.
INSERT INTO irp_step_claim (step_id, attempt) VALUES (:step_id::int, 0) ON CONFLICT DO NOTHING;

-- name: hold_step_open(step_id)^
-- Hold the claim of a step against those who would take it, and its cycle against being archived.
SELECT claim.step_id
FROM irp_step_claim AS claim
JOIN irp_step AS step ON step.id = claim.step_id
JOIN irp_stage AS stage ON stage.id = step.stage_id
JOIN irp_cycle AS cycle ON cycle.id = stage.cycle_id
WHERE claim.step_id = :step_id::int
FOR UPDATE OF claim FOR SHARE OF cycle;

-- name: claim_seen(step_id)^
-- What a plan sees of a step's claim; an expired one is nobody's.
SELECT coalesce(max(attempt), 0) AS attempt, max(hold_action_id) AS hold_action_id,
       max(rerun_action_id) AS rerun_action_id,
       max(owner) FILTER (WHERE claim_expires_ts >= irp_clock()) AS owner
FROM irp_step_claim
WHERE step_id = :step_id::int;

-- name: chain_runs_seen(step_id, rules)
-- The chain runs that lead to a step from batches as they are now, with what they wait for.
SELECT run.id, run.batch_id, run.status::text AS status, run.released,
       (SELECT coalesce(jsonb_agg(to_jsonb(holder) ORDER BY holder.batch_id, holder.step_run_id), '[]')
        FROM irp_chain_run_holders(run.batch_id, run.next_step_id, rule.fires_on) AS holder) AS waits_for
FROM irp_chain_run AS run
JOIN irp_batch AS batch ON batch.id = run.batch_id AND batch.activation_num = run.activation_num
LEFT JOIN jsonb_to_recordset(:rules::jsonb) AS rule (stage_num int, step_num int, fires_on text[])
    ON rule.stage_num = run.stage_num AND rule.step_num = run.from_step_num
WHERE run.next_step_id = :step_id::int AND run.status IN ('PENDING', 'RUNNING', 'FAILED')
ORDER BY run.id;

-- name: set_hold(step_id, action_id)!
-- Hold a step, or with NULL hold it no longer.
UPDATE irp_step_claim SET hold_action_id = :action_id::bigint WHERE step_id = :step_id::int;

-- name: release_chain_runs(chain_run_ids)!
-- Let chain runs start their step, whatever they wait for.
UPDATE irp_chain_run SET released = true
WHERE id = ANY (:chain_run_ids::int[]) AND status = 'PENDING';

-- name: make_due(step_id, action_id)!
-- Make a step due because a person wants it run again.
UPDATE irp_step_claim SET rerun_action_id = :action_id::bigint, rerun_tries = 0
WHERE step_id = :step_id::int;

-- name: reopen_chain_runs(chain_run_ids)!
-- Let the chain runs that led to a failed run of a step be served again, with all of their tries.
UPDATE irp_chain_run
SET status = 'PENDING', attempt = 0, owner = NULL, completed_ts = NULL, error_message = NULL
WHERE id = ANY (:chain_run_ids::int[]) AND status IN ('PENDING', 'FAILED');

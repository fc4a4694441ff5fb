-- name: cap_expiries(lasts)!
-- Bring expiries that no beat can have set, because the server's clock was ahead, to where a beat of
-- this moment would set them: a living owner renews its claim, a dead one's expires.
UPDATE irp_step_claim SET claim_expires_ts = irp_clock() + :lasts::interval
WHERE owner IS NOT NULL AND claim_expires_ts > irp_clock() + :lasts::interval + interval '5 s';

-- name: release(step_id, attempt, owner, reason)!
-- Release a claim, if it is still held; or, with a step_id of NULL, all that have expired. Without a
-- verdict, what it served is due again, and the runs that it and its notebook left ACTIVE have failed.
WITH released AS (
    SELECT step_id, attempt, step_run_id, verdict
    FROM irp_step_claim
    WHERE owner IS NOT NULL
      AND ((:step_id::int IS NULL AND claim_expires_ts < irp_clock())
           OR (step_id = :step_id::int AND attempt = :attempt::int AND owner = :owner::text))
    ORDER BY step_id
    FOR UPDATE
), due_again AS (
    UPDATE irp_chain_run AS run
    SET status = 'PENDING', owner = NULL, error_message = :reason::text
    FROM released
    WHERE run.next_step_id = released.step_id AND run.served_by = released.attempt
      AND run.status = 'RUNNING'
), failed AS (
    UPDATE irp_step_run AS run
    SET status = 'FAILED', completed_ts = irp_now(), error_message = :reason::text,
        output_data = coalesce(run.output_data, '{}') || '{"stopped": true}'
    FROM released, irp_step_run AS own
    WHERE released.verdict IS NULL AND own.id = released.step_run_id
      AND run.step_id = released.step_id AND run.status = 'ACTIVE'
      AND (run.id = own.id OR (run.id > own.id AND run.started_ts >= own.started_ts))
)
UPDATE irp_step_claim AS claim
SET owner = NULL, claim_expires_ts = NULL, step_run_id = NULL, verdict = NULL
FROM released
WHERE claim.step_id = released.step_id;

-- name: take(step_id, owner, lasts, by_hand, serves, most_tries)^
-- Claim a step that nobody has claimed; a pass claims none that a person holds. Returns the new attempt
-- and whose rerun it serves, which counts a try, and for a pass has to have one left; nothing if it
-- cannot be claimed.
INSERT INTO irp_step_claim AS claim (step_id, attempt, owner, claimed_ts, claim_expires_ts)
VALUES (:step_id::int, 1, :owner::text, irp_clock(), irp_clock() + :lasts::interval)
ON CONFLICT (step_id) DO UPDATE
SET attempt = claim.attempt + 1, owner = excluded.owner, claimed_ts = irp_clock(),
    claim_expires_ts = irp_clock() + :lasts::interval, step_run_id = NULL, verdict = NULL,
    stop_reason = NULL, worker_started_ts = NULL, worker_seen_ts = NULL, worker_verdict = NULL,
    worker_ended_ts = NULL,
    rerun_tries = claim.rerun_tries + :serves::boolean::int
WHERE claim.owner IS NULL AND (:by_hand::boolean OR claim.hold_action_id IS NULL)
RETURNING attempt, (SELECT person FROM irp_action
                    WHERE id = claim.rerun_action_id AND :serves::boolean
                      AND (:by_hand::boolean OR claim.rerun_tries <= :most_tries::int)) AS rerun_by;

-- name: renew(owner, step_ids, attempts, lasts)
-- Renew this owner's claims, as of the moment of writing: it may have waited for a lock.
UPDATE irp_step_claim AS claim
SET claim_expires_ts = irp_clock() + :lasts::interval
FROM unnest(:step_ids::int[], :attempts::int[]) AS held (step_id, attempt)
WHERE claim.step_id = held.step_id AND claim.attempt = held.attempt AND claim.owner = :owner::text
RETURNING claim.step_id, claim.attempt;

-- name: note_start(step_id, owner, attempt, step_run_id, lasts)!
-- Note the step run that is about to begin, if the claim is still held; renews it.
UPDATE irp_step_claim
SET step_run_id = :step_run_id::int, claim_expires_ts = irp_clock() + :lasts::interval
WHERE step_id = :step_id::int AND attempt = :attempt::int AND owner = :owner::text
  AND verdict IS NULL;

-- name: record_verdict(step_id, owner, attempt, verdict, outcome, step_run_id, lasts)!
-- Record once how the run of a claim ended, if the claim is still held; the claim is kept. A rerun that
-- was due has had its run.
WITH mine AS (
    SELECT step_id, rerun_action_id
    FROM irp_step_claim
    WHERE step_id = :step_id::int AND attempt = :attempt::int AND owner = :owner::text
      AND verdict IS NULL
    FOR UPDATE
), rerun AS (
    UPDATE irp_action AS action
    SET status = CASE :verdict::text WHEN 'FAILED' THEN 'FAILED' ELSE 'DONE' END::action_status_enum,
        outcome = :outcome::text, completed_ts = irp_now()
    FROM mine
    WHERE action.id = mine.rerun_action_id AND action.status = 'PLANNED'
)
UPDATE irp_step_claim AS claim
SET rerun_action_id = NULL, verdict = :verdict::step_status_enum,
    step_run_id = coalesce(:step_run_id::int, step_run_id),
    claim_expires_ts = irp_clock() + :lasts::interval
FROM mine
WHERE claim.step_id = mine.step_id;

-- name: give_up_reruns(most_tries, reason)!
-- Give up the reruns whose every try ended before its verdict.
WITH hopeless AS (
    SELECT step_id, rerun_action_id
    FROM irp_step_claim
    WHERE owner IS NULL AND rerun_action_id IS NOT NULL AND rerun_tries >= :most_tries::int
    ORDER BY step_id
    FOR UPDATE SKIP LOCKED
), given_up AS (
    UPDATE irp_action AS action
    SET status = 'FAILED', outcome = :reason::text, completed_ts = irp_now()
    FROM hopeless
    WHERE action.id = hopeless.rerun_action_id AND action.status = 'PLANNED'
)
UPDATE irp_step_claim AS claim SET rerun_action_id = NULL FROM hopeless
WHERE claim.step_id = hopeless.step_id;

-- name: is_current(step_id, attempt)$
-- Whether a claim has not been released, nor taken by another.
SELECT EXISTS (SELECT FROM irp_step_claim
               WHERE step_id = :step_id::int AND attempt = :attempt::int AND owner IS NOT NULL);

-- name: holder(step_id)^
-- Who holds the claim of a step.
SELECT attempt, owner, claimed_ts
FROM irp_step_claim
WHERE step_id = :step_id::int AND owner IS NOT NULL AND claim_expires_ts >= irp_clock();

-- name: hold_of(step_id)^
-- Who holds a step, so that no pass starts it, since when and why.
SELECT action.person AS held_by, action.created_ts AS held_ts, action.reason AS held_because
FROM irp_step_claim AS claim
JOIN irp_action AS action ON action.id = claim.hold_action_id
WHERE claim.step_id = :step_id::int;

-- name: start(step_id, attempt)^
-- Note that a worker starts this attempt; whether it is the first one, and what the claim says.
WITH claim AS (
    SELECT attempt, owner, claim_expires_ts, stop_reason, worker_started_ts
    FROM irp_step_claim
    WHERE step_id = :step_id::int
    FOR UPDATE
), started AS (
    UPDATE irp_step_claim
    SET worker_started_ts = irp_clock()
    FROM claim
    WHERE irp_step_claim.step_id = :step_id::int AND claim.attempt = :attempt::int
      AND claim.owner IS NOT NULL AND claim.worker_started_ts IS NULL AND claim.stop_reason IS NULL
    RETURNING irp_step_claim.step_id
)
SELECT EXISTS (SELECT FROM started) AS is_first,
       (SELECT stop_reason FROM claim WHERE attempt = :attempt::int) AS stop_reason,
       (SELECT extract(epoch FROM claim_expires_ts - irp_clock())
        FROM claim WHERE attempt = :attempt::int AND owner IS NOT NULL) AS seconds_left;

-- name: look(step_id, attempt)^
-- What the claim of a run elsewhere says: for how long it is still good (NULL: it is another's, or
-- nobody's), and why the run shall stop.
SELECT max(stop_reason) AS stop_reason,
       max(extract(epoch FROM claim_expires_ts - irp_clock()))
           FILTER (WHERE owner IS NOT NULL) AS seconds_left
FROM irp_step_claim
WHERE step_id = :step_id::int AND attempt = :attempt::int;

-- name: ask_to_stop(step_id, attempt, reason)!
-- Ask the worker of this attempt to stop; the first reason counts.
UPDATE irp_step_claim
SET stop_reason = coalesce(stop_reason, :reason::text)
WHERE step_id = :step_id::int AND attempt = :attempt::int;

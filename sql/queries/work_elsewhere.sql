-- name: start(step_id, attempt)^
-- Note that a worker starts this attempt; whether it is the first one, and what the claim says.
WITH claim AS (
    SELECT attempt, owner, claim_expires_ts, stop_reason, worker_started_ts
    FROM irp_step_claim
    WHERE step_id = :step_id::int
    FOR UPDATE
), started AS (
    UPDATE irp_step_claim
    SET worker_started_ts = irp_clock(), worker_seen_ts = irp_clock()
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
-- nobody's), and why the run shall stop. Asking is the worker's sign of life.
WITH seen AS (
    UPDATE irp_step_claim
    SET worker_seen_ts = irp_clock()
    WHERE step_id = :step_id::int AND attempt = :attempt::int
    RETURNING owner, stop_reason, claim_expires_ts
)
SELECT max(stop_reason) AS stop_reason,
       max(extract(epoch FROM claim_expires_ts - irp_clock()))
           FILTER (WHERE owner IS NOT NULL) AS seconds_left
FROM seen;

-- name: note_verdict(step_id, attempt, verdict)!
-- Note how the notebook of this attempt has ended on its worker; the first word counts.
UPDATE irp_step_claim
SET worker_verdict = coalesce(worker_verdict, :verdict::jsonb)
WHERE step_id = :step_id::int AND attempt = :attempt::int;

-- name: note_end(step_id, attempt, verdict)!
-- Note that the kernel of this attempt is gone from its worker, with all that it started.
UPDATE irp_step_claim
SET worker_verdict = coalesce(worker_verdict, :verdict::jsonb), worker_ended_ts = irp_clock()
WHERE step_id = :step_id::int AND attempt = :attempt::int;

-- name: follow(step_id, attempt)^
-- How far the worker of this attempt has come; no row if another attempt has begun.
SELECT stop_reason, worker_started_ts, worker_seen_ts, worker_verdict, worker_ended_ts
FROM irp_step_claim
WHERE step_id = :step_id::int AND attempt = :attempt::int;

-- name: ask_to_stop(step_id, attempt, reason)!
-- Ask the worker of this attempt to stop; the first reason counts. One that has not started it by
-- then never does.
UPDATE irp_step_claim
SET stop_reason = coalesce(stop_reason, :reason::text)
WHERE step_id = :step_id::int AND attempt = :attempt::int;

-- name: which_database()$
-- What tells this database from any other.
SELECT current_database() || ' of a server that started ' || pg_postmaster_start_time();

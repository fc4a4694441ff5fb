-- name: start(host, pid, package_version, started_by, copy_is_current)$
-- A pass has begun.
INSERT INTO irp_monitor_run (host, pid, package_version, started_by, copy_is_current)
VALUES (:host::text, :pid::int, :package_version::text, :started_by::text,
        :copy_is_current::boolean)
RETURNING id;

-- name: finish(id, batches_found, batches_settled, jobs_polled, polls_failed, status_changes, chains_run, cards_sent, errors)!
-- A pass has ended.
UPDATE irp_monitor_run
SET finished_ts = irp_now(), batches_found = :batches_found::int, batches_settled = :batches_settled::int,
    jobs_polled = :jobs_polled::int, polls_failed = :polls_failed::int,
    status_changes = :status_changes::int, chains_run = :chains_run::int,
    cards_sent = :cards_sent::int, errors = :errors::jsonb
WHERE id = :id::int;

-- name: open_work()^
-- What is left to do: decides when the next pass is worth its while.
SELECT (SELECT count(*) FROM irp_v_batch WHERE is_watched) AS active_batches,
       (SELECT count(*) FROM irp_chain_run AS run
        JOIN irp_v_batch AS batch USING (batch_id)
        WHERE run.status IN ('PENDING', 'RUNNING') AND batch.is_in_active_cycle) AS open_chain_runs,
       (SELECT count(*) FROM irp_notification WHERE status = 'PENDING') AS pending_cards;

-- name: last()^
-- The latest pass that ended.
SELECT id, started_ts, finished_ts, batches_found, batches_settled, jobs_polled, status_changes,
       chains_run, cards_sent, errors
FROM irp_monitor_run
WHERE finished_ts IS NOT NULL
ORDER BY id DESC
LIMIT 1;

-- name: health(of_late, silent_after, scheduled, own_run_id)^
-- Whether monitoring is on: the last pass that was completed, those of the last hour, the last error.
-- Passes with a time in the future say nothing: the server's clock went back. A pass that asks is not
-- one that is running or was cut off.
WITH run AS NOT MATERIALIZED (
    SELECT id, started_ts, finished_ts, started_by, copy_is_current, errors FROM irp_monitor_run
    WHERE started_ts <= irp_now() + interval '1 minute'
)
SELECT irp_now() AS now_ts,
       (SELECT finished_ts FROM run
        WHERE finished_ts <= irp_now() + interval '1 minute' ORDER BY started_ts DESC LIMIT 1) AS last_completed_ts,
       (SELECT count(*) FROM run
        WHERE started_ts > irp_now() - interval '1 hour'
          AND id IS DISTINCT FROM :own_run_id::int) AS started_last_hour,
       (SELECT count(finished_ts) FROM run
        WHERE started_ts > irp_now() - interval '1 hour') AS completed_last_hour,
       (SELECT count(*) FROM run
        WHERE started_ts > irp_now() - :of_late::interval
          AND started_by = :scheduled::text) AS scheduled_of_late,
       (SELECT copy_is_current FROM run
        WHERE started_ts > irp_now() - :of_late::interval
          AND started_by = :scheduled::text
        ORDER BY started_ts DESC LIMIT 1) AS copy_is_current,
       ARRAY(SELECT DISTINCT started_by FROM run
             WHERE started_ts > irp_now() - interval '1 day'
               AND finished_ts > irp_now() - :silent_after::interval) AS started_by_of_late,
       error.started_ts AS last_error_ts,
       error.errors -> 0 ->> 'about' AS last_error_about,
       error.errors -> 0 ->> 'text' AS last_error_text
FROM (VALUES (1)) AS one (row)
LEFT JOIN LATERAL (
    SELECT started_ts, errors FROM run
    WHERE started_ts > irp_now() - interval '7 days' AND errors <> '[]'
    ORDER BY started_ts DESC LIMIT 1
) AS error ON true;

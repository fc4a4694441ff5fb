-- name: is_due(id, every)$
-- Whether no pass on the same host, started in the same way, has done its housekeeping for so long.
SELECT NOT EXISTS (
    SELECT FROM irp_monitor_run AS run
    JOIN irp_monitor_run AS own ON own.id = :id::int
    WHERE run.tidied_ts BETWEEN irp_now() - :every::interval AND irp_now() + interval '1 minute'
      AND run.host = own.host AND run.started_by = own.started_by);

-- name: note_done(id)!
-- This pass has done its housekeeping.
UPDATE irp_monitor_run SET tidied_ts = irp_now() WHERE id = :id::int;

-- name: add_days(days_ahead)$
-- Make the partitions of the days to come; other work is not kept waiting for it.
SELECT irp_tracking_log_add_days(:days_ahead::int)
FROM set_config('lock_timeout', '1s', true);

-- name: drop_days(older_than)$
-- Drop the partitions of days that are past the retention.
SELECT irp_tracking_log_drop_days(:older_than::interval)
FROM set_config('lock_timeout', '1s', true);

-- name: prune_monitor_runs(older_than, most)!
-- Forget old passes.
DELETE FROM irp_monitor_run
WHERE id IN (SELECT id FROM irp_monitor_run WHERE started_ts < irp_now() - :older_than::interval
             ORDER BY started_ts LIMIT :most::int);

-- name: prune_reconciliations(older_than, most)!
-- Forget old reconciliations that changed nothing; only the monitor writes a reason beside them.
DELETE FROM irp_batch_recon_log
WHERE id IN (SELECT id FROM irp_batch_recon_log
             WHERE recon_result = 'ACTIVE' AND recon_ts < irp_now() - :older_than::interval
               AND recon_summary ? 'reason'
             ORDER BY recon_ts LIMIT :most::int);

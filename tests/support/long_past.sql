-- A long past: jobs of archived cycles, and the tracking log that they left behind. A tenth as many
-- jobs as the log has rows (bench.log_rows); each job left three rows for good and seven polls of one
-- of the last 29 days. Bodies are short: what a pass could trip over is the number of rows.

SET session_replication_role = replica;  -- the keys hold by construction; checking them takes minutes
SET synchronous_commit = off;

INSERT INTO irp_cycle (cycle_name, status, archived_ts)
SELECT 'Archived-' || n, 'ARCHIVED', now() FROM generate_series(1, 100) AS n;

INSERT INTO irp_stage (cycle_id, stage_num, stage_name)
SELECT id, 4, 'Analysis' FROM irp_cycle WHERE status = 'ARCHIVED';

INSERT INTO irp_step (stage_id, step_num, step_name)
SELECT stage.id, 1, 'Execute Analysis'
FROM irp_stage AS stage JOIN irp_cycle AS cycle ON cycle.id = stage.cycle_id
WHERE cycle.status = 'ARCHIVED';

-- Fifty jobs a batch; one batch in twenty failed.
INSERT INTO irp_batch (step_id, batch_type, status, activation_num, submitted_ts, completed_ts)
SELECT step.id, 'Analysis',
       CASE WHEN (step.id + n) % 20 = 0 THEN 'FAILED' ELSE 'COMPLETED' END::batch_status_enum, 1,
       now() - interval '1 month', now() - interval '1 month'
FROM irp_step AS step
JOIN irp_stage AS stage ON stage.id = step.stage_id
JOIN irp_cycle AS cycle ON cycle.id = stage.cycle_id
CROSS JOIN generate_series(1, current_setting('bench.log_rows')::int / 10 / 50 / 100) AS n
WHERE cycle.status = 'ARCHIVED';

INSERT INTO irp_batch_recon_log (batch_id, recon_ts, recon_result, recon_summary)
SELECT batch.id, now() - interval '1 month', 'ACTIVE', '{"reason": "50 running"}'
FROM irp_batch AS batch CROSS JOIN generate_series(1, 10)
WHERE batch.status <> 'ACTIVE';

INSERT INTO irp_job_configuration (batch_id, job_configuration_data)
SELECT batch.id, '{}'
FROM irp_batch AS batch CROSS JOIN generate_series(1, 50)
WHERE batch.status <> 'ACTIVE'
ORDER BY batch.id;

INSERT INTO irp_job (batch_id, job_configuration_id, moodys_workflow_id, status, submitted_ts,
                     completed_ts, last_tracked_ts)
SELECT configuration.batch_id, configuration.id, (50000000 + configuration.id)::text,
       CASE WHEN batch.status = 'FAILED' THEN 'FAILED' ELSE 'FINISHED' END::job_status_enum,
       now() - interval '1 month', now() - interval '1 month', now() - interval '1 month'
FROM irp_job_configuration AS configuration
JOIN irp_batch AS batch ON batch.id = configuration.batch_id
WHERE batch.status <> 'ACTIVE'
ORDER BY configuration.id;

DO $$
DECLARE day date;
BEGIN
    FOR day IN SELECT (now() AT TIME ZONE 'UTC')::date - n FROM generate_series(1, 29) AS n LOOP
        EXECUTE format(
            'CREATE TABLE %I PARTITION OF irp_job_tracking_log_polls FOR VALUES FROM (%L) TO (%L)',
            'irp_job_tracking_log_' || to_char(day, 'YYYYMMDD'),
            day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
    END LOOP;
END $$;

INSERT INTO irp_job_tracking_log
    (job_id, tracked_ts, moodys_workflow_id, job_status, tracking_data, http_status, kept)
SELECT job.id,
       ((now() AT TIME ZONE 'UTC')::date - 1 - (job.id % 29)::int + time '12:00') AT TIME ZONE 'UTC'
           + poll * interval '1 minute',
       job.moodys_workflow_id, CASE WHEN poll = 10 THEN job.status::text ELSE 'RUNNING' END,
       '{"status": "RUNNING"}', 200, poll IN (1, 2, 10)
FROM irp_job AS job
JOIN irp_batch AS batch ON batch.id = job.batch_id
CROSS JOIN generate_series(1, 10) AS poll
WHERE batch.status <> 'ACTIVE'
ORDER BY job.id, poll;

-- What the monitor itself left: a pass a minute for a month, a hand-over per completed batch, a card
-- per failed one.
INSERT INTO irp_monitor_run (started_ts, finished_ts, tidied_ts, host, pid, package_version, started_by)
SELECT now() - n * interval '1 minute', now() - n * interval '1 minute',
       CASE WHEN n % 60 = 0 THEN now() - n * interval '1 minute' END, 'host', n, '1', 'command'
FROM generate_series(1, 43200) AS n;

INSERT INTO irp_chain_run (batch_id, activation_num, stage_num, from_step_num, next_step_num, status,
                           attempt, owner, started_ts, completed_ts)
SELECT id, 1, 4, 1, 2, 'COMPLETED', 1, 'host', completed_ts, completed_ts
FROM irp_batch WHERE status = 'COMPLETED' ORDER BY id;

INSERT INTO irp_notification (kind, batch_id, activation_num, payload, status, sent_ts, created_ts)
SELECT 'BATCH_FAILED', id, 1, '{}', 'SENT', completed_ts, completed_ts
FROM irp_batch WHERE status = 'FAILED' ORDER BY id;

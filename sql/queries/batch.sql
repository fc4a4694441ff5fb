-- name: active_batches()
-- The batches that a pass watches: ACTIVE ones in ACTIVE cycles, oldest first.
SELECT batch_id, batch_type, submitted_ts, activation_num, cycle_id, cycle_name, stage_num, stage_name,
       step_id, step_num, step_name
FROM irp_v_batch
WHERE is_watched
ORDER BY batch_id;

-- name: read_batch(batch_id)^
-- One batch with its place in the workflow.
SELECT batch_id AS id, batch_id, batch_type, status, activation_num, configuration_id, submitted_ts,
       completed_ts, created_ts, updated_ts, cycle_id, cycle_name, cycle_status, stage_num, stage_name,
       step_id, step_num, step_name, notebook_path
FROM irp_v_batch
WHERE batch_id = :batch_id::int;

-- name: lock_batch(batch_id)^
-- Hold the batch against everyone who would decide about it, until the transaction ends.
SELECT id FROM irp_batch WHERE id = :batch_id::int FOR UPDATE;

-- name: batch_jobs(batch_id, skipped, status)
-- The jobs of one batch; a filter that is NULL lets everything through.
SELECT job_id AS id, batch_id, job_configuration_id, moodys_workflow_id, status, skipped, last_error,
       parent_job_id, submitted_ts, completed_ts, last_tracked_ts, created_ts, updated_ts,
       submission_request, submission_response
FROM irp_v_job
WHERE batch_id = :batch_id::int
  AND (:skipped::boolean IS NULL OR skipped = :skipped::boolean)
  AND (:status::text IS NULL OR status = :status::text)
ORDER BY job_id;

-- name: batch_job_configurations(batch_id, skipped)
-- The configurations of one batch; NULL lets skipped ones through.
SELECT id, batch_id, configuration_id, job_configuration_data, coalesce(skipped, false) AS skipped,
       coalesce(overridden, false) AS overridden, override_reason_txt, parent_job_configuration_id,
       skipped_reason_txt, override_job_configuration_id, created_ts, updated_ts
FROM irp_job_configuration
WHERE batch_id = :batch_id::int
  AND (:skipped::boolean IS NULL OR coalesce(skipped, false) = :skipped::boolean)
ORDER BY id;

-- name: facts(batch_id)^
-- Everything that decides what a batch is, counted in one snapshot.
WITH job AS (
    SELECT job_id AS id, job_configuration_id, status, skipped FROM irp_v_job
    WHERE batch_id = :batch_id::int
), job_count AS (
    SELECT CASE WHEN skipped THEN 'SKIPPED' ELSE status END AS label, count(*) AS jobs
    FROM job
    GROUP BY label
), configuration AS (
    SELECT id,
           id IN (SELECT job_configuration_id FROM job
                  WHERE status = 'FINISHED' AND NOT skipped AND job_configuration_id IS NOT NULL)
               AS fulfilled
    FROM irp_job_configuration
    WHERE batch_id = :batch_id::int AND NOT coalesce(skipped, false)
)
SELECT (SELECT count(*) FROM job) AS total_jobs,
       (SELECT count(*) FROM job WHERE NOT skipped) AS non_skipped_jobs,
       coalesce((SELECT jsonb_object_agg(label, jobs) FROM job_count), '{}') AS job_status_counts,
       ARRAY(SELECT id FROM job WHERE status = 'FAILED' AND NOT skipped ORDER BY id) AS failed_job_ids,
       ARRAY(SELECT id FROM job WHERE status = 'CANCELLED' AND NOT skipped ORDER BY id)
           AS cancelled_job_ids,
       ARRAY(SELECT id FROM job WHERE status = 'ERROR' AND NOT skipped ORDER BY id) AS error_job_ids,
       (SELECT count(*) FROM irp_job_configuration WHERE batch_id = :batch_id::int) AS total_configs,
       (SELECT count(*) FROM configuration) AS non_skipped_configs,
       (SELECT count(*) FROM configuration WHERE fulfilled) AS fulfilled_configs,
       ARRAY(SELECT id FROM configuration WHERE NOT fulfilled ORDER BY id) AS unfulfilled_config_ids;

-- name: stuck_jobs(batch_id, submitted_only, unpolled, statuses, terminal, known, not_of_the_job, stale_after, most)
-- Jobs of one batch that will not move by themselves, with what Moody's last said of them. No
-- answer of the host, or one with an HTTP status in not_of_the_job, says nothing of the job. If the
-- batch is unpolled, none that was submitted will move. A time in the future says nothing: the
-- server's clock went back.
SELECT job.id AS job_id, coalesce(job.status, 'INITIATED')::text AS status, job.moodys_workflow_id,
       job.updated_ts, said.job_status AS last_status, said.error_message, said.http_status,
       job.submission_request_id IS NOT NULL AS was_sent, job.last_error,
       coalesce(jsonb_typeof(job.submission_request) = 'object', false) AS is_prepared,
       count(*) OVER () AS total
FROM irp_job AS job
LEFT JOIN LATERAL (
    SELECT log.job_status, log.error_message, log.http_status
    FROM irp_job_tracking_log AS log
    WHERE log.job_id = job.id AND log.tracked_ts = job.last_tracked_ts  -- in the partition of one day
    ORDER BY log.id DESC
    LIMIT 1
) AS said ON true
WHERE job.batch_id = :batch_id::int
  AND NOT coalesce(job.skipped, false)
  AND NOT coalesce(job.status, 'INITIATED')::text = ANY (:terminal::text[])
  AND (job.moodys_workflow_id IS NULL AND NOT :submitted_only::boolean
       OR job.moodys_workflow_id IS NOT NULL AND :unpolled::boolean
       OR (said.error_message IS NOT NULL
           AND (job.moodys_workflow_id !~ '^\s*0*[1-9][0-9]*\s*$'
                OR NOT coalesce(said.http_status = ANY (:not_of_the_job::int[]), true)))
       OR NOT said.job_status = ANY (:known::text[])
       OR NOT coalesce(job.status, 'INITIATED')::text = ANY (:statuses::text[])
       OR coalesce((SELECT moved.ts
                    FROM (VALUES (1, job.updated_ts), (2, job.submitted_ts), (3, job.created_ts))
                        AS moved (position, ts)
                    WHERE moved.ts <= now() + interval '1 minute'
                    ORDER BY moved.position LIMIT 1),
                   CASE WHEN coalesce(job.updated_ts, job.submitted_ts, job.created_ts) IS NULL
                        THEN 'epoch' ELSE now() END) < now() - :stale_after::interval)
ORDER BY job.id + 0  -- PostgreSQL 16 and older would walk the primary key, past all other jobs
LIMIT :most::int;

-- name: end_batch(batch_id, status)!
-- End an ACTIVE batch.
UPDATE irp_batch
SET status = :status::batch_status_enum, completed_ts = now(), updated_ts = now(),
    concluded_activation_num = activation_num
WHERE id = :batch_id::int AND status = 'ACTIVE';

-- name: unconcluded(batch_id, wait, terminal)
-- Batches of active cycles whose ending another tool wrote, so long ago, and nobody has concluded; a
-- batch_id of NULL looks at all. A time in the future is no end's: the server's clock went back.
SELECT batch.id AS batch_id
FROM irp_batch AS batch
JOIN irp_step AS step ON step.id = batch.step_id
JOIN irp_stage AS stage ON stage.id = step.stage_id
JOIN irp_cycle AS cycle ON cycle.id = stage.cycle_id
WHERE batch.concluded_activation_num <> batch.activation_num
  AND batch.status::text = ANY (:terminal::text[]) AND cycle.status = 'ACTIVE'
  AND (:batch_id::int IS NULL OR batch.id = :batch_id::int)
  AND (coalesce(batch.completed_ts, batch.updated_ts, 'epoch') < now() - :wait::interval
       OR batch.completed_ts > now() + interval '1 minute')
ORDER BY batch.id;

-- name: conclude(batch_id)!
-- Note that what follows from the ending of a batch is written.
UPDATE irp_batch SET concluded_activation_num = activation_num WHERE id = :batch_id::int;

-- name: activate(batch_id)!
-- Start to watch a prepared batch, unless its cycle is being archived at this moment.
UPDATE irp_batch
SET status = 'ACTIVE', submitted_ts = now(), completed_ts = NULL, updated_ts = now()
WHERE id = :batch_id::int AND coalesce(status, 'INITIATED') = 'INITIATED'
  AND EXISTS (
      SELECT FROM irp_step AS step
      JOIN irp_stage AS stage ON stage.id = step.stage_id
      JOIN irp_cycle AS cycle ON cycle.id = stage.cycle_id
      WHERE step.id = irp_batch.step_id AND cycle.status = 'ACTIVE'
      FOR SHARE OF cycle
  );

-- name: log_reconciliation(batch_id, status, summary, always)!
-- Put one decision on record, unless it is the last one again and that was within the hour.
INSERT INTO irp_batch_recon_log (batch_id, recon_ts, recon_result, recon_summary)
SELECT :batch_id::int, now(), :status::batch_status_enum, :summary::jsonb
WHERE :always::boolean OR NOT EXISTS (
    SELECT FROM (SELECT recon_ts, recon_result, recon_summary FROM irp_batch_recon_log
                 WHERE batch_id = :batch_id::int ORDER BY id DESC LIMIT 1) AS last
    WHERE last.recon_result = :status::batch_status_enum AND last.recon_summary = :summary::jsonb
      AND last.recon_ts BETWEEN now() - interval '1 hour' AND now() + interval '1 minute');

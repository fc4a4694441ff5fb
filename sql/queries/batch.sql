-- name: active_batches()
-- The batches that a pass watches: ACTIVE ones in ACTIVE cycles, oldest first.
SELECT batch_id, batch_type, submitted_ts, activation_num, cycle_id, cycle_name, stage_num, stage_name,
       step_id, step_num, step_name
FROM irp_v_batch
WHERE is_watched
ORDER BY batch_id;

-- name: read_batches(batch_ids)
-- Batches with their places in the workflow.
SELECT batch_id AS id, batch_id, batch_type, status, activation_num, configuration_id, submitted_ts,
       completed_ts, created_ts, updated_ts, cycle_id, cycle_name, cycle_status, stage_num, stage_name,
       step_id, step_num, step_name, notebook_path
FROM irp_v_batch
WHERE batch_id = ANY (:batch_ids::int[])
ORDER BY batch_id;

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

-- name: facts(batch_ids)
-- Everything that decides what batches are, counted in one snapshot.
WITH wanted AS (
    SELECT DISTINCT batch_id FROM unnest(:batch_ids::int[]) AS wanted (batch_id)
), job AS (
    SELECT batch_id, job_id AS id, job_configuration_id, status, skipped FROM irp_v_job
    WHERE batch_id = ANY (:batch_ids::int[])
), job_count AS (
    SELECT batch_id, CASE WHEN skipped THEN 'SKIPPED' ELSE status END AS label, count(*) AS jobs,
           array_agg(id ORDER BY id) AS ids
    FROM job
    GROUP BY batch_id, label
), of_jobs AS (
    SELECT batch_id, sum(jobs)::bigint AS total_jobs,
           coalesce(sum(jobs) FILTER (WHERE label <> 'SKIPPED'), 0)::bigint AS non_skipped_jobs,
           jsonb_object_agg(label, jobs) AS job_status_counts,
           min(ids) FILTER (WHERE label = 'FAILED') AS failed_job_ids,
           min(ids) FILTER (WHERE label = 'CANCELLED') AS cancelled_job_ids,
           min(ids) FILTER (WHERE label = 'ERROR') AS error_job_ids
    FROM job_count
    GROUP BY batch_id
), success AS (
    SELECT DISTINCT batch_id, job_configuration_id
    FROM job
    WHERE status = 'FINISHED' AND NOT skipped AND job_configuration_id IS NOT NULL
), of_configurations AS (
    SELECT configuration.batch_id, count(*) AS total_configs,
           count(*) FILTER (WHERE NOT coalesce(skipped, false)) AS non_skipped_configs,
           count(success) FILTER (WHERE NOT coalesce(skipped, false)) AS fulfilled_configs,
           array_agg(id ORDER BY id)
               FILTER (WHERE NOT coalesce(skipped, false) AND success IS NULL)
               AS unfulfilled_config_ids
    FROM irp_job_configuration AS configuration
    LEFT JOIN success
        ON success.batch_id = configuration.batch_id
           AND success.job_configuration_id = configuration.id
    WHERE configuration.batch_id = ANY (:batch_ids::int[])
    GROUP BY configuration.batch_id
)
SELECT wanted.batch_id, coalesce(total_jobs, 0) AS total_jobs,
       coalesce(non_skipped_jobs, 0) AS non_skipped_jobs,
       coalesce(job_status_counts, '{}') AS job_status_counts,
       coalesce(failed_job_ids, '{}') AS failed_job_ids,
       coalesce(cancelled_job_ids, '{}') AS cancelled_job_ids,
       coalesce(error_job_ids, '{}') AS error_job_ids, coalesce(total_configs, 0) AS total_configs,
       coalesce(non_skipped_configs, 0) AS non_skipped_configs,
       coalesce(fulfilled_configs, 0) AS fulfilled_configs,
       coalesce(unfulfilled_config_ids, '{}') AS unfulfilled_config_ids
FROM wanted
LEFT JOIN of_jobs USING (batch_id)
LEFT JOIN of_configurations USING (batch_id)
ORDER BY wanted.batch_id;

-- name: stuck_jobs(batch_ids, submitted_only, unpolled, stale_after, statuses, terminal, known, not_of_the_job, most)
-- Jobs that will not move by themselves, so many of each batch, with what Moody's last said of them.
-- No answer of the host, or one with an HTTP status in not_of_the_job, says nothing of the job. If a
-- batch is unpolled, none that was submitted will move. A time in the future says nothing: the
-- server's clock went back.
WITH stuck AS (
    SELECT job.batch_id, job.id AS job_id, coalesce(job.status, 'INITIATED')::text AS status,
           job.moodys_workflow_id, job.updated_ts, said.job_status AS last_status,
           said.error_message, said.http_status, job.submission_request_id IS NOT NULL AS was_sent,
           job.last_error,
           coalesce(jsonb_typeof(job.submission_request) = 'object', false) AS is_prepared,
           count(*) OVER (PARTITION BY job.batch_id) AS total,
           row_number() OVER (PARTITION BY job.batch_id ORDER BY job.id) AS position
    FROM irp_job AS job
    JOIN unnest(:batch_ids::int[], :unpolled::boolean[],
                :stale_after::interval[])
        AS batch (id, unpolled, stale_after) ON batch.id = job.batch_id
    LEFT JOIN LATERAL (
        SELECT log.job_status, log.error_message, log.http_status
        FROM irp_job_tracking_log AS log
        -- in the partition of one day
        WHERE log.job_id = job.id AND log.tracked_ts = job.last_tracked_ts
        ORDER BY log.id DESC
        LIMIT 1
    ) AS said ON true
    WHERE NOT coalesce(job.skipped, false)
      AND NOT coalesce(job.status, 'INITIATED')::text = ANY (:terminal::text[])
      AND (job.moodys_workflow_id IS NULL AND NOT :submitted_only::boolean
           OR job.moodys_workflow_id IS NOT NULL AND batch.unpolled
           OR (said.error_message IS NOT NULL
               AND (job.moodys_workflow_id !~ '^\s*0*[1-9][0-9]*\s*$'
                    OR NOT coalesce(said.http_status = ANY (:not_of_the_job::int[]), true)))
           OR NOT said.job_status = ANY (:known::text[])
           OR NOT coalesce(job.status, 'INITIATED')::text = ANY (:statuses::text[])
           OR coalesce((SELECT moved.ts
                        FROM (VALUES (1, job.updated_ts), (2, job.submitted_ts), (3, job.created_ts))
                            AS moved (position, ts)
                        WHERE moved.ts <= irp_now() + interval '1 minute'
                        ORDER BY moved.position LIMIT 1),
                       CASE WHEN coalesce(job.updated_ts, job.submitted_ts, job.created_ts) IS NULL
                            THEN 'epoch' ELSE irp_now() END) < irp_now() - batch.stale_after)
)
SELECT batch_id, job_id, status, moodys_workflow_id, updated_ts, last_status, error_message,
       http_status, was_sent, last_error, is_prepared, total
FROM stuck
WHERE position <= :most::int
ORDER BY batch_id, job_id;

-- name: end_batch(batch_id, status)!
-- End an ACTIVE batch.
UPDATE irp_batch
SET status = :status::batch_status_enum, completed_ts = irp_now(), updated_ts = irp_now(),
    concluded_activation_num = activation_num
WHERE id = :batch_id::int AND status = 'ACTIVE';

-- name: unconcluded(batch_id, wait, terminal)
-- Batches of active cycles whose ending another tool wrote, so long ago, and nobody has concluded; a
-- batch_id of NULL looks at all. A time in the future is no end's: the server's clock went back.
SELECT batch.id AS batch_id
FROM irp_batch AS batch
JOIN irp_v_step AS step USING (step_id)
WHERE batch.concluded_activation_num <> batch.activation_num
  AND batch.status::text = ANY (:terminal::text[]) AND step.is_in_active_cycle
  AND (:batch_id::int IS NULL OR batch.id = :batch_id::int)
  AND (coalesce(batch.completed_ts, batch.updated_ts, 'epoch') < irp_now() - :wait::interval
       OR batch.completed_ts > irp_now() + interval '1 minute')
ORDER BY batch.id;

-- name: conclude(batch_id)!
-- Note that what follows from the ending of a batch is written.
UPDATE irp_batch SET concluded_activation_num = activation_num WHERE id = :batch_id::int;

-- name: activate(batch_id)!
-- Start to watch a prepared batch, unless its cycle is being archived at this moment.
UPDATE irp_batch
SET status = 'ACTIVE', submitted_ts = irp_now(), completed_ts = NULL, updated_ts = irp_now()
WHERE id = :batch_id::int AND coalesce(status, 'INITIATED') = 'INITIATED'
  AND EXISTS (
      SELECT FROM irp_step AS step
      JOIN irp_stage AS stage ON stage.id = step.stage_id
      JOIN irp_cycle AS cycle ON cycle.id = stage.cycle_id
      WHERE step.id = irp_batch.step_id AND cycle.status = 'ACTIVE'
      FOR SHARE OF cycle
  );

-- name: log_reconciliations(batch_ids, statuses, summaries, always)!
-- Put decisions on record, each unless it is the last one again and that was within the hour. A
-- batch that somebody else holds is left to the next pass: whoever waits for it holds all others.
WITH decided AS (
    SELECT decided.*
    FROM unnest(:batch_ids::int[], :statuses::text[], :summaries::text[])
        AS decided (batch_id, status, summary)
    JOIN irp_batch AS batch ON batch.id = decided.batch_id
    WHERE batch.status = 'ACTIVE'
    ORDER BY batch.id
    FOR UPDATE OF batch SKIP LOCKED
)
INSERT INTO irp_batch_recon_log (batch_id, recon_ts, recon_result, recon_summary)
SELECT batch_id, irp_now(), status::batch_status_enum, summary::jsonb
FROM decided
WHERE :always::boolean OR NOT EXISTS (
    SELECT FROM (SELECT recon_ts, recon_result, recon_summary FROM irp_batch_recon_log AS log
                 WHERE log.batch_id = decided.batch_id ORDER BY log.id DESC LIMIT 1) AS last
    WHERE last.recon_result = decided.status::batch_status_enum
      AND last.recon_summary = decided.summary::jsonb
      AND last.recon_ts BETWEEN irp_now() - interval '1 hour' AND irp_now() + interval '1 minute');

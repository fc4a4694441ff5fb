-- name: first_of_each_reason(batch_ids, most, most_reasons)
-- Why jobs of these batches ended badly: the first jobs of each reason, what struck most jobs
-- first and cancellations last; alike counts all jobs of the reason, total those of the batch.
WITH failed AS (
    SELECT job.id, job.batch_id, job.status, nullif(job.last_error, '') AS reason,
           row_number() OVER same_reason AS place,
           count(*) OVER (PARTITION BY job.batch_id, job.status, nullif(job.last_error, '')) AS alike,
           count(*) OVER (PARTITION BY job.batch_id) AS total,
           min(job.id) OVER (PARTITION BY job.batch_id, job.status, nullif(job.last_error, '')) AS first_id
    FROM irp_job AS job
    WHERE job.batch_id = ANY (:batch_ids::int[]) AND NOT coalesce(job.skipped, false)
      AND job.status IN ('FAILED', 'ERROR', 'CANCELLED')
    WINDOW same_reason AS (PARTITION BY job.batch_id, job.status, nullif(job.last_error, '') ORDER BY job.id)
), ranked AS (
    SELECT failed.*,
           dense_rank() OVER (PARTITION BY batch_id
                              ORDER BY status = 'CANCELLED', alike DESC, first_id) AS reason_rank
    FROM failed
    WHERE place <= :most::int
)
SELECT ranked.batch_id, ranked.id AS job_id, job.moodys_workflow_id,
       ranked.status::text AS status, ranked.reason, ranked.alike, ranked.total,
       configuration.job_configuration_data AS configuration, job.submission_request AS request
FROM ranked
JOIN irp_job AS job ON job.id = ranked.id
LEFT JOIN irp_job_configuration AS configuration ON configuration.id = job.job_configuration_id
WHERE ranked.reason_rank <= :most_reasons::int
ORDER BY ranked.batch_id, ranked.reason_rank, ranked.id;

-- name: failing_batches()
-- Watched batches of which jobs have failed, or could not be submitted, while others are open.
SELECT batch.batch_id, batch.batch_type, batch.activation_num, batch.notebook_path,
       batch.cycle_id, batch.cycle_name, batch.stage_num, batch.stage_name, batch.step_id,
       batch.step_num, batch.step_name,
       counted.jobs, counted.failed, counted.cancelled, counted.open,
       EXISTS (SELECT FROM irp_notification AS card
               WHERE card.kind = 'JOBS_FAILED' AND card.batch_id = batch.batch_id
                 AND card.activation_num = batch.activation_num) AS is_announced
FROM irp_v_batch AS batch
CROSS JOIN LATERAL (
    SELECT count(*) AS jobs,
           count(*) FILTER (WHERE job.status IN ('FAILED', 'ERROR')) AS failed,
           count(*) FILTER (WHERE job.status = 'CANCELLED') AS cancelled,
           count(*) FILTER (WHERE job.status NOT IN ('FINISHED', 'FAILED', 'CANCELLED', 'ERROR')) AS open
    FROM irp_v_job AS job
    WHERE job.batch_id = batch.batch_id AND NOT job.skipped
) AS counted
WHERE batch.is_watched AND counted.failed > 0 AND counted.open > 0
ORDER BY batch.batch_id;

-- name: configurations_of_step(step_id, batch_type)
-- The configurations that count in the batches of one type of a step, oldest first.
SELECT batch.id AS batch_id, configuration.job_configuration_data AS configuration
FROM irp_job_configuration AS configuration
JOIN irp_batch AS batch ON batch.id = configuration.batch_id
WHERE batch.step_id = :step_id::int AND batch.batch_type = :batch_type::text
  AND NOT coalesce(configuration.skipped, false)
ORDER BY batch.id, configuration.id;

-- name: lock_open_step(step_id)$
-- Hold a step, so that no two batches of the same rows are made in it, and its cycle against being
-- archived; returns the cycle's status.
SELECT coalesce(cycle.status::text, 'UNSET')
FROM irp_step AS step
JOIN irp_stage AS stage ON stage.id = step.stage_id
JOIN irp_cycle AS cycle ON cycle.id = stage.cycle_id
WHERE step.id = :step_id::int
FOR NO KEY UPDATE OF step FOR SHARE OF cycle;

-- name: add_batch(step_id, batch_type)$
-- A prepared batch.
INSERT INTO irp_batch (step_id, batch_type) VALUES (:step_id::int, :batch_type::text) RETURNING id;

-- name: add_jobs(batch_id, configurations)!
-- A configuration and a job for each row, in the order given.
WITH configuration AS (
    INSERT INTO irp_job_configuration (batch_id, job_configuration_data)
    SELECT :batch_id::int, row.data::jsonb
    FROM unnest(:configurations::text[]) WITH ORDINALITY AS row (data, position)
    ORDER BY row.position
    RETURNING id
)
INSERT INTO irp_job (batch_id, job_configuration_id)
SELECT :batch_id::int, id FROM configuration ORDER BY id;

-- name: store_request(job_id, request)!
-- The request of a job that has none; one whose key is claimed may have been sent, and stays.
UPDATE irp_job SET submission_request = :request::jsonb, updated_ts = irp_now()
WHERE id = :job_id::int AND submission_request IS NULL AND submission_request_id IS NULL
  AND coalesce(status, 'INITIATED') = 'INITIATED';

-- name: rows_of_jobs(job_ids)
-- The configurations that jobs were made from, in the order of the jobs.
SELECT job.id AS job_id, configuration.job_configuration_data AS configuration
FROM irp_job AS job
JOIN irp_job_configuration AS configuration ON configuration.id = job.job_configuration_id
WHERE job.id = ANY (:job_ids::int[])
ORDER BY job.id;

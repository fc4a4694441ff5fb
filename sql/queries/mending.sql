-- name: jobs_seen(batch_id)
-- What a plan sees of the jobs of one batch, in the order in which they were made.
SELECT job.id AS job_id, coalesce(job.status, 'INITIATED')::text AS status,
       coalesce(job.skipped, false) AS skipped, job.moodys_workflow_id AS moodys_id,
       job.submission_request_id IS NOT NULL AS has_key, job.job_configuration_id AS configuration_id,
       job.submission_request AS request, job.last_error AS reason,
       configuration.job_configuration_data AS configuration
FROM irp_job AS job
LEFT JOIN irp_job_configuration AS configuration ON configuration.id = job.job_configuration_id
WHERE job.batch_id = :batch_id::int
ORDER BY job.id;

-- name: lock_open_batch(batch_id)^
-- Hold a batch against everyone who would decide about it, and its cycle against being archived.
SELECT batch.id
FROM irp_batch AS batch
JOIN irp_step AS step ON step.id = batch.step_id
JOIN irp_stage AS stage ON stage.id = step.stage_id
JOIN irp_cycle AS cycle ON cycle.id = stage.cycle_id
WHERE batch.id = :batch_id::int
FOR UPDATE OF batch FOR SHARE OF cycle;

-- name: lock_jobs(job_ids)
-- Hold jobs against answers of Moody's and submissions, until the transaction ends.
SELECT id FROM irp_job WHERE id = ANY (:job_ids::int[]) ORDER BY id FOR UPDATE;

-- name: job_with_moodys_id(batch_type, moodys_id)$
-- The job of this type that has an id of Moody's; NULL if none has.
SELECT job.id
FROM irp_job AS job
JOIN irp_batch AS batch ON batch.id = job.batch_id
WHERE ltrim(btrim(job.moodys_workflow_id), '0') = :moodys_id::text AND batch.batch_type = :batch_type::text
ORDER BY job.id
LIMIT 1;

-- name: add_configuration(parent_id, data, reason)$
-- A changed configuration in place of its parent, which is done without.
WITH added AS (
    INSERT INTO irp_job_configuration
        (batch_id, configuration_id, job_configuration_data, overridden, override_reason_txt,
         parent_job_configuration_id)
    SELECT batch_id, configuration_id, :data::jsonb, true, left(:reason::text, 1000), id
    FROM irp_job_configuration
    WHERE id = :parent_id::int
    RETURNING id
), replaced AS (
    UPDATE irp_job_configuration
    SET skipped = true, skipped_reason_txt = left(:reason::text, 1000),
        override_job_configuration_id = (SELECT id FROM added), updated_ts = irp_now()
    WHERE id = :parent_id::int
)
SELECT id FROM added;

-- name: replace_job(job_id, configuration_id, request, keep_request)$
-- A new job in place of one that failed, which is done without; NULL keeps what that one had, unless
-- its request is to be built anew.
WITH replaced AS (
    UPDATE irp_job SET skipped = true, updated_ts = irp_now()
    WHERE id = :job_id::int
    RETURNING id, batch_id, job_configuration_id, submission_request
)
INSERT INTO irp_job (batch_id, job_configuration_id, parent_job_id, submission_request)
SELECT batch_id, coalesce(:configuration_id::int, job_configuration_id), id,
       coalesce(:request::jsonb, CASE WHEN :keep_request::boolean THEN submission_request END)
FROM replaced
RETURNING id;

-- name: skip_jobs(job_ids)!
-- Do without jobs.
UPDATE irp_job SET skipped = true, updated_ts = irp_now() WHERE id = ANY (:job_ids::int[]);

-- name: skip_configurations(configuration_ids, reason, override_id)!
-- Do without configurations, unless a job of theirs still counts.
UPDATE irp_job_configuration AS configuration
SET skipped = true, skipped_reason_txt = left(:reason::text, 1000),
    override_job_configuration_id = coalesce(:override_id::int, override_job_configuration_id),
    updated_ts = irp_now()
WHERE id = ANY (:configuration_ids::int[])
  AND (NOT coalesce(skipped, false)
       OR override_job_configuration_id IS DISTINCT FROM
          coalesce(:override_id::int, override_job_configuration_id))
  AND NOT EXISTS (
      SELECT FROM irp_job AS job
      WHERE job.job_configuration_id = configuration.id AND NOT coalesce(job.skipped, false)
  );

-- name: reactivate(batch_id)!
-- Let a batch that has ended be watched and decided anew.
UPDATE irp_batch SET status = 'ACTIVE', completed_ts = NULL, updated_ts = irp_now()
WHERE id = :batch_id::int AND status NOT IN ('INITIATED', 'ACTIVE');

-- name: resolve_accepted(job_id, moodys_id, status)!
-- A submission that a person found at Moody's.
UPDATE irp_job
SET status = :status::job_status_enum, moodys_workflow_id = :moodys_id::text,
    submitted_ts = coalesce(submitted_ts, irp_now()), last_error = NULL,
    completed_ts = CASE WHEN :status::text = 'FINISHED' THEN irp_now() END, updated_ts = irp_now()
WHERE id = :job_id::int;

-- name: last_run_of_next_step(batch_id, next_step_num)^
-- When the step that follows a batch ran last.
SELECT next_step.step_name, run.started_ts
FROM irp_batch AS batch
JOIN irp_step AS step ON step.id = batch.step_id
JOIN irp_step AS next_step
    ON next_step.stage_id = step.stage_id AND next_step.step_num = :next_step_num::int
LEFT JOIN LATERAL (
    SELECT started_ts FROM irp_step_run WHERE step_id = next_step.id ORDER BY id DESC LIMIT 1
) AS run ON true
WHERE batch.id = :batch_id::int;

-- name: batch_of_configuration(configuration_id)$
-- The batch that a job configuration belongs to; NULL if there is none.
SELECT batch_id FROM irp_job_configuration WHERE id = :configuration_id::int;

-- name: read_job(job_id)^
-- One job with the type of its batch.
SELECT job.id, job.batch_id, batch.batch_type, job.job_configuration_id, job.moodys_workflow_id,
       coalesce(job.status, 'INITIATED')::text AS status, coalesce(job.skipped, false) AS skipped,
       job.last_error, job.parent_job_id, job.submitted_ts, job.completed_ts, job.last_tracked_ts,
       job.created_ts, job.updated_ts, job.submission_request, job.submission_response,
       job.submission_request_id
FROM irp_job AS job
JOIN irp_batch AS batch ON batch.id = job.batch_id
WHERE job.id = :job_id::int;

-- name: job_configuration(job_id)^
-- The configuration that one job was made from.
SELECT configuration.id, configuration.batch_id, configuration.configuration_id,
       configuration.job_configuration_data, coalesce(configuration.skipped, false) AS skipped,
       coalesce(configuration.overridden, false) AS overridden, configuration.override_reason_txt,
       configuration.parent_job_configuration_id, configuration.skipped_reason_txt,
       configuration.override_job_configuration_id, configuration.created_ts,
       configuration.updated_ts
FROM irp_job AS job
JOIN irp_job_configuration AS configuration ON configuration.id = job.job_configuration_id
WHERE job.id = :job_id::int;

-- name: claim_request_id(job_id, request_id)$
-- Store a submission's idempotency key, once: whoever comes later gets the one that is there.
UPDATE irp_job
SET submission_request_id = coalesce(submission_request_id, :request_id::uuid), updated_ts = irp_now()
WHERE id = :job_id::int AND coalesce(status, 'INITIATED') = 'INITIATED'
  AND NOT coalesce(skipped, false)
RETURNING submission_request_id::text;

-- name: record_submission(job_id, status, workflow_id, response)!
-- A submission that Moody's has taken; a synchronous one is finished with it.
UPDATE irp_job
SET status = :status::job_status_enum,
    moodys_workflow_id = coalesce(:workflow_id::text, moodys_workflow_id),
    submission_response = coalesce(:response::jsonb, submission_response),
    submitted_ts = coalesce(submitted_ts, irp_now()),
    completed_ts = CASE WHEN :status::text = 'FINISHED' THEN irp_now() END,
    last_error = NULL,
    updated_ts = irp_now()
WHERE id = :job_id::int AND coalesce(status, 'INITIATED') = 'INITIATED';

-- name: record_failure(job_id, status, reason, response)!
-- A job that ends here with a reason, without having run at Moody's. Its idempotency key goes: a
-- refused request needs a new one, and whoever resubmits this job gets it.
UPDATE irp_job
SET status = :status::job_status_enum,
    last_error = :reason::text,
    submission_response = coalesce(:response::jsonb, submission_response),
    submission_request_id = NULL,
    completed_ts = irp_now(),
    updated_ts = irp_now()
WHERE id = :job_id::int AND coalesce(status, 'INITIATED') = 'INITIATED';

-- name: record_unknown_outcome(job_id, reason, response)!
-- A submission that Moody's may have accepted: the job stays due, with its idempotency key.
UPDATE irp_job
SET last_error = :reason::text,
    submission_response = coalesce(:response::jsonb, submission_response),
    updated_ts = irp_now()
WHERE id = :job_id::int AND coalesce(status, 'INITIATED') = 'INITIATED';

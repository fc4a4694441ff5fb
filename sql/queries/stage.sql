-- name: batches_of_stage(cycle_id, stage_num)
-- The batches of one stage with their jobs counted, in the order of the steps.
SELECT batch.step_num, batch.step_name, batch.batch_id, batch.batch_type, batch.status,
       batch.submitted_ts, batch.completed_ts,
       (SELECT coalesce(jsonb_object_agg(counted.label, counted.jobs ORDER BY counted.label), '{}')
        FROM (SELECT CASE WHEN coalesce(job.skipped, false) THEN 'SKIPPED'
                          ELSE coalesce(job.status, 'INITIATED')::text END AS label,
                     count(*) AS jobs
              FROM irp_job AS job
              WHERE job.batch_id = batch.batch_id
              GROUP BY label) AS counted) AS job_counts,
       (SELECT max(job.completed_ts - job.submitted_ts)
        FROM irp_job AS job
        WHERE job.batch_id = batch.batch_id AND NOT coalesce(job.skipped, false)) AS longest_job
FROM irp_v_batch AS batch
WHERE batch.cycle_id = :cycle_id::int AND batch.stage_num = :stage_num::int
ORDER BY batch.step_num, batch.batch_id;

-- name: results_of_notebook_work(cycle_id, stage_num)
-- What notebooks noted of the work that they did themselves.
SELECT job.batch_id, job.submission_response AS details
FROM irp_job AS job
JOIN irp_v_batch AS batch USING (batch_id)
WHERE batch.cycle_id = :cycle_id::int AND batch.stage_num = :stage_num::int
  AND NOT coalesce(job.skipped, false)
  AND job.status = 'FINISHED' AND job.submission_request IS NULL AND job.moodys_workflow_id IS NULL
  AND jsonb_typeof(job.submission_response) = 'object'
ORDER BY job.batch_id, job.id;

-- name: finished_configurations(cycle_id, batch_type)
-- What the finished jobs of one batch type were made from, in one cycle.
SELECT configuration.job_configuration_data AS configuration
FROM irp_job AS job
JOIN irp_v_batch AS batch USING (batch_id)
JOIN irp_job_configuration AS configuration ON configuration.id = job.job_configuration_id
WHERE batch.cycle_id = :cycle_id::int AND batch.batch_type = :batch_type::text
  AND job.status = 'FINISHED' AND NOT coalesce(job.skipped, false)
ORDER BY job.id;

-- name: is_run_by_pass(step_id)$
-- Whether a pass of the monitor that is not over runs the notebook of a step at this moment.
SELECT EXISTS (
    SELECT FROM irp_step_claim AS claim
    JOIN irp_monitor_run AS run
        ON run.finished_ts IS NULL AND run.started_ts <= claim.claimed_ts
           AND position('@' || run.host || ' pid ' || run.pid || ' #' IN claim.owner) > 0
    WHERE claim.step_id = :step_id::int AND claim.claim_expires_ts > irp_now());

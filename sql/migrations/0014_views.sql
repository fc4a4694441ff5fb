-- Where a batch stands in the workflow, and what an empty status means, said once. The views are for
-- queries of this package and for whoever else likes them; the team's own views stay as they are.
-- depends: 0010_one_clock

CREATE VIEW irp_v_step AS
SELECT step.id AS step_id, step.step_num, step.step_name, step.notebook_path,
       stage.id AS stage_id, stage.stage_num, stage.stage_name,
       cycle.id AS cycle_id, cycle.cycle_name, coalesce(cycle.status::text, 'UNSET') AS cycle_status,
       cycle.status = 'ACTIVE' AS is_in_active_cycle
FROM irp_step AS step
JOIN irp_stage AS stage ON stage.id = step.stage_id
JOIN irp_cycle AS cycle ON cycle.id = stage.cycle_id;

CREATE VIEW irp_v_batch AS
SELECT batch.id AS batch_id, batch.batch_type, coalesce(batch.status, 'INITIATED')::text AS status,
       batch.status = 'ACTIVE' AS is_active,  -- as the index on active batches has it
       batch.status = 'ACTIVE' AND step.is_in_active_cycle AS is_watched,
       batch.activation_num, batch.configuration_id, batch.submitted_ts, batch.completed_ts,
       batch.created_ts, batch.updated_ts,
       step.step_id, step.step_num, step.step_name, step.notebook_path,
       step.stage_id, step.stage_num, step.stage_name,
       step.cycle_id, step.cycle_name, step.cycle_status, step.is_in_active_cycle
FROM irp_batch AS batch
JOIN irp_v_step AS step USING (step_id);

CREATE VIEW irp_v_job AS
SELECT id AS job_id, batch_id, job_configuration_id, moodys_workflow_id,
       coalesce(status, 'INITIATED')::text AS status, coalesce(skipped, false) AS skipped,
       last_error, parent_job_id, submitted_ts, completed_ts, last_tracked_ts, created_ts, updated_ts,
       submission_request, submission_response
FROM irp_job;

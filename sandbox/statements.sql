-- name: cycle(name, status)$
-- A cycle.
INSERT INTO irp_cycle (cycle_name, status) VALUES (:name::text, :status::cycle_status_enum)
RETURNING id;

-- name: stage(cycle_id, num, name)$
-- A stage of a cycle, made once.
INSERT INTO irp_stage (cycle_id, stage_num, stage_name)
VALUES (:cycle_id::int, :num::int, :name::text)
ON CONFLICT (cycle_id, stage_num) DO UPDATE SET stage_name = excluded.stage_name
RETURNING id;

-- name: step(stage_id, num, name, notebook_path, requires_batch)$
-- A step of a stage, made once.
INSERT INTO irp_step (stage_id, step_num, step_name, notebook_path, requires_batch)
VALUES (:stage_id::int, :num::int, :name::text, :notebook_path::text, :requires_batch::boolean)
ON CONFLICT (stage_id, step_num) DO UPDATE SET step_name = excluded.step_name
RETURNING id;

-- name: batch(step_id, batch_type, status)$
-- A batch; one that is not INITIATED was submitted just now.
INSERT INTO irp_batch (step_id, batch_type, status, submitted_ts)
VALUES (:step_id::int, :batch_type::text, :status::batch_status_enum,
        CASE WHEN :status::text <> 'INITIATED' THEN now() END)
RETURNING id;

-- name: configurations(batch_id, data, skipped)
-- Job configurations of a batch, in the order given.
INSERT INTO irp_job_configuration (batch_id, job_configuration_data, skipped)
SELECT :batch_id::int, item.data::jsonb, :skipped::boolean
FROM unnest(:data::text[]) WITH ORDINALITY AS item (data, position)
ORDER BY item.position
RETURNING id;

-- name: jobs(batch_id, configuration_ids, statuses, workflow_ids, requests, skipped)
-- Jobs of a batch, in the order given.
INSERT INTO irp_job
    (batch_id, job_configuration_id, status, moodys_workflow_id, submission_request, skipped,
     submitted_ts)
SELECT :batch_id::int, item.configuration_id, item.status::job_status_enum, item.workflow_id,
       item.request::jsonb, :skipped::boolean,
       CASE WHEN item.workflow_id IS NOT NULL THEN now() END
FROM unnest(:configuration_ids::int[], :statuses::text[], :workflow_ids::text[], :requests::text[])
    WITH ORDINALITY AS item (configuration_id, status, workflow_id, request, position)
ORDER BY item.position
RETURNING id;

-- name: record_action(plan_id, kind, status, cycle_id, step_id, batch_id, job_id, new_job_id, person, reason, details, request_id, outcome)$
-- Put on record what a person does; an action that is only planned has no end yet.
INSERT INTO irp_action
    (plan_id, kind, status, cycle_id, step_id, batch_id, job_id, new_job_id, person, reason,
     details, request_id, outcome, completed_ts)
VALUES
    (:plan_id::uuid, :kind::action_kind_enum, :status::action_status_enum, :cycle_id::int,
     :step_id::int, :batch_id::int, :job_id::int, :new_job_id::int, :person::text, :reason::text,
     :details::jsonb, :request_id::uuid, :outcome::text,
     CASE WHEN :status::text <> 'PLANNED' THEN irp_now() END)
RETURNING id;

-- name: actions_of_plan(plan_id)
-- What one plan has done so far, in the order of its jobs.
SELECT id, status::text AS status, job_id, new_job_id, request_id, outcome
FROM irp_action
WHERE plan_id = :plan_id::uuid
ORDER BY job_id, id;

-- name: finish_action(id, status, outcome)!
-- Put on record how a planned action ended; an end that is known stays as it is.
UPDATE irp_action
SET status = :status::action_status_enum, outcome = :outcome::text, completed_ts = irp_now()
WHERE id = :id::bigint AND status IN ('PLANNED', 'UNKNOWN');

-- name: cancelled_by_hand(batch_id, job_ids)
-- Who had these jobs cancelled, and why: the last request for each that Moody's did not reject.
SELECT person, reason, count(*)::int AS jobs
FROM (
    SELECT DISTINCT ON (job_id) person, reason
    FROM irp_action
    WHERE batch_id = :batch_id::int AND job_id = ANY (:job_ids::int[])
      AND kind = 'CANCEL' AND status <> 'REJECTED'
    ORDER BY job_id, id DESC
) AS last_request
GROUP BY person, reason
ORDER BY count(*) DESC, person, reason;

-- name: history(batch_id, cycle_name, most)
-- What people did, newest first; a filter that is NULL lets everything through.
SELECT action.id, action.plan_id, action.kind::text AS kind, action.status::text AS status,
       action.batch_id, action.job_id, action.new_job_id, action.step_id, step.stage_num,
       step.step_num, cycle.cycle_name,
       action.person, action.reason, action.details, action.outcome, action.created_ts,
       action.completed_ts
FROM irp_action AS action
LEFT JOIN irp_cycle AS cycle ON cycle.id = action.cycle_id
LEFT JOIN irp_v_step AS step USING (step_id)
WHERE (:batch_id::int IS NULL OR action.batch_id = :batch_id::int)
  AND (:cycle_name::text IS NULL OR cycle.cycle_name = :cycle_name::text)
ORDER BY action.id DESC
LIMIT :most::int;

-- name: steps()
-- Every step of the ACTIVE cycles, in order, with its batches, their jobs counted, and its last run.
SELECT step.cycle_id, step.cycle_name, step.stage_num, step.stage_name,
       step.step_id, step.step_num, step.step_name, step.notebook_path,
       coalesce(batches.list, '[]') AS batches,
       run.status::text AS run_status, run.started_ts AS run_started_ts,
       run.completed_ts AS run_completed_ts, run.error_message AS run_error,
       run.output_data ->> 'executed_notebook' AS executed_path,
       due.status::text AS due_status
FROM irp_v_step AS step
LEFT JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_object(
               'batch_id', batch.id, 'batch_type', batch.batch_type,
               'status', coalesce(batch.status, 'INITIATED'),
               'submitted_ts', batch.submitted_ts, 'completed_ts', batch.completed_ts,
               'counts', coalesce(counted.by_label, '{}')) ORDER BY batch.id) AS list
    FROM irp_batch AS batch
    LEFT JOIN LATERAL (
        SELECT jsonb_object_agg(label, jobs) AS by_label
        FROM (SELECT coalesce(job.status, 'INITIATED')::text AS label, count(*) AS jobs
              FROM irp_job AS job
              WHERE job.batch_id = batch.id AND NOT coalesce(job.skipped, false)
              GROUP BY label) AS jobs_by_label
    ) AS counted ON true
    WHERE batch.step_id = step.step_id
) AS batches ON true
LEFT JOIN LATERAL (
    SELECT status, started_ts, completed_ts, error_message, output_data
    FROM irp_step_run WHERE step_id = step.step_id ORDER BY id DESC LIMIT 1
) AS run ON true
LEFT JOIN LATERAL (
    SELECT chain.status
    FROM irp_chain_run AS chain
    JOIN irp_batch AS batch ON batch.id = chain.batch_id AND batch.activation_num = chain.activation_num
    WHERE chain.next_step_id = step.step_id
    ORDER BY chain.id DESC
    LIMIT 1
) AS due ON true
WHERE step.is_in_active_cycle
ORDER BY step.cycle_id, step.stage_num, step.step_num;

-- name: batches_since(since)
-- The batches that were watched at some time since then, oldest first.
SELECT batch.batch_id, batch.batch_type, batch.status, batch.submitted_ts,
       batch.completed_ts, batch.cycle_name, batch.stage_num, batch.step_num, batch.step_name,
       (SELECT array_agg(job.completed_ts ORDER BY job.completed_ts) FROM irp_job AS job
        WHERE job.batch_id = batch.batch_id AND job.completed_ts >= :since::timestamptz
          AND job.status = 'FINISHED') AS finished_ts,
       (SELECT array_agg(job.completed_ts ORDER BY job.completed_ts) FROM irp_job AS job
        WHERE job.batch_id = batch.batch_id AND job.completed_ts >= :since::timestamptz
          AND job.status IN ('FAILED', 'ERROR', 'CANCELLED')) AS failed_ts
FROM irp_v_batch AS batch
WHERE batch.submitted_ts IS NOT NULL
  AND (batch.is_active OR batch.completed_ts >= :since::timestamptz)
ORDER BY batch.submitted_ts, batch.batch_id;

-- name: step_runs_since(since)
-- The runs of step notebooks since then, oldest first.
SELECT run.id, run.status::text AS status, run.started_ts, run.completed_ts, run.started_by,
       run.error_message, step.cycle_name, step.stage_num, step.step_num, step.step_name
FROM irp_step_run AS run
JOIN irp_v_step AS step USING (step_id)
WHERE run.started_ts >= :since::timestamptz OR run.completed_ts >= :since::timestamptz
ORDER BY run.started_ts, run.id;

-- name: cards_since(since)
-- The cards that were sent since then, oldest first.
SELECT card.kind::text AS kind, card.batch_id, card.sent_ts
FROM irp_notification AS card
WHERE card.sent_ts >= :since::timestamptz
ORDER BY card.sent_ts, card.id;

-- name: gaps_since(since, longest)
-- The stretches since then in which no pass was completed for longer than that, oldest first; from
-- the first pass, submission or notebook on: before that there was nothing to monitor.
WITH pass AS (
    SELECT finished_ts FROM irp_monitor_run
    WHERE finished_ts >= :since::timestamptz
    UNION ALL SELECT greatest(:since::timestamptz, least(
        (SELECT min(started_ts) FROM irp_monitor_run),
        (SELECT min(submitted_ts) FROM irp_batch),
        (SELECT min(started_ts) FROM irp_step_run),
        irp_now()))
    UNION ALL SELECT irp_now()
), stretch AS (
    SELECT finished_ts AS from_ts, lead(finished_ts) OVER (ORDER BY finished_ts) AS to_ts FROM pass
)
SELECT from_ts, to_ts FROM stretch WHERE to_ts - from_ts > :longest::interval ORDER BY from_ts;

-- name: jobs(step_ids, late, bad_ends, waiting, terminal, most)
-- The first jobs of these steps, of each status and reason, those that are late apart; alike counts
-- all of the same. Skipped ones are left out. Times that no clock can show are nobody's.
WITH job AS (
    SELECT batch.step_id, job.id, job.batch_id, said.status, job.moodys_workflow_id,
           job.id = ANY (:late::int[]) AS is_late,
           CASE WHEN said.status = ANY (:bad_ends::text[]) THEN nullif(job.last_error, '') END AS reason,
           CASE WHEN isfinite(said.since_ts) THEN said.since_ts END AS since_ts,
           CASE WHEN isfinite(said.begun_ts) THEN said.begun_ts END AS begun_ts,
           said.status = ANY (:terminal::text[]) AS has_ended
    FROM irp_batch AS batch
    JOIN irp_job AS job ON job.batch_id = batch.id AND NOT coalesce(job.skipped, false)
    CROSS JOIN LATERAL (
        SELECT coalesce(job.status, 'INITIATED')::text AS status,
               coalesce(job.moodys_submitted_ts, job.submitted_ts) AS submitted_ts
    ) AS its
    CROSS JOIN LATERAL (
        SELECT its.status,
               CASE WHEN its.status = ANY (:terminal::text[])
                    THEN coalesce(job.moodys_ended_ts, job.completed_ts, job.updated_ts)
                    WHEN its.status = ANY (:waiting::text[]) THEN its.submitted_ts
                    WHEN its.status = 'RUNNING' THEN coalesce(job.moodys_started_ts, job.updated_ts)
                    ELSE coalesce(job.updated_ts, job.created_ts) END AS since_ts,
               CASE WHEN its.status = ANY (:waiting::text[]) THEN its.submitted_ts
                    ELSE coalesce(job.moodys_started_ts, its.submitted_ts) END AS begun_ts
    ) AS said
    WHERE batch.step_id = ANY (:step_ids::int[])
), ranked AS (
    SELECT job.*, count(*) OVER alike AS alike,
           row_number() OVER (PARTITION BY step_id, status, reason, is_late ORDER BY since_ts, id) AS place
    FROM job
    WINDOW alike AS (PARTITION BY step_id, status, reason, is_late)
)
SELECT ranked.step_id, ranked.id AS job_id, ranked.batch_id, ranked.status, ranked.since_ts,
       extract(epoch FROM CASE WHEN ranked.has_ended THEN ranked.since_ts ELSE irp_now() END
                          - ranked.begun_ts)::float8 AS seconds,
       ranked.reason, ranked.moodys_workflow_id AS moodys_id, ranked.alike,
       configuration.job_configuration_data AS configuration, job.submission_request AS request
FROM ranked
JOIN irp_job AS job ON job.id = ranked.id
LEFT JOIN irp_job_configuration AS configuration ON configuration.id = job.job_configuration_id
WHERE ranked.place <= :most::int
ORDER BY ranked.step_id, ranked.since_ts, ranked.id;

-- name: learned_families()
-- What passes have learned of asking about the jobs of each family, and when.
SELECT family, at_once, at_once_is_limit, per_second, learned_ts, search_problem, search_problem_ts
FROM irp_poll_family
ORDER BY family;

-- name: slower_than_forecast(since)
-- Batches that ended since then, and later than was forecast when they had begun.
SELECT first.batch_id, batch.batch_type, batch.cycle_name, first.high_ts, first.ended_ts
FROM (
    SELECT DISTINCT ON (batch_id, activation_num) batch_id, high_ts, ended_ts
    FROM irp_forecast
    WHERE ended_ts >= :since::timestamptz AND high_ts IS NOT NULL
    ORDER BY batch_id, activation_num, id
) AS first
JOIN irp_v_batch AS batch USING (batch_id)
WHERE first.ended_ts > first.high_ts
ORDER BY first.ended_ts, first.batch_id;

-- name: job_spans(batch_ids, bad_ends, terminal, most)
-- When the jobs of these batches ran, of each batch the first: those that failed, then the longest.
SELECT ranked.batch_id, ranked.id AS job_id, ranked.status, ranked.begun_ts, ranked.ended_ts, ranked.total,
       configuration.job_configuration_data AS configuration, job.submission_request AS request
FROM (
    SELECT its.*, count(*) OVER of_batch AS total,
           row_number() OVER (PARTITION BY its.batch_id
                              ORDER BY its.status = ANY (:bad_ends::text[]) DESC,
                                       its.ended_ts - its.begun_ts DESC, its.id) AS number
    FROM (
        SELECT job.id, job.batch_id, coalesce(job.status, 'INITIATED')::text AS status,
               coalesce(job.moodys_started_ts, job.submitted_ts) AS begun_ts,
               CASE WHEN job.status::text = ANY (:terminal::text[])
                    THEN coalesce(job.moodys_ended_ts, job.completed_ts) ELSE irp_now() END AS ended_ts
        FROM irp_job AS job
        WHERE job.batch_id = ANY (:batch_ids::int[]) AND NOT coalesce(job.skipped, false)
    ) AS its
    WHERE isfinite(its.begun_ts) AND isfinite(its.ended_ts)
    WINDOW of_batch AS (PARTITION BY its.batch_id)
) AS ranked
JOIN irp_job AS job ON job.id = ranked.id
LEFT JOIN irp_job_configuration AS configuration ON configuration.id = job.job_configuration_id
WHERE ranked.number <= :most::int
ORDER BY ranked.batch_id, ranked.begun_ts, ranked.id;

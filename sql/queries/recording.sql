-- name: jobs_to_poll(batch_ids, terminal)
-- What a pass asks Moody's about: the longest unasked first. No workflow id: never submitted. Times
-- in the future say nothing: the server's clock went back, or another tool wrote them.
SELECT job.id AS job_id, job.batch_id, batch.batch_type, job.moodys_workflow_id AS workflow_id,
       coalesce(job.status, 'INITIATED')::text AS status,
       batch.ids_known_at IS NOT NULL AS is_legacy,
       coalesce(greatest(job.updated_ts, job.read_ts)
                NOT BETWEEN irp_now() - interval '1 hour' AND irp_now(), true) AS is_silent,
       CASE WHEN job.read_ts <= irp_now() THEN job.read_ts END AS read_ts
FROM irp_job AS job
JOIN irp_batch AS batch ON batch.id = job.batch_id
WHERE job.batch_id = ANY (:batch_ids::int[])
  AND NOT coalesce(job.skipped, false)
  AND NOT coalesce(job.status, 'INITIATED')::text = ANY (:terminal::text[])
ORDER BY CASE WHEN job.last_tracked_ts <= irp_now() THEN job.last_tracked_ts END NULLS FIRST, job.id;

-- name: note_legacy_ids(batch_ids)!
-- Remember that the older API knows the jobs of these batches: other tools submit there.
UPDATE irp_batch SET ids_known_at = 'workflows'
WHERE id = ANY (:batch_ids::int[]) AND ids_known_at IS NULL;

-- name: paces(forget_after)
-- What passes have learned lately of how much Moody's carries. A time in the future says nothing.
SELECT family, at_once, at_once_is_limit, per_second, calm_seconds
FROM irp_poll_family
WHERE learned_ts BETWEEN irp_now() - :forget_after::interval AND irp_now()
ORDER BY family;

-- name: remember_paces(families, at_once, limits, per_second, calm_seconds)!
-- Remember how much Moody's carries.
INSERT INTO irp_poll_family (
    family, at_once, at_once_is_limit, per_second, calm_seconds, learned_ts
)
SELECT learned.*, irp_now()
FROM unnest(
    :families::text[], :at_once::real[], :limits::boolean[], :per_second::real[],
    :calm_seconds::real[]
) AS learned
ON CONFLICT (family) DO UPDATE
SET at_once = excluded.at_once, at_once_is_limit = excluded.at_once_is_limit,
    per_second = excluded.per_second, calm_seconds = excluded.calm_seconds, learned_ts = irp_now();

-- name: families_not_searched(forget_after)
-- Families whose search was found to be of no use lately.
SELECT family
FROM irp_poll_family
WHERE search_problem_ts BETWEEN irp_now() - :forget_after::interval AND irp_now()
ORDER BY family;

-- name: remember_search_problems(families, problems)!
-- Remember why families are not to be searched for a while.
INSERT INTO irp_poll_family (family, search_problem, search_problem_ts)
SELECT learned.*, irp_now()
FROM unnest(:families::text[], :problems::text[]) AS learned
ON CONFLICT (family) DO UPDATE
SET search_problem = excluded.search_problem, search_problem_ts = irp_now();

-- name: log_polls(answers, bodies, kept)!
-- Put polls on record, failed ones too; first polls and status changes are kept for good. Answers
-- and bodies are one JSON array each: arrays of SQL cost more to quote than all the rest.
INSERT INTO irp_job_tracking_log
    (job_id, tracked_ts, moodys_workflow_id, job_status, tracking_data, error_message, note,
     http_status, kept)
SELECT poll.job_id, poll.asked_ts, poll.workflow_id, poll.status,
       nullif(poll.body::text, 'null')::jsonb, poll.error, poll.note, poll.http_status,
       poll.job_id = ANY (:kept::int[])
FROM ROWS FROM (
        json_to_recordset(:answers::json)
            AS (job_id int, asked_ts timestamptz, workflow_id text, status text, error text,
                note text, http_status int),
        json_array_elements(:bodies::json))
    WITH ORDINALITY
    AS poll (job_id, asked_ts, workflow_id, status, error, note, http_status, body, position)
ORDER BY poll.position;

-- name: apply_answers(job_ids, answers, moves_from, moves_to, backward, terminal)
-- Move jobs to what Moody's said if that is a legal move, the question is the latest, and the job
-- is still the one that was asked about; a move backward has to be read by id. A status of NULL only
-- notes that it was asked. A last_tracked_ts in the future is no question's: another tool wrote it,
-- or the server's clock went back; the minute is for clocks that follow the server's.
WITH answer AS (
    SELECT *
    FROM json_to_recordset(:answers::json)
        AS answer (job_id int, asked_ts timestamptz, workflow_id text, known_status text,
                   reason text, submitted_ts timestamptz, started_ts timestamptz,
                   ended_ts timestamptz, progress int, is_read boolean)
), held AS (
    SELECT job.id, coalesce(job.status, 'INITIATED')::text AS status, job.moodys_workflow_id,
           job.last_tracked_ts, job.progress, job.progress_ts
    FROM irp_job AS job
    WHERE job.id = ANY (:job_ids::int[])
    ORDER BY job.id
    FOR UPDATE
), verdict AS (
    SELECT answer.*, held.status AS old_status, move.to_status AS new_status,
           held.last_tracked_ts IS NULL AS is_first_poll,
           held.status = 'RUNNING' AND held.progress_ts <= answer.asked_ts AS ran,
           answer.progress <> held.progress OR held.progress_ts IS NULL
               OR (move.to_status = 'RUNNING' AND held.status <> 'RUNNING') AS is_progress
    FROM answer
    JOIN held ON held.id = answer.job_id
    LEFT JOIN unnest(:moves_from::text[], :moves_to::text[], :backward::boolean[])
        AS move (from_status, to_status, is_backward)
        ON move.from_status = held.status AND move.to_status = answer.known_status
           AND (answer.is_read OR NOT move.is_backward)
    WHERE held.moodys_workflow_id = answer.workflow_id
      AND (held.last_tracked_ts IS NULL
           OR held.last_tracked_ts <= answer.asked_ts
           OR held.last_tracked_ts > irp_clock() + interval '1 minute')
)
UPDATE irp_job AS job
SET status = coalesce(verdict.new_status, verdict.old_status)::job_status_enum,
    last_tracked_ts = verdict.asked_ts,
    read_ts = CASE WHEN verdict.is_read THEN verdict.asked_ts ELSE job.read_ts END,
    last_error = CASE WHEN verdict.new_status IS NULL THEN job.last_error
                      ELSE coalesce(verdict.reason, job.last_error) END,
    completed_ts = CASE WHEN verdict.new_status = ANY (:terminal::text[]) THEN verdict.asked_ts
                        ELSE job.completed_ts END,
    moodys_submitted_ts = coalesce(verdict.submitted_ts, job.moodys_submitted_ts),
    moodys_started_ts = coalesce(verdict.started_ts, job.moodys_started_ts),
    moodys_ended_ts = coalesce(verdict.ended_ts, job.moodys_ended_ts),
    progress = coalesce(verdict.progress, job.progress),
    progress_ts = CASE WHEN verdict.is_progress THEN verdict.asked_ts ELSE job.progress_ts END,
    longest_still_seconds = CASE WHEN verdict.ran
        THEN greatest(extract(epoch FROM verdict.asked_ts - job.progress_ts)::float8, job.longest_still_seconds)
        ELSE job.longest_still_seconds END,
    updated_ts = CASE WHEN verdict.new_status IS NULL THEN job.updated_ts ELSE irp_now() END
FROM verdict
WHERE job.id = verdict.job_id
RETURNING job.id AS job_id, job.batch_id, verdict.old_status, job.status::text AS new_status,
          verdict.is_first_poll OR verdict.old_status <> job.status::text AS is_kept;

-- name: free_jobs(job_ids)
-- Those of these jobs that nobody else holds; they are held from now on.
SELECT id FROM irp_job WHERE id = ANY (:job_ids::int[]) ORDER BY id FOR UPDATE SKIP LOCKED;

-- name: server_time()$
-- The database's clock, which every host that runs the monitor shares.
SELECT irp_clock();

-- name: jobs_without_times(terminal, most)
-- Jobs that ended before Moody's own times were kept, newest first, with what the log last said.
SELECT job.id AS job_id, coalesce(job.last_tracked_ts, job.created_ts, irp_now()) AS seen_ts,
       said.tracking_data AS body
FROM irp_job AS job
LEFT JOIN LATERAL (
    SELECT log.tracking_data
    FROM irp_job_tracking_log AS log
    WHERE log.job_id = job.id AND log.tracking_data IS NOT NULL
    ORDER BY log.id DESC
    LIMIT 1
) AS said ON true
WHERE job.read_ts IS NULL AND job.status::text = ANY (:terminal::text[])
ORDER BY job.id DESC
LIMIT :most::int;

-- name: fill_times(job_ids, seen, submitted, started, ended)!
-- Fill in Moody's own times; a job counts as read from now on, whether there were any or not.
UPDATE irp_job AS job
SET read_ts = found.seen_ts, moodys_submitted_ts = found.submitted_ts,
    moodys_started_ts = found.started_ts, moodys_ended_ts = found.ended_ts
FROM unnest(:job_ids::int[], :seen::timestamptz[], :submitted::timestamptz[],
            :started::timestamptz[], :ended::timestamptz[])
    AS found (job_id, seen_ts, submitted_ts, started_ts, ended_ts)
WHERE job.id = found.job_id AND job.read_ts IS NULL;

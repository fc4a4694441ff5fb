-- name: ended_badly(most)
-- Batches of active cycles that ended badly and have not been taken up again, latest first. Those
-- that ended before the monitor was installed are history.
SELECT batch.batch_id, batch.batch_type, batch.status, batch.activation_num, batch.completed_ts,
       batch.stage_num, batch.step_num, batch.cycle_name, count(*) OVER () AS total,
       (SELECT log.recon_summary ->> 'reason'
        FROM irp_batch_recon_log AS log
        WHERE log.batch_id = batch.batch_id
        ORDER BY log.id DESC
        LIMIT 1) AS reason
FROM irp_v_batch AS batch
WHERE batch.is_in_active_cycle AND batch.status IN ('FAILED', 'ERROR', 'CANCELLED')
  AND batch.activation_num > 0
ORDER BY batch.completed_ts DESC NULLS LAST, batch.batch_id DESC
LIMIT :most::int;

-- name: failed_next_steps(most)
-- Next steps and reruns that failed and have not run to their end since, latest first.
WITH failed AS (
    SELECT run.next_step_id AS step_id, run.stage_num, run.next_step_num AS step_num,
           batch.cycle_name, run.error_message, run.started_ts, run.completed_ts
    FROM irp_chain_run AS run
    JOIN irp_v_batch AS batch USING (batch_id, activation_num)
    WHERE batch.is_in_active_cycle AND run.status = 'FAILED'
    UNION ALL
    SELECT step_id, step.stage_num, step.step_num, step.cycle_name, action.outcome,
           action.created_ts, action.completed_ts
    FROM irp_action AS action
    JOIN irp_v_step AS step USING (step_id)
    WHERE step.is_in_active_cycle AND action.kind = 'RERUN' AND action.status = 'FAILED'
), latest AS (
    SELECT DISTINCT ON (cycle_name, stage_num, step_num) *
    FROM failed
    WHERE NOT EXISTS (SELECT FROM irp_step_run AS later
                      WHERE later.step_id = failed.step_id AND later.status = 'COMPLETED'
                        AND later.started_ts > failed.started_ts)
      AND NOT EXISTS (SELECT FROM irp_step_claim AS claim
                      WHERE claim.step_id = failed.step_id AND claim.rerun_action_id IS NOT NULL)
    ORDER BY cycle_name, stage_num, step_num, completed_ts DESC
)
SELECT stage_num, step_num, cycle_name, error_message, completed_ts, step_id IS NOT NULL AS is_known,
       count(*) OVER () AS total
FROM latest
ORDER BY completed_ts DESC, cycle_name, stage_num, step_num
LIMIT :most::int;

-- name: held_steps(most)
-- Steps of active cycles that a person holds, the latest hold first.
SELECT step.cycle_name, step.stage_num, step.step_num, action.person AS held_by,
       action.created_ts AS held_ts, action.reason AS held_because, count(*) OVER () AS total
FROM irp_step_claim AS claim
JOIN irp_action AS action ON action.id = claim.hold_action_id
JOIN irp_v_step AS step ON step.step_id = claim.step_id
WHERE step.is_in_active_cycle
ORDER BY action.id DESC
LIMIT :most::int;

-- name: prepared_and_idle(most)
-- The first step with prepared jobs of each active cycle in which nothing runs, is due or has failed:
-- nobody submits them.
SELECT DISTINCT ON (batch.cycle_id) batch.cycle_name, batch.stage_num, batch.step_num,
       count(*) AS jobs
FROM irp_v_job AS job
JOIN irp_v_batch AS batch USING (batch_id)
WHERE batch.is_in_active_cycle AND batch.status = 'INITIATED'
  AND NOT job.skipped AND job.status = 'INITIATED'
  AND NOT EXISTS (
      SELECT FROM irp_v_batch AS busy
      LEFT JOIN irp_chain_run AS run
          ON run.batch_id = busy.batch_id AND run.status IN ('PENDING', 'RUNNING', 'FAILED')
      WHERE busy.cycle_id = batch.cycle_id
        AND (busy.status IN ('ACTIVE', 'FAILED', 'ERROR', 'CANCELLED') OR run.id IS NOT NULL))
GROUP BY batch.cycle_id, batch.cycle_name, batch.stage_num, batch.step_num
ORDER BY batch.cycle_id, batch.stage_num, batch.step_num
LIMIT :most::int;

-- name: cycles()^
-- How many cycles there are, how many of them are active, and an active one without a batch.
SELECT count(*) AS cycles,
       count(*) FILTER (WHERE cycle.status = 'ACTIVE') AS active,
       min(cycle.cycle_name) FILTER (
           WHERE cycle.status = 'ACTIVE' AND NOT EXISTS (
               SELECT FROM irp_v_batch AS batch WHERE batch.cycle_id = cycle.id)) AS without_batch
FROM irp_cycle AS cycle;

-- name: unpolled(polled_types, terminal, for_longer_than)
-- Watched batches about whose open jobs nobody has asked Moody's for so long, longest first. A time in
-- the future is no poll's: another tool wrote it, or the server's clock went back.
SELECT batch.batch_id, batch.batch_type, batch.stage_num, batch.step_num, batch.cycle_name,
       poll.last_ts AS last_polled_ts
FROM irp_v_batch AS batch
CROSS JOIN LATERAL (
    SELECT max(job.last_tracked_ts) FILTER (
               WHERE job.last_tracked_ts <= irp_clock() + interval '1 minute') AS last_ts,
           max(coalesce(job.submitted_ts, job.created_ts, 'epoch')) AS submitted_ts
    FROM irp_v_job AS job
    WHERE job.batch_id = batch.batch_id AND NOT job.skipped AND job.moodys_workflow_id IS NOT NULL
      AND NOT job.status = ANY (:terminal::text[])
) AS poll
WHERE batch.is_watched
  AND batch.batch_type = ANY (:polled_types::text[])
  AND coalesce(poll.last_ts, poll.submitted_ts) < irp_now() - :for_longer_than::interval
ORDER BY poll.last_ts NULLS FIRST, batch.batch_id;

-- name: unrecognised_batches(known, most)
-- Batches of active cycles with a status that the team has added, latest first.
SELECT batch_id, batch_type, status, stage_num, step_num, cycle_name, count(*) OVER () AS total
FROM irp_v_batch
WHERE is_in_active_cycle AND NOT status = ANY (:known::text[])
ORDER BY batch_id DESC
LIMIT :most::int;

-- name: unwatched_cycles(known, most)
-- Cycles with active batches that nobody watches, because their status is none or an added one.
SELECT cycle_name, nullif(cycle_status, 'UNSET') AS status, count(*) AS active_batches,
       count(*) OVER () AS total
FROM irp_v_batch
WHERE is_active AND NOT cycle_status = ANY (:known::text[])
GROUP BY cycle_id, cycle_name, cycle_status
ORDER BY cycle_id
LIMIT :most::int;

-- name: late_jobs(job_ids)
-- These jobs with their batches, if those are watched still.
SELECT job.job_id, job.batch_id, job.status, job.moodys_workflow_id,
       job.submission_request AS request,
       configuration.job_configuration_data AS configuration,
       to_jsonb(batch) || jsonb_build_object(
           'is_announced', EXISTS (
               SELECT FROM irp_notification AS card
               WHERE card.kind = 'JOBS_LATE' AND card.batch_id = batch.batch_id
                 AND card.activation_num = batch.activation_num)) AS batch
FROM irp_v_job AS job
JOIN irp_v_batch AS batch USING (batch_id)
LEFT JOIN irp_job_configuration AS configuration ON configuration.id = job.job_configuration_id
WHERE job.job_id = ANY (:job_ids::int[]) AND batch.is_watched
ORDER BY job.batch_id, job.job_id;

-- name: acknowledgements(items)
-- The latest acknowledgement of each of these items.
SELECT DISTINCT ON (item) item, fingerprint, note, person, created_ts
FROM irp_acknowledgement
WHERE item = ANY (:items::text[])
ORDER BY item, id DESC;

-- name: acknowledge(items, fingerprints, note, person)!
-- Put on record that somebody has seen these items as they are now.
INSERT INTO irp_acknowledgement (item, fingerprint, note, person)
SELECT item, fingerprint, :note::text, :person::text
FROM unnest(:items::text[], :fingerprints::text[]) AS seen (item, fingerprint);

-- name: batch_statuses(batch_ids)
-- What these batches are now.
SELECT id AS batch_id, status::text AS status FROM irp_batch WHERE id = ANY (:batch_ids::int[]);

-- name: printed_last(host)^
-- What was printed last on this host, and how long ago all that waits was.
SELECT items, irp_now() - printed_ts AS age
FROM irp_quiet_report
WHERE host = :host::text;

-- name: remember_printed(host, items, is_reminder)!
-- Remember what has been printed on this host.
INSERT INTO irp_quiet_report (host, items) VALUES (:host::text, :items::jsonb)
ON CONFLICT (host) DO UPDATE
SET items = excluded.items,
    printed_ts = CASE WHEN :is_reminder::boolean THEN irp_now() ELSE irp_quiet_report.printed_ts END;

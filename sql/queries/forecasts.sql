-- name: judge()!
-- Note when batches ended that were forecast to.
UPDATE irp_forecast AS forecast
SET ended_ts = batch.completed_ts
FROM irp_batch AS batch
WHERE batch.id = forecast.batch_id AND batch.activation_num = forecast.activation_num
  AND forecast.ended_ts IS NULL AND batch.status IN ('COMPLETED', 'FAILED', 'ERROR')
  AND batch.completed_ts >= forecast.made_ts;

-- name: forget_unjudgeable()!
-- Forget what was forecast of batches that were cancelled, or made active again, before they ended.
DELETE FROM irp_forecast AS forecast
USING irp_batch AS batch
WHERE batch.id = forecast.batch_id AND forecast.ended_ts IS NULL
  AND (batch.status = 'CANCELLED' OR batch.activation_num <> forecast.activation_num);

-- name: open_batches(waiting, running)
-- The ACTIVE batches of ACTIVE cycles of which Moody's has a job that has not ended.
SELECT batch.batch_id, coalesce(batch.batch_type, '') AS batch_type, batch.activation_num,
       batch.cycle_id, batch.stage_num, batch.step_num
FROM irp_v_batch AS batch
WHERE batch.is_watched
  AND EXISTS (
      SELECT FROM irp_job AS job
      WHERE job.batch_id = batch.batch_id AND NOT coalesce(job.skipped, false)
        AND job.status::text = ANY (:waiting::text[] || :running::text[]))
ORDER BY batch.batch_id;

-- name: jobs(batch_ids, finished, waiting, running)
-- The jobs of these batches that count in a forecast, in the order in which they ended, or started;
-- with the seconds that they took, have run, or have waited, and for how long they were, or are,
-- without progress.
SELECT job.id AS job_id, job.batch_id, job.status::text AS status,
       CASE WHEN job.status::text = ANY (:finished::text[]) THEN at.ended - at.started
            WHEN job.status::text = ANY (:running::text[]) THEN at.now - at.started
            ELSE at.now - at.submitted END AS seconds,
       at.now - at.ended AS ended_ago,
       CASE WHEN job.status::text = ANY (:running::text[])
            THEN at.now - extract(epoch FROM job.progress_ts)::float8
            ELSE job.longest_still_seconds END AS still,
       configuration.job_configuration_data AS configuration,
       jsonb_path_query_first(job.submission_request, '$.**.resourceUris.size()') AS members
FROM irp_job AS job
LEFT JOIN irp_job_configuration AS configuration ON configuration.id = job.job_configuration_id
CROSS JOIN LATERAL (
    SELECT extract(epoch FROM irp_now())::float8 AS now,
           extract(epoch FROM coalesce(job.moodys_submitted_ts, job.submitted_ts))::float8
               AS submitted,
           extract(epoch FROM coalesce(job.moodys_started_ts, job.submitted_ts))::float8 AS started,
           extract(epoch FROM coalesce(job.moodys_ended_ts, job.completed_ts))::float8 AS ended
) AS at
WHERE job.batch_id = ANY (:batch_ids::int[]) AND NOT coalesce(job.skipped, false)
  AND job.status::text = ANY (:finished::text[] || :waiting::text[] || :running::text[])
ORDER BY job.batch_id, at.ended, coalesce(at.started, at.submitted), job.id;

-- name: past_jobs(batch_type, finished, most)
-- The jobs of a type that finished last, with their times as seconds.
SELECT job.batch_id,
       extract(epoch FROM coalesce(job.moodys_submitted_ts, job.submitted_ts))::float8 AS submitted,
       extract(epoch FROM job.moodys_started_ts)::float8 AS started,
       extract(epoch FROM coalesce(job.moodys_ended_ts, job.completed_ts))::float8 AS ended,
       job.longest_still_seconds AS still,
       configuration.job_configuration_data AS configuration,
       jsonb_path_query_first(job.submission_request, '$.**.resourceUris.size()') AS members
FROM irp_job AS job
JOIN irp_batch AS batch ON batch.id = job.batch_id
LEFT JOIN irp_job_configuration AS configuration ON configuration.id = job.job_configuration_id
WHERE coalesce(batch.batch_type, '') = :batch_type::text
  AND job.status::text = ANY (:finished::text[])
  AND isfinite(coalesce(job.moodys_submitted_ts, job.submitted_ts))
  AND isfinite(coalesce(job.moodys_started_ts, job.submitted_ts))
  AND isfinite(coalesce(job.moodys_ended_ts, job.completed_ts))
ORDER BY coalesce(job.moodys_ended_ts, job.completed_ts) DESC, job.id DESC
LIMIT :most::int;

-- name: prepared_jobs(batch_types)
-- The jobs of these types in ACTIVE cycles that are prepared and that nobody has submitted yet.
SELECT batch.cycle_id, batch.batch_type,
       configuration.job_configuration_data AS configuration,
       jsonb_path_query_first(job.submission_request, '$.**.resourceUris.size()') AS members
FROM irp_v_batch AS batch
JOIN irp_v_job AS job USING (batch_id)
LEFT JOIN irp_job_configuration AS configuration ON configuration.id = job.job_configuration_id
WHERE batch.is_in_active_cycle AND batch.status = 'INITIATED'
  AND batch.batch_type = ANY (:batch_types::text[])
  AND NOT job.skipped AND job.status = 'INITIATED'
ORDER BY batch.cycle_id, job.job_id;

-- name: histories(batch_types)
-- What is known of the durations of these batch types.
SELECT batch_type, measure, samples, classes, record
FROM irp_duration_history
WHERE batch_type = ANY (:batch_types::text[]);

-- name: store_history(batch_type, measure, samples, classes, record)!
-- Replace what is known of the durations of a batch type.
INSERT INTO irp_duration_history (batch_type, measure, samples, classes, record)
VALUES (:batch_type::text, :measure::text, :samples::int, :classes::jsonb, :record::jsonb)
ON CONFLICT (batch_type, measure) DO UPDATE
SET samples = excluded.samples, classes = excluded.classes, record = excluded.record,
    refreshed_ts = irp_now();

-- name: outcomes(most)
-- The last forecasts of each stage whose batches have ended: seconds that were left.
SELECT stage, extract(epoch FROM drawn_low_ts - made_ts)::float8 AS low,
       extract(epoch FROM drawn_high_ts - made_ts)::float8 AS high,
       extract(epoch FROM ended_ts - made_ts)::float8 AS actual
FROM (
    SELECT *, row_number() OVER (PARTITION BY stage ORDER BY id DESC) AS recency
    FROM irp_forecast WHERE ended_ts IS NOT NULL AND median_ts IS NOT NULL
) AS judged
WHERE recency <= :most::int
ORDER BY id;

-- name: store_forecast(batch_id, activation_num, stage, samples, reason, low, median, high, drawn_low, drawn_high)!
-- Keep a forecast of a batch, in seconds from now, unless there is one of this hour.
INSERT INTO irp_forecast
    (batch_id, activation_num, hour_ts, stage, samples, reason, low_ts, median_ts, high_ts,
     drawn_low_ts, drawn_high_ts)
VALUES (:batch_id::int, :activation_num::int, date_trunc('hour', irp_now()), :stage::int,
        :samples::int, :reason::text,
        irp_now() + make_interval(secs => :low::float8), irp_now() + make_interval(secs => :median::float8),
        irp_now() + make_interval(secs => :high::float8),
        irp_now() + make_interval(secs => :drawn_low::float8),
        irp_now() + make_interval(secs => :drawn_high::float8))
ON CONFLICT (batch_id, hour_ts) DO NOTHING;

-- name: held_lately(most)^
-- How many of the last forecasts held whose batches have ended.
SELECT count(*) FILTER (WHERE ended_ts BETWEEN low_ts AND high_ts) AS held, count(*) AS total
FROM (
    SELECT low_ts, high_ts, ended_ts FROM irp_forecast
    WHERE ended_ts IS NOT NULL AND median_ts IS NOT NULL
    ORDER BY id DESC
    LIMIT :most::int
) AS latest;

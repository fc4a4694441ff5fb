-- name: enqueue(kind, batch_id, activation_num, chain_run_id, payload)$
-- Put one event into the outbox, once; NULL if it is there already.
INSERT INTO irp_notification (kind, batch_id, activation_num, chain_run_id, payload)
VALUES (:kind::notification_kind_enum, :batch_id::int, :activation_num::int, :chain_run_id::int,
        :payload::jsonb)
ON CONFLICT (kind, batch_id, activation_num, COALESCE(chain_run_id, 0)) DO NOTHING
RETURNING id;

-- name: enqueue_early(kind, batch_id, activation_num, payload)!
-- Put an event about jobs of an ACTIVE batch into the outbox, once, unless the batch has ended.
INSERT INTO irp_notification (kind, batch_id, activation_num, payload)
SELECT :kind::notification_kind_enum, batch.id, batch.activation_num, :payload::jsonb
FROM irp_batch AS batch
WHERE batch.id = :batch_id::int AND batch.activation_num = :activation_num::int
  AND batch.status = 'ACTIVE'
FOR SHARE
ON CONFLICT (kind, batch_id, activation_num, COALESCE(chain_run_id, 0)) DO NOTHING;

-- name: close_early(batch_id, reason)!
-- Close the events about jobs of a batch that was ACTIVE: it has ended.
UPDATE irp_notification SET status = 'SUPPRESSED', last_error = :reason::text
WHERE batch_id = :batch_id::int AND kind IN ('JOBS_FAILED', 'JOBS_LATE') AND status = 'PENDING';

-- name: replaced_jobs(batch_id)$
-- How many skipped jobs of a batch another job of it was submitted in place of.
SELECT count(*) FROM irp_v_job AS job
WHERE job.batch_id = :batch_id::int AND job.skipped
  AND EXISTS (SELECT FROM irp_v_job AS later
              WHERE later.batch_id = job.batch_id AND later.parent_job_id = job.job_id);

-- name: last_announced(batch_id)$
-- The latest thing that people were told, or will be, about how this batch ended.
SELECT kind::text FROM irp_notification
WHERE batch_id = :batch_id::int AND kind IN ('BATCH_FAILED', 'BATCH_RECOVERED')
  AND status IN ('PENDING', 'SENT')
ORDER BY id DESC
LIMIT 1;

-- name: pending(longest_delay)
-- The outbox, in the order in which things happened. No try is put off for longer than
-- longest_delay: a time beyond that was set by a clock that has been put back since.
SELECT id, kind::text AS kind, batch_id, cycle_id, activation_num, payload, next_attempt_ts,
       last_error, created_ts, is_rejected,
       next_attempt_ts <= irp_now() OR next_attempt_ts > irp_now() + :longest_delay::interval AS is_due
FROM irp_notification
WHERE status = 'PENDING'
ORDER BY id;

-- name: abandoned_lately()$
-- Events of the last week that a day of tries did not bring to Teams.
SELECT count(*) FROM irp_notification
WHERE status = 'ABANDONED' AND created_ts > irp_now() - interval '7 days';

-- name: messages_sent()^
-- Messages of late: the events of one message are marked at one instant. A time in the future
-- was set by a clock that has been put back since.
SELECT count(DISTINCT sent_ts) AS last_hour,
       count(DISTINCT sent_ts) FILTER (WHERE sent_ts > irp_now() - interval '1 second') AS last_second
FROM irp_notification
WHERE sent_ts > irp_now() - interval '1 hour' AND sent_ts <= irp_now();

-- name: suppress(reason, older_than)!
-- Close events of which nobody is to be told, or nobody could be for so long.
UPDATE irp_notification SET status = 'SUPPRESSED', last_error = :reason::text
WHERE status = 'PENDING' AND created_ts <= irp_now() - :older_than::interval;

-- name: close_lone_recoveries()!
-- Close recoveries from failures of which nobody was told, or will be.
UPDATE irp_notification AS recovery
SET status = 'SUPPRESSED', last_error = 'Nobody was told of the failure.'
WHERE recovery.status = 'PENDING' AND recovery.kind = 'BATCH_RECOVERED'
  AND NOT EXISTS (
      SELECT 1 FROM irp_notification AS failure
      WHERE failure.batch_id = recovery.batch_id AND failure.kind = 'BATCH_FAILED'
        AND failure.id < recovery.id AND failure.status IN ('PENDING', 'SENT')
        AND NOT EXISTS (
            SELECT 1 FROM irp_notification AS between_them
            WHERE between_them.batch_id = recovery.batch_id
              AND between_them.kind = 'BATCH_RECOVERED'
              AND between_them.id > failure.id AND between_them.id < recovery.id));

-- name: note_attempt(ids)!
-- Count a try before it is made, so that a crash in between is seen.
UPDATE irp_notification SET attempts = attempts + 1
WHERE id = ANY (:ids::int[]) AND status = 'PENDING';

-- name: mark_sent(ids)!
-- Teams has accepted the card, whatever has closed the events meanwhile: an early card's batch may end.
UPDATE irp_notification SET status = 'SENT', sent_ts = irp_now(), last_error = NULL
WHERE id = ANY (:ids::int[]);

-- name: mark_failed(ids, reason, is_rejected, patience, longest_delay)!
-- Try again later, each time after twice as long, until patience ends.
UPDATE irp_notification
SET last_error = :reason::text,
    is_rejected = is_rejected OR :is_rejected::boolean,
    status = CASE WHEN created_ts < irp_now() - :patience::interval THEN 'ABANDONED'
                  ELSE 'PENDING' END::notification_status_enum,
    next_attempt_ts = irp_now()
        + least(interval '1 minute' * 2 ^ least(attempts - 1, 10), :longest_delay::interval)
WHERE id = ANY (:ids::int[]) AND status = 'PENDING';

-- name: cycles_to_report(day, due_ts)
-- The ACTIVE cycles without a report of that day; one that was made after it was due has none.
SELECT cycle.id AS cycle_id, cycle.cycle_name
FROM irp_cycle AS cycle
WHERE cycle.status = 'ACTIVE' AND coalesce(cycle.created_ts, '-infinity') <= :due_ts::timestamptz
  AND NOT EXISTS (SELECT FROM irp_notification AS report
                  WHERE report.kind = 'MORNING_REPORT' AND report.cycle_id = cycle.id
                    AND report.report_date = :day::date)
ORDER BY cycle.id;

-- name: enqueue_report(cycle_id, report_date, payload)!
-- Put a cycle's report of one day into the outbox, once.
INSERT INTO irp_notification (kind, cycle_id, report_date, activation_num, payload)
VALUES ('MORNING_REPORT', :cycle_id::int, :report_date::date, 0, :payload::jsonb)
ON CONFLICT (kind, cycle_id, report_date) WHERE batch_id IS NULL DO NOTHING;

-- Every poll is recorded: a failed one has no status, and a label that Moody's invents tomorrow is
-- kept word for word, so the status becomes text. What has been logged so far is set aside and then
-- brought over in small pieces by `python -m helpers.database migrate`, because rewriting a large
-- table in one go would lock it for minutes.
--
-- The log grows by a row per job and minute. Rows that are worth keeping for good (a job's first
-- poll, its status changes, all that came from before) lie in one partition; the others lie in a
-- partition per day, which is dropped whole when it is older than the retention.
-- depends: 0001_metastore

ALTER TABLE irp_job_tracking_log RENAME TO irp_job_tracking_log_adopted;
ALTER SEQUENCE IF EXISTS irp_job_tracking_log_id_seq RENAME TO irp_job_tracking_log_adopted_id_seq;

CREATE TABLE irp_job_tracking_log (
    id bigserial NOT NULL,  -- 2^31 polls of 10,000 jobs a minute are five months
    job_id int NOT NULL REFERENCES irp_job (id) ON DELETE CASCADE,
    tracked_ts timestamptz NOT NULL DEFAULT now(),
    moodys_workflow_id varchar(50) NOT NULL,
    job_status text,
    tracking_data jsonb,
    error_message text,
    http_status int,
    kept boolean NOT NULL DEFAULT true,
    -- One index serves both: a job's log in order, and uniqueness.
    CONSTRAINT irp_job_tracking_log_key PRIMARY KEY (job_id, id, tracked_ts, kept)
) PARTITION BY LIST (kept);

CREATE TABLE irp_job_tracking_log_kept PARTITION OF irp_job_tracking_log FOR VALUES IN (true);
CREATE TABLE irp_job_tracking_log_polls PARTITION OF irp_job_tracking_log FOR VALUES IN (false)
    PARTITION BY RANGE (tracked_ts);
-- Takes what no day's partition takes, so that a poll is never refused.
CREATE TABLE irp_job_tracking_log_rest PARTITION OF irp_job_tracking_log_polls DEFAULT;

DO $$ BEGIN
    PERFORM setval(
        'irp_job_tracking_log_id_seq',
        (SELECT coalesce(max(id), 0) + 1 FROM irp_job_tracking_log_adopted),
        false);
END $$;

CREATE FUNCTION irp_tracking_log_add_days(days_ahead int) RETURNS int LANGUAGE plpgsql AS $$
-- Make the partitions of today and the days ahead; return how many were made.
DECLARE
    day date;
    made int := 0;
    name text;
BEGIN
    FOR day IN
        SELECT generate_series(d, d + days_ahead, '1 day')::date
        FROM (SELECT (now() AT TIME ZONE 'UTC')::date AS d) AS today
    LOOP
        name := 'irp_job_tracking_log_' || to_char(day, 'YYYYMMDD');
        CONTINUE WHEN to_regclass(name) IS NOT NULL OR EXISTS (
            SELECT FROM irp_job_tracking_log_rest
            WHERE tracked_ts >= day::timestamp AT TIME ZONE 'UTC'
              AND tracked_ts < (day + 1)::timestamp AT TIME ZONE 'UTC');
        EXECUTE format(
            'CREATE TABLE %I PARTITION OF irp_job_tracking_log_polls FOR VALUES FROM (%L) TO (%L)',
            name, day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
        made := made + 1;
    END LOOP;
    RETURN made;
END $$;

CREATE FUNCTION irp_tracking_log_drop_days(older_than interval) RETURNS int LANGUAGE plpgsql AS $$
-- Drop the partitions of days that ended longer ago than that; return how many were dropped.
DECLARE
    name text;
    dropped int := 0;
BEGIN
    FOR name IN
        SELECT child.relname
        FROM pg_inherits
        JOIN pg_class AS child ON child.oid = inhrelid
        WHERE inhparent = 'irp_job_tracking_log_polls'::regclass
          AND child.relname ~ '^irp_job_tracking_log_\d{8}$'
          AND (to_date(right(child.relname, 8), 'YYYYMMDD') + 1)::timestamp AT TIME ZONE 'UTC'
              < now() - older_than
        ORDER BY child.relname
    LOOP
        EXECUTE format('DROP TABLE %I', name);
        dropped := dropped + 1;
    END LOOP;
    DELETE FROM irp_job_tracking_log_rest WHERE tracked_ts < now() - older_than;
    RETURN dropped;
END $$;

DO $$ BEGIN PERFORM irp_tracking_log_add_days(7); END $$;

-- One clock: what this package writes, and compares with the present, asks these two functions, so
-- that a test can replace both in a database of its own and have weeks pass in minutes. Nothing sets
-- them, no setting of a session either. PostgreSQL puts their bodies in their place when it plans a
-- statement, so that they cost nothing. What a team's own columns default to stays as it is.
-- depends: 0009_scheduled_copies

CREATE FUNCTION irp_now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS $$
-- When the transaction began.
    SELECT pg_catalog.now()
$$;

CREATE FUNCTION irp_clock() RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
-- The time at this moment, for statements that may have waited for a lock.
    SELECT pg_catalog.clock_timestamp()
$$;

ALTER TABLE irp_job_tracking_log ALTER COLUMN tracked_ts SET DEFAULT irp_now();
ALTER TABLE irp_chain_run ALTER COLUMN created_ts SET DEFAULT irp_now();
ALTER TABLE irp_notification
    ALTER COLUMN next_attempt_ts SET DEFAULT irp_now(),
    ALTER COLUMN created_ts SET DEFAULT irp_now();
ALTER TABLE irp_monitor_run ALTER COLUMN started_ts SET DEFAULT irp_now();

CREATE OR REPLACE FUNCTION irp_tracking_log_add_days(days_ahead int) RETURNS int LANGUAGE plpgsql AS $$
-- Make the partitions of today and the days ahead; return how many were made.
DECLARE
    day date;
    made int := 0;
    name text;
BEGIN
    FOR day IN
        SELECT generate_series(d, d + days_ahead, '1 day')::date
        FROM (SELECT (irp_now() AT TIME ZONE 'UTC')::date AS d) AS today
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

CREATE OR REPLACE FUNCTION irp_tracking_log_drop_days(older_than interval) RETURNS int LANGUAGE plpgsql AS $$
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
              < irp_now() - older_than
        ORDER BY child.relname
    LOOP
        EXECUTE format('DROP TABLE %I', name);
        dropped := dropped + 1;
    END LOOP;
    DELETE FROM irp_job_tracking_log_rest WHERE tracked_ts < irp_now() - older_than;
    RETURN dropped;
END $$;

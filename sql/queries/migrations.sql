-- name: was_ever_migrated()$
-- Whether the table of applied migrations exists.
SELECT to_regclass('_yoyo_migration') IS NOT NULL;

-- name: applied()
-- The migrations that were applied.
SELECT migration_id FROM _yoyo_migration ORDER BY migration_id;

-- name: has_adopted_log()$
-- Whether a tracking log from before still waits to be brought over.
SELECT to_regclass('irp_job_tracking_log_adopted') IS NOT NULL;

-- name: bring_over(after_id, most)^
-- Move the next rows of the tracking log from before; they are kept for good. A row whose time was
-- never noted gets the earliest time there is.
WITH piece AS (
    DELETE FROM irp_job_tracking_log_adopted
    WHERE id IN (SELECT id FROM irp_job_tracking_log_adopted WHERE id > :after_id::int
                 ORDER BY id LIMIT :most::int)
    RETURNING id, job_id, tracked_ts, moodys_workflow_id, job_status, tracking_data
), brought AS (
    INSERT INTO irp_job_tracking_log
        (id, job_id, tracked_ts, moodys_workflow_id, job_status, tracking_data, kept)
    SELECT id, job_id, coalesce(tracked_ts, 'epoch'), moodys_workflow_id, job_status::text,
           tracking_data, true
    FROM piece
    ORDER BY id
)
SELECT count(*) AS rows, max(id) AS last_id FROM piece;

-- name: drop_adopted_log()#
-- The tracking log from before, once it is empty.
DROP TABLE irp_job_tracking_log_adopted;

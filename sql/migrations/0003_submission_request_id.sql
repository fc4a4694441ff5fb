-- The idempotency key of a job's submission, stored before the first try and reused on every repeat.
-- depends: 0002_tracking_log_keeps_every_answer

ALTER TABLE irp_job ADD COLUMN IF NOT EXISTS submission_request_id uuid;

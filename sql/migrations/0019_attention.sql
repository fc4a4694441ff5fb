-- What people hear of beside failures: jobs that take far longer than usual.
-- depends: 0015_rejected_notifications

ALTER TYPE notification_kind_enum ADD VALUE 'JOBS_LATE';

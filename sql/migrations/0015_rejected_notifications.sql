-- Cards that Teams rejects wait by themselves: others are sent meanwhile. And a card for jobs that
-- have failed while their batch is still ACTIVE.
-- depends: 0010_one_clock

ALTER TABLE irp_notification ADD COLUMN is_rejected boolean NOT NULL DEFAULT false;
ALTER TYPE notification_kind_enum ADD VALUE 'JOBS_FAILED';

-- Cards that Teams rejects wait by themselves: others are sent meanwhile.
-- depends: 0009_scheduled_copies

ALTER TABLE irp_notification ADD COLUMN is_rejected boolean NOT NULL DEFAULT false;

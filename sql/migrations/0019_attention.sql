-- What people hear of beside failures: jobs that take far longer than usual, and a report each morning,
-- which belongs to a cycle and a day, and to no batch. And what they have seen and are on.
-- depends: 0015_rejected_notifications

ALTER TYPE notification_kind_enum ADD VALUE 'JOBS_LATE';
ALTER TYPE notification_kind_enum ADD VALUE 'MORNING_REPORT';

ALTER TABLE irp_notification
    ALTER COLUMN batch_id DROP NOT NULL,
    ADD COLUMN cycle_id int REFERENCES irp_cycle (id) ON DELETE CASCADE,
    ADD COLUMN report_date date,  -- the day on which it is due, in the zone of people here
    ADD CONSTRAINT irp_notification_of_a_batch_or_a_cycle
        CHECK (num_nulls(cycle_id, report_date) = CASE WHEN batch_id IS NULL THEN 0 ELSE 2 END);
CREATE UNIQUE INDEX irp_notification_report_idx
    ON irp_notification (kind, cycle_id, report_date) WHERE batch_id IS NULL;

-- Somebody has seen a thing that waits, as it was then, and is on it. Rows are never changed.
CREATE TABLE irp_acknowledgement (
    id serial PRIMARY KEY,
    item text NOT NULL,  -- its key: helpers.attention.Item
    fingerprint text NOT NULL,  -- of its state; the item has changed if it has another one now
    note text NOT NULL,
    person varchar(255) NOT NULL,
    created_ts timestamptz NOT NULL DEFAULT irp_now()
);
CREATE INDEX irp_acknowledgement_item_idx ON irp_acknowledgement (item, id);

-- What `python -m helpers.monitor --quiet` has printed last on each host, so that it prints what is new.
CREATE TABLE irp_quiet_report (
    host varchar(255) PRIMARY KEY,
    items jsonb NOT NULL,  -- by each item's key, its fingerprint and what it is called
    printed_ts timestamptz NOT NULL DEFAULT irp_now()  -- when all that waits was printed last
);

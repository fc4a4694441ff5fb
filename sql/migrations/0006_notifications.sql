-- The outbox of Teams cards: written with the event it tells of, sent afterwards, marked when sent.
-- depends: 0005_chain_runs

CREATE TYPE notification_kind_enum AS ENUM ('BATCH_FAILED', 'BATCH_RECOVERED', 'CHAIN_FAILED');
CREATE TYPE notification_status_enum AS ENUM ('PENDING', 'SENT', 'SUPPRESSED', 'ABANDONED');

CREATE TABLE irp_notification (
    id serial PRIMARY KEY,
    kind notification_kind_enum NOT NULL,
    batch_id int NOT NULL REFERENCES irp_batch (id) ON DELETE CASCADE,
    activation_num int NOT NULL,
    chain_run_id int REFERENCES irp_chain_run (id) ON DELETE CASCADE,
    payload jsonb NOT NULL,
    status notification_status_enum NOT NULL DEFAULT 'PENDING',
    attempts int NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_attempt_ts timestamptz NOT NULL DEFAULT now(),
    last_error text,
    created_ts timestamptz NOT NULL DEFAULT now(),
    sent_ts timestamptz,
    CHECK ((sent_ts IS NOT NULL) = (status = 'SENT')),
    CHECK ((chain_run_id IS NOT NULL) = (kind = 'CHAIN_FAILED'))
);

-- NULLS NOT DISTINCT would say this, from PostgreSQL 15 on.
CREATE UNIQUE INDEX irp_notification_once_idx
    ON irp_notification (kind, batch_id, activation_num, COALESCE(chain_run_id, 0));
CREATE INDEX irp_notification_pending_idx ON irp_notification (id) WHERE status = 'PENDING';

-- One row per pass of the monitor, written when it starts: it answers "is monitoring on?".
-- depends: 0006_notifications

CREATE TABLE irp_monitor_run (
    id serial PRIMARY KEY,
    started_ts timestamptz NOT NULL DEFAULT now(),
    finished_ts timestamptz,
    tidied_ts timestamptz,  -- when this pass tidied up, which one does every hour
    host varchar(255) NOT NULL,
    pid int NOT NULL,
    package_version varchar(50) NOT NULL,
    started_by varchar(255) NOT NULL,
    batches_found int,
    batches_settled int,
    jobs_polled int,
    polls_failed int,
    status_changes int,
    chains_run int,
    cards_sent int,
    errors jsonb NOT NULL DEFAULT '[]'
);
CREATE INDEX irp_monitor_run_started_idx ON irp_monitor_run (started_ts DESC);

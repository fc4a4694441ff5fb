-- What people did by hand: to which cycle, step, batch or job, when, why, and with which outcome.
-- Rows outlive what they are about, so their ids are no foreign keys.
-- depends: 0010_one_clock

CREATE TYPE action_kind_enum AS ENUM
    ('ARCHIVE', 'RESUBMIT', 'SKIP', 'ACTIVATE', 'RESOLVE', 'CANCEL', 'PRIORITY', 'RERUN', 'HOLD',
     'RELEASE');
CREATE TYPE action_status_enum AS ENUM ('PLANNED', 'DONE', 'FAILED', 'REJECTED', 'UNKNOWN');

CREATE TABLE irp_action (
    id bigserial PRIMARY KEY,
    plan_id uuid NOT NULL,
    kind action_kind_enum NOT NULL,
    status action_status_enum NOT NULL,
    cycle_id int,
    step_id int,
    batch_id int,
    job_id int,
    new_job_id int,
    person varchar(255) NOT NULL,
    reason text NOT NULL CHECK (reason <> ''),
    details jsonb NOT NULL DEFAULT '{}',
    request_id uuid,
    outcome text,
    created_ts timestamptz NOT NULL DEFAULT irp_now(),
    completed_ts timestamptz,
    CHECK ((completed_ts IS NULL) = (status = 'PLANNED'))
);

-- A plan acts once on each job.
CREATE UNIQUE INDEX irp_action_once_idx ON irp_action (plan_id, COALESCE(job_id, 0));
CREATE INDEX irp_action_batch_idx ON irp_action (batch_id, id);

-- A job has one live replacement at a time, whoever makes it. Rows that are there already are left
-- out: an adopted database may hold two.
DO $$ BEGIN
    EXECUTE format(
        $index$
        CREATE UNIQUE INDEX irp_job_one_live_replacement_idx ON irp_job (parent_job_id)
        WHERE parent_job_id IS NOT NULL AND NOT coalesce(skipped, false) AND id > %s
          AND coalesce(status, 'INITIATED') NOT IN ('FAILED', 'ERROR', 'CANCELLED')
        $index$,
        (SELECT coalesce(max(id), 0) FROM irp_job)
    );
END $$;

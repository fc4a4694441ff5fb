-- The metastore as teams already have it. On such a database every statement finds its object
-- in place and changes nothing; on an empty one it builds the same tables.

DO $$ BEGIN
    IF to_regtype('cycle_status_enum') IS NULL THEN
        CREATE TYPE cycle_status_enum AS ENUM ('ACTIVE', 'ARCHIVED');
    END IF;
    IF to_regtype('step_status_enum') IS NULL THEN
        CREATE TYPE step_status_enum AS ENUM ('ACTIVE', 'COMPLETED', 'FAILED', 'SKIPPED');
    END IF;
    IF to_regtype('configuration_status_enum') IS NULL THEN
        CREATE TYPE configuration_status_enum AS ENUM ('NEW', 'VALID', 'ACTIVE', 'ERROR');
    END IF;
    IF to_regtype('batch_status_enum') IS NULL THEN
        CREATE TYPE batch_status_enum AS ENUM
            ('INITIATED', 'ACTIVE', 'COMPLETED', 'FAILED', 'CANCELLED', 'ERROR');
    END IF;
    IF to_regtype('job_status_enum') IS NULL THEN
        CREATE TYPE job_status_enum AS ENUM
            ('INITIATED', 'SUBMITTED', 'PENDING', 'QUEUED', 'RUNNING', 'FINISHED', 'FAILED',
             'CANCEL_REQUESTED', 'CANCELLING', 'CANCELLED', 'ERROR');
    END IF;
END $$;

CREATE TABLE IF NOT EXISTS irp_cycle (
    id serial PRIMARY KEY,
    cycle_name varchar(255) NOT NULL UNIQUE,
    status cycle_status_enum DEFAULT 'ACTIVE',
    created_ts timestamptz DEFAULT now(),
    archived_ts timestamptz
);

CREATE TABLE IF NOT EXISTS irp_configuration (
    id serial PRIMARY KEY,
    cycle_id int NOT NULL REFERENCES irp_cycle (id) ON DELETE CASCADE,
    configuration_file_name varchar(2000),
    configuration_data jsonb,
    status configuration_status_enum DEFAULT 'NEW',
    file_last_updated_ts timestamptz NOT NULL,
    created_ts timestamptz DEFAULT now(),
    updated_ts timestamptz DEFAULT now()
);

CREATE TABLE IF NOT EXISTS irp_stage (
    id serial PRIMARY KEY,
    cycle_id int NOT NULL REFERENCES irp_cycle (id) ON DELETE CASCADE,
    stage_num int NOT NULL,
    stage_name varchar(255) NOT NULL,
    created_ts timestamptz DEFAULT now(),
    UNIQUE (cycle_id, stage_num)
);

CREATE TABLE IF NOT EXISTS irp_step (
    id serial PRIMARY KEY,
    stage_id int NOT NULL REFERENCES irp_stage (id) ON DELETE CASCADE,
    step_num int NOT NULL,
    step_name varchar(255) NOT NULL,
    notebook_path varchar(1000),
    requires_batch boolean DEFAULT false,
    created_ts timestamptz DEFAULT now(),
    UNIQUE (stage_id, step_num)
);

CREATE TABLE IF NOT EXISTS irp_step_run (
    id serial PRIMARY KEY,
    step_id int NOT NULL REFERENCES irp_step (id) ON DELETE CASCADE,
    run_num int NOT NULL,
    status step_status_enum DEFAULT 'ACTIVE',
    started_ts timestamptz DEFAULT now(),
    completed_ts timestamptz,
    started_by varchar(255),
    error_message text,
    output_data jsonb
);

CREATE TABLE IF NOT EXISTS irp_batch (
    id serial PRIMARY KEY,
    step_id int NOT NULL REFERENCES irp_step (id),
    configuration_id int REFERENCES irp_configuration (id),
    batch_type varchar(255) NOT NULL,
    status batch_status_enum DEFAULT 'INITIATED',
    submitted_ts timestamptz,
    completed_ts timestamptz,
    created_ts timestamptz DEFAULT now(),
    updated_ts timestamptz DEFAULT now()
);

CREATE TABLE IF NOT EXISTS irp_job_configuration (
    id serial PRIMARY KEY,
    batch_id int NOT NULL REFERENCES irp_batch (id),
    configuration_id int REFERENCES irp_configuration (id),
    job_configuration_data jsonb,
    skipped boolean DEFAULT false,
    overridden boolean DEFAULT false,
    override_reason_txt varchar(1000),
    parent_job_configuration_id int REFERENCES irp_job_configuration (id),
    skipped_reason_txt varchar(1000),
    override_job_configuration_id int REFERENCES irp_job_configuration (id),
    created_ts timestamptz DEFAULT now(),
    updated_ts timestamptz DEFAULT now()
);

CREATE TABLE IF NOT EXISTS irp_job (
    id serial PRIMARY KEY,
    batch_id int NOT NULL REFERENCES irp_batch (id) ON DELETE CASCADE,
    job_configuration_id int REFERENCES irp_job_configuration (id),
    moodys_workflow_id varchar(50),
    status job_status_enum DEFAULT 'INITIATED',
    skipped boolean DEFAULT false,
    last_error text,
    parent_job_id int,
    submitted_ts timestamptz,
    completed_ts timestamptz,
    last_tracked_ts timestamptz,
    created_ts timestamptz DEFAULT now(),
    updated_ts timestamptz DEFAULT now(),
    submission_request jsonb,
    submission_response jsonb
);

CREATE TABLE IF NOT EXISTS irp_batch_recon_log (
    id serial PRIMARY KEY,
    batch_id int NOT NULL REFERENCES irp_batch (id) ON DELETE CASCADE,
    recon_ts timestamptz DEFAULT now(),
    recon_result batch_status_enum NOT NULL,
    recon_summary jsonb NOT NULL
);

CREATE TABLE IF NOT EXISTS irp_job_tracking_log (
    id serial PRIMARY KEY,
    job_id int NOT NULL REFERENCES irp_job (id) ON DELETE CASCADE,
    tracked_ts timestamptz DEFAULT now(),
    moodys_workflow_id varchar(50) NOT NULL,
    job_status job_status_enum NOT NULL,
    tracking_data jsonb
);

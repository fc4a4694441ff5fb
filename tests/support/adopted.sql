-- A metastore as a team has it before this package comes: its schema, and the odd data of daily use.

CREATE TYPE cycle_status_enum AS ENUM ('ACTIVE', 'ARCHIVED');
CREATE TYPE step_status_enum AS ENUM ('ACTIVE', 'COMPLETED', 'FAILED', 'SKIPPED');
CREATE TYPE configuration_status_enum AS ENUM ('NEW', 'VALID', 'ACTIVE', 'ERROR');
CREATE TYPE batch_status_enum AS ENUM
    ('INITIATED', 'ACTIVE', 'COMPLETED', 'FAILED', 'CANCELLED', 'ERROR');
CREATE TYPE job_status_enum AS ENUM
    ('INITIATED', 'SUBMITTED', 'PENDING', 'QUEUED', 'RUNNING', 'FINISHED', 'FAILED',
     'CANCEL_REQUESTED', 'CANCELLING', 'CANCELLED', 'ERROR');

CREATE TABLE irp_cycle (
    id serial PRIMARY KEY,
    cycle_name varchar(255) UNIQUE NOT NULL,
    status cycle_status_enum DEFAULT 'ACTIVE',
    created_ts timestamptz DEFAULT now(),
    archived_ts timestamptz
);
CREATE TABLE irp_configuration (
    id serial PRIMARY KEY,
    cycle_id int NOT NULL,
    configuration_file_name varchar(2000),
    configuration_data jsonb,
    status configuration_status_enum DEFAULT 'NEW',
    file_last_updated_ts timestamptz NOT NULL,
    created_ts timestamptz DEFAULT now(),
    updated_ts timestamptz DEFAULT now(),
    CONSTRAINT fk_configuration_cycle FOREIGN KEY (cycle_id) REFERENCES irp_cycle (id)
        ON DELETE CASCADE
);
CREATE TABLE irp_stage (
    id serial PRIMARY KEY,
    cycle_id int NOT NULL,
    stage_num int NOT NULL,
    stage_name varchar(255) NOT NULL,
    created_ts timestamptz DEFAULT now(),
    CONSTRAINT uq_cycle_stage UNIQUE (cycle_id, stage_num),
    CONSTRAINT fk_stage_cycle FOREIGN KEY (cycle_id) REFERENCES irp_cycle (id) ON DELETE CASCADE
);
CREATE TABLE irp_step (
    id serial PRIMARY KEY,
    stage_id int NOT NULL,
    step_num int NOT NULL,
    step_name varchar(255) NOT NULL,
    notebook_path varchar(1000),
    requires_batch boolean DEFAULT false,
    created_ts timestamptz DEFAULT now(),
    CONSTRAINT uq_stage_step UNIQUE (stage_id, step_num),
    CONSTRAINT fk_step_stage FOREIGN KEY (stage_id) REFERENCES irp_stage (id) ON DELETE CASCADE
);
CREATE TABLE irp_step_run (
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
CREATE TABLE irp_batch (
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
CREATE TABLE irp_job_configuration (
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
CREATE TABLE irp_job (
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
CREATE INDEX idx_job_batch ON irp_job (batch_id);
CREATE TABLE irp_batch_recon_log (
    id serial PRIMARY KEY,
    batch_id int NOT NULL REFERENCES irp_batch (id) ON DELETE CASCADE,
    recon_ts timestamptz DEFAULT now(),
    recon_result batch_status_enum NOT NULL,
    recon_summary jsonb NOT NULL
);
CREATE TABLE irp_job_tracking_log (
    id serial PRIMARY KEY,
    job_id int NOT NULL REFERENCES irp_job (id) ON DELETE CASCADE,
    tracked_ts timestamptz DEFAULT now(),
    moodys_workflow_id varchar(50) NOT NULL,
    job_status job_status_enum NOT NULL,
    tracking_data jsonb
);
CREATE INDEX idx_tracking_log_job ON irp_job_tracking_log (job_id);

CREATE TABLE irp_job_status_rule (
    status job_status_enum PRIMARY KEY,
    counts_as varchar(20) NOT NULL
);
CREATE VIEW v_irp_job AS
SELECT job.id, job.batch_id, job.status, job.skipped, rule.counts_as, job.submitted_ts,
       job.completed_ts, job.completed_ts - job.submitted_ts AS duration
FROM irp_job AS job
LEFT JOIN irp_job_status_rule AS rule ON rule.status = job.status;
CREATE VIEW v_irp_job_configuration AS
SELECT configuration.id, configuration.batch_id, configuration.skipped,
       count(job.id) FILTER (WHERE job.status = 'FINISHED' AND NOT job.skipped) AS finished_jobs
FROM irp_job_configuration AS configuration
LEFT JOIN irp_job AS job ON job.job_configuration_id = configuration.id
GROUP BY configuration.id;
CREATE VIEW v_irp_batch AS
SELECT batch.id, batch.batch_type, batch.status, batch.submitted_ts,
       count(job.id) FILTER (WHERE job.counts_as = 'done') AS jobs_done
FROM irp_batch AS batch
LEFT JOIN v_irp_job AS job ON job.batch_id = batch.id
GROUP BY batch.id;

INSERT INTO irp_job_status_rule VALUES
    ('FINISHED', 'done'), ('FAILED', 'done'), ('CANCELLED', 'done'), ('ERROR', 'done'),
    ('RUNNING', 'open'), ('QUEUED', 'open');

-- One cycle in use, one archived, and one whose status was never set.
INSERT INTO irp_cycle (id, cycle_name, status, created_ts, archived_ts) VALUES
    (1, 'Analysis-2024-Q4', 'ARCHIVED', '2024-10-01 08:00+00', '2025-01-05 08:00+00'),
    (2, 'Analysis-2025-Q1', 'ACTIVE', '2025-01-06 08:00+00', NULL),
    (3, 'Nobody''s "cycle"', NULL, NULL, NULL);
INSERT INTO irp_configuration
    (id, cycle_id, configuration_file_name, configuration_data, status, file_last_updated_ts) VALUES
    (1, 2, 'Q1 configuration.xlsx', '{"sheets": ["EDM", "Analysis"]}', 'VALID', '2025-01-06 09:00+00'),
    (2, 2, NULL, NULL, NULL, '2025-01-06 09:00+00');
INSERT INTO irp_stage (id, cycle_id, stage_num, stage_name) VALUES
    (1, 1, 4, 'Analysis Execution'), (2, 2, 3, 'Data Import'), (3, 2, 4, 'Analysis Execution'),
    (4, 3, 4, 'Analysis Execution');
-- Absolute, relative, of another machine, chained, and none.
INSERT INTO irp_step (id, stage_id, step_num, step_name, notebook_path, requires_batch) VALUES
    (1, 1, 1, 'Execute Analysis', '/workspace/workflows/Active_Analysis-2024-Q4/notebooks/x.ipynb', true),
    (2, 2, 1, 'Create EDMs', 'Active_Analysis-2025-Q1/notebooks/Stage_03_Data_Import/Step_01.ipynb', true),
    (3, 2, 3, 'MRI Import', 'C:\Users\a\workflows\Active_Analysis-2025-Q1\notebooks\Step_03 (chained).ipynb', NULL),
    (4, 3, 1, 'Execute Analysis', NULL, true),
    (5, 3, 2, 'Analysis Summary', NULL, false),
    (6, 4, 1, 'Execute Analysis', NULL, true);
-- Two with the same number, and one left ACTIVE for ever.
INSERT INTO irp_step_run (id, step_id, run_num, status, started_ts, completed_ts, started_by) VALUES
    (1, 2, 1, 'FAILED', '2025-01-07 08:00+00', '2025-01-07 08:01+00', 'anna'),
    (2, 2, 1, 'COMPLETED', '2025-01-07 08:00+00', '2025-01-07 08:02+00', 'bert'),
    (3, 4, 1, 'ACTIVE', '2025-01-08 08:00+00', NULL, NULL),
    (4, 4, 2, NULL, NULL, NULL, NULL);
INSERT INTO irp_batch (id, step_id, configuration_id, batch_type, status, submitted_ts, completed_ts) VALUES
    (1, 1, NULL, 'Analysis', 'COMPLETED', '2024-10-02 08:00+00', '2024-10-02 12:00+00'),
    (2, 2, 1, 'EDM Creation', 'FAILED', '2025-01-07 08:00+00', '2025-01-07 09:00+00'),
    -- re-activated by a resubmission
    (3, 4, 1, 'Analysis', 'ACTIVE', NULL, NULL),
    (4, 3, 1, 'MRI Import', 'INITIATED', NULL, NULL),
    (5, 4, 2, 'Something Else', NULL, NULL, NULL),
    (6, 1, NULL, 'Portfolio Mapping', 'COMPLETED', '2024-10-02 08:00+00', '2024-10-02 08:00+00'),
    (7, 6, NULL, 'Analysis', 'ACTIVE', '2025-01-08 08:00+00', NULL);
INSERT INTO irp_job_configuration
    (id, batch_id, configuration_id, job_configuration_data, skipped, overridden,
     parent_job_configuration_id, skipped_reason_txt) VALUES
    (1, 1, NULL, '{"analysis": "EQ"}', false, false, NULL, NULL),
    (2, 2, 1, '{"edm": "RM_1"}', true, true, NULL, 'overridden'),
    (3, 2, 1, '{"edm": "RM_1b"}', NULL, NULL, 2, NULL),
    (4, 3, 1, '{"analysis": "WS"}', false, false, NULL, NULL),
    (5, 3, 1, NULL, NULL, NULL, NULL, NULL),
    (6, 7, NULL, '{}', false, false, NULL, NULL);
INSERT INTO irp_job
    (id, batch_id, job_configuration_id, moodys_workflow_id, status, skipped, last_error,
     parent_job_id, submitted_ts, completed_ts, last_tracked_ts, updated_ts) VALUES
    (1, 1, 1, '22000001', 'FINISHED', false, NULL, NULL, '2024-10-02 08:00+00', '2024-10-02 11:00+00', '2024-10-02 11:00+00', now()),
    -- its submission failed
    (2, 2, 3, NULL, 'ERROR', false, 'HTTP 400: no such server', NULL, NULL, NULL, NULL, now()),
    (3, 2, 2, '22000003', 'FAILED', true, 'out of space', NULL, '2025-01-07 08:00+00', NULL, NULL, NULL),
    (4, 3, 4, '22000004', 'RUNNING', false, NULL, 99, '2025-01-08 08:00+00', NULL, '2025-01-08 09:00+00', NULL),
    -- nothing was ever set
    (5, 3, 5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (6, 3, NULL, '22000006', 'CANCELLING', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    -- a synchronous one
    (7, 6, NULL, 'N/A', 'FINISHED', false, NULL, NULL, NULL, NULL, NULL, now()),
    (8, 7, 6, '22000008', 'QUEUED', false, NULL, NULL, '2025-01-08 08:00+00', NULL, NULL, now());
UPDATE irp_job SET created_ts = NULL WHERE id IN (5, 6);
INSERT INTO irp_batch_recon_log (id, batch_id, recon_ts, recon_result, recon_summary) VALUES
    (1, 1, '2024-10-02 12:00+00', 'COMPLETED', '{"total_jobs": 1, "job_status_counts": {"FINISHED": 1}}'),
    (2, 2, NULL, 'FAILED', '{"total_jobs": 2, "job_status_counts": {"ERROR": 1, "SKIPPED": 1}}');
INSERT INTO irp_job_tracking_log (id, job_id, tracked_ts, moodys_workflow_id, job_status, tracking_data) VALUES
    (3, 1, '2024-10-02 09:00+00', '22000001', 'QUEUED', '{"status": "QUEUED", "n": 1.50}'),
    (7, 1, '2024-10-02 10:00+00', '22000001', 'RUNNING', NULL),
    (8, 1, '2024-10-02 11:00+00', '22000001', 'FINISHED', '{"status": "FINISHED"}'),
    -- its time was never noted
    (9, 4, NULL, '22000004', 'RUNNING', '[]'),
    (2000, 6, '2025-01-08 09:00+00', 'N/A', 'CANCELLING', 'null');

DO $$
DECLARE
    owner text;
BEGIN
    FOREACH owner IN ARRAY ARRAY[
        'cycle', 'configuration', 'stage', 'step', 'step_run', 'batch', 'job_configuration', 'job',
        'batch_recon_log', 'job_tracking_log']
    LOOP
        EXECUTE format(
            'SELECT setval(pg_get_serial_sequence(%L, %L), (SELECT max(id) FROM %I))',
            'irp_' || owner, 'id', 'irp_' || owner);
    END LOOP;
END $$;

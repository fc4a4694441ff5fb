-- One row per hand-over from a batch's activation to the next step. The row is written in the
-- transaction that ends the batch; the unique keys are what "exactly once" rests on.
-- depends: 0004_batch_activations

CREATE TYPE chain_run_status_enum AS ENUM ('PENDING', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED');

CREATE TABLE irp_chain_run (
    id serial PRIMARY KEY,
    batch_id int NOT NULL REFERENCES irp_batch (id) ON DELETE CASCADE,
    activation_num int NOT NULL CHECK (activation_num > 0),
    stage_num int NOT NULL,
    from_step_num int NOT NULL,
    next_step_num int NOT NULL CHECK (next_step_num > from_step_num),
    next_step_id int REFERENCES irp_step (id) ON DELETE CASCADE,
    notebook_path varchar(4096),
    status chain_run_status_enum NOT NULL DEFAULT 'PENDING',
    attempt int NOT NULL DEFAULT 0 CHECK (attempt BETWEEN 0 AND 3),
    owner varchar(255),
    heartbeat_ts timestamptz,
    step_run_id int REFERENCES irp_step_run (id) ON DELETE SET NULL,
    error_message text,
    created_ts timestamptz NOT NULL DEFAULT now(),
    started_ts timestamptz,
    completed_ts timestamptz,
    UNIQUE (batch_id, activation_num),
    CHECK (status <> 'RUNNING' OR (owner IS NOT NULL AND heartbeat_ts IS NOT NULL)),
    CHECK ((completed_ts IS NOT NULL) = (status IN ('COMPLETED', 'FAILED', 'CANCELLED')))
);

-- A step's notebook never runs twice at the same time.
CREATE UNIQUE INDEX irp_chain_run_one_running_idx ON irp_chain_run (next_step_id)
    WHERE status = 'RUNNING';
CREATE INDEX irp_chain_run_open_idx ON irp_chain_run (id) WHERE status IN ('PENDING', 'RUNNING');

-- What one pass asks for: the few ACTIVE batches among many, and the rows of one batch.
-- depends: 0007_monitor_runs

CREATE INDEX IF NOT EXISTS irp_batch_active_idx ON irp_batch (id) WHERE status = 'ACTIVE';
CREATE INDEX IF NOT EXISTS irp_batch_step_idx ON irp_batch (step_id);
CREATE INDEX IF NOT EXISTS irp_job_batch_idx ON irp_job (batch_id);
CREATE INDEX IF NOT EXISTS irp_job_configuration_batch_idx ON irp_job_configuration (batch_id);
CREATE INDEX IF NOT EXISTS irp_step_run_step_idx ON irp_step_run (step_id);
CREATE INDEX IF NOT EXISTS irp_batch_recon_log_batch_idx ON irp_batch_recon_log (batch_id, id DESC);
CREATE INDEX IF NOT EXISTS irp_batch_recon_log_still_active_idx ON irp_batch_recon_log (recon_ts)
    WHERE recon_result = 'ACTIVE';
CREATE INDEX irp_monitor_run_tidied_idx ON irp_monitor_run (tidied_ts DESC) WHERE tidied_ts IS NOT NULL;

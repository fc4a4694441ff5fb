"""What must hold in a metastore at every moment, whatever was killed when."""

import psycopg

_ENDED = "('COMPLETED', 'FAILED', 'CANCELLED', 'ERROR')"

# Each names rows that would be half-written.
_BROKEN = {
    "a batch that ended without a time, or has one and has not ended": f"""
        SELECT id FROM irp_batch WHERE (status IN {_ENDED}) <> (completed_ts IS NOT NULL)""",
    "an activation that ended more often than once, or without a note": """
        SELECT batch.id FROM irp_batch AS batch
        LEFT JOIN irp_batch_recon_log AS log
            ON log.batch_id = batch.id AND log.recon_result <> 'ACTIVE'
        GROUP BY batch.id
        HAVING count(log.id) <> batch.activation_num - (batch.status = 'ACTIVE')::int""",
    "a batch that ended badly without a card": """
        SELECT id FROM irp_batch AS batch
        WHERE status IN ('FAILED', 'CANCELLED', 'ERROR') AND NOT EXISTS (
            SELECT FROM irp_notification AS card
            WHERE card.batch_id = batch.id AND card.activation_num = batch.activation_num
              AND card.kind = 'BATCH_FAILED')""",
    "a card of an activation that has not ended": """
        SELECT card.id FROM irp_notification AS card
        JOIN irp_batch AS batch ON batch.id = card.batch_id
        WHERE batch.status = 'ACTIVE' AND card.activation_num = batch.activation_num
          AND card.kind <> 'JOBS_FAILED'""",
    "an analysis or EDM creation that ended without a chain run": """
        SELECT id FROM irp_batch AS batch
        WHERE (batch_type, status::text) IN (('Analysis', 'FAILED'), ('Analysis', 'COMPLETED'),
                                             ('EDM Creation', 'COMPLETED'))
          AND NOT EXISTS (SELECT FROM irp_chain_run AS run
                          WHERE run.batch_id = batch.id
                            AND run.activation_num = batch.activation_num)""",
    "a chain run of an activation that has not ended": """
        SELECT run.id FROM irp_chain_run AS run JOIN irp_batch AS batch ON batch.id = run.batch_id
        WHERE batch.status = 'ACTIVE' AND run.activation_num = batch.activation_num""",
    "a job that moved without the poll that moved it": """
        SELECT job.id FROM irp_job AS job
        WHERE job.last_tracked_ts IS NOT NULL AND NOT EXISTS (
            SELECT FROM irp_job_tracking_log AS log
            WHERE log.job_id = job.id AND log.tracked_ts = job.last_tracked_ts
              AND log.job_status = job.status::text)""",
    "a poll on record that its job does not know": """
        SELECT log.id FROM irp_job_tracking_log AS log JOIN irp_job AS job ON job.id = log.job_id
        WHERE job.last_tracked_ts IS NULL OR log.tracked_ts > job.last_tracked_ts""",
    "a job that ended without a time, or has one and has not ended": """
        SELECT id FROM irp_job
        WHERE (status IN ('FINISHED', 'FAILED', 'CANCELLED', 'ERROR')) <> (completed_ts IS NOT NULL)
    """,
    "a chain run that completed without its step": """
        SELECT run.id FROM irp_chain_run AS run
        LEFT JOIN irp_step_run AS step ON step.id = run.step_run_id
        WHERE run.status = 'COMPLETED' AND step.status IS DISTINCT FROM 'COMPLETED'""",
    "a step that runs without its claim": """
        SELECT step.id FROM irp_step_run AS step
        WHERE step.status = 'ACTIVE' AND NOT EXISTS (
            SELECT FROM irp_step_claim AS claim
            WHERE claim.step_run_id = step.id AND claim.owner IS NOT NULL
              AND claim.verdict IS NULL)""",
    "a chain run that is served without its claim, or after its verdict": """
        SELECT run.id FROM irp_chain_run AS run
        WHERE run.status = 'RUNNING' AND NOT EXISTS (
            SELECT FROM irp_step_claim AS claim
            WHERE claim.step_id = run.next_step_id AND claim.attempt = run.served_by
              AND claim.owner IS NOT NULL AND claim.verdict IS NULL)""",
    "a batch that ended without its conclusion": f"""
        SELECT id FROM irp_batch
        WHERE status IN {_ENDED} AND concluded_activation_num <> activation_num""",
    "a submitted job without its id, or an id without the submission": """
        SELECT id FROM irp_job
        WHERE (moodys_workflow_id IS NOT NULL) <> (submitted_ts IS NOT NULL)""",
}


def broken(sql: psycopg.Connection) -> dict[str, list[int]]:
    """Return what is half-written, by what is wrong with it; an empty dict is good."""
    found = {what: [row[0] for row in sql.execute(query)] for what, query in _BROKEN.items()}
    return {what: ids for what, ids in found.items() if ids}


def batches(sql: psycopg.Connection) -> dict[int, tuple[str, int]]:
    """Return each batch's status and how often it became ACTIVE."""
    rows = sql.execute("SELECT id, status::text, activation_num FROM irp_batch ORDER BY id")
    return {row[0]: (row[1], row[2]) for row in rows}


def jobs(sql: psycopg.Connection, batch_id: int) -> list[str]:
    """Return the statuses of a batch's jobs, in order."""
    query = "SELECT status::text FROM irp_job WHERE batch_id = %s ORDER BY id"
    return [row[0] for row in sql.execute(query, [batch_id])]


def cards(sql: psycopg.Connection) -> list[tuple[str, int, int, str]]:
    """Return kind, batch, activation and status of each event, in order."""
    query = "SELECT kind::text, batch_id, activation_num, status::text FROM irp_notification"
    return list(sql.execute(f"{query} ORDER BY id"))


def chain_runs(sql: psycopg.Connection) -> list[tuple[int, int, str]]:
    """Return batch, activation and status of each chain run, in order."""
    query = "SELECT batch_id, activation_num, status::text FROM irp_chain_run ORDER BY id"
    return list(sql.execute(query))


def step_runs(sql: psycopg.Connection) -> list[str]:
    """Return how the runs of steps stand, in order."""
    return [row[0] for row in sql.execute("SELECT status::text FROM irp_step_run ORDER BY id")]

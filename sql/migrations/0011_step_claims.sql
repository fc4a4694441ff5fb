-- A step's notebook runs once at a time, whoever starts it: its claim is the guard. The row stays when
-- the claim is released, and `attempt` only ever grows: it is a token that every write of the owner
-- is compared with, so that one that arrives late changes nothing. One run serves all chain runs of
-- the step that are due; each is stamped with the attempt that serves it.
--
-- A batch's ending is concluded once what follows from it is written. An ending by another tool is
-- concluded later, by a sweep; all endings of before count as concluded.
-- depends: 0010_one_clock

CREATE TABLE irp_step_claim (
    step_id int PRIMARY KEY REFERENCES irp_step (id) ON DELETE CASCADE,
    attempt int NOT NULL CHECK (attempt > 0),
    owner varchar(255),  -- NULL: released
    claimed_ts timestamptz,
    claim_expires_ts timestamptz,
    step_run_id int REFERENCES irp_step_run (id) ON DELETE SET NULL,
    verdict step_status_enum,  -- how the run ended; the claim is kept until its kernel is gone
    stop_reason text,  -- the owner asks a run on another machine to stop
    worker_started_ts timestamptz,  -- a worker has started this attempt, which no other may repeat
    worker_seen_ts timestamptz,  -- when it asked last whether the claim still stands
    worker_verdict jsonb,  -- how the notebook's last cell ended there
    worker_ended_ts timestamptz,  -- the kernel there is gone, with all that it started
    CHECK ((owner IS NULL) = (claim_expires_ts IS NULL))
);

ALTER TABLE irp_chain_run
    ADD COLUMN served_by int,  -- the attempt of its step's claim
    ADD COLUMN released boolean NOT NULL DEFAULT false;  -- by a person, although something holds it

-- Monitors of 0.1.0 that run a step now go on: their claims are carried over.
INSERT INTO irp_step_claim (step_id, attempt, owner, claimed_ts, claim_expires_ts, step_run_id)
SELECT next_step_id, 1, owner, started_ts, heartbeat_ts + interval '90 s', step_run_id
FROM irp_chain_run
WHERE status = 'RUNNING' AND next_step_id IS NOT NULL;
UPDATE irp_chain_run SET served_by = 1 WHERE status = 'RUNNING' AND next_step_id IS NOT NULL;
UPDATE irp_chain_run SET status = 'PENDING', owner = NULL, heartbeat_ts = NULL
WHERE status = 'RUNNING' AND next_step_id IS NULL;

DROP INDEX irp_chain_run_one_running_idx;  -- one run may serve many
DO $$
DECLARE
    name text;
BEGIN
    SELECT conname INTO name FROM pg_constraint
    WHERE conrelid = 'irp_chain_run'::regclass AND contype = 'c'
      AND pg_get_constraintdef(oid) LIKE '%heartbeat_ts%';
    EXECUTE format('ALTER TABLE irp_chain_run DROP CONSTRAINT %I', name);
END $$;
ALTER TABLE irp_chain_run ADD CONSTRAINT irp_chain_run_is_served
    CHECK (status <> 'RUNNING' OR (owner IS NOT NULL AND served_by IS NOT NULL));

CREATE FUNCTION irp_chain_run_guard() RETURNS trigger LANGUAGE plpgsql AS $$
-- Refuse the claims of 0.1.0, which knows nothing of a step's claim; carry its heartbeat over.
BEGIN
    IF NEW.status = 'RUNNING' AND NEW.attempt > OLD.attempt
       AND NEW.served_by IS NOT DISTINCT FROM OLD.served_by THEN
        RAISE EXCEPTION 'This monitor is older than the metastore and starts no step any more: install batch-monitoring 0.2.0 or later for it, or take its schedule away.';
    END IF;
    IF NEW.status = 'RUNNING' AND NEW.heartbeat_ts > OLD.heartbeat_ts THEN
        UPDATE irp_step_claim SET claim_expires_ts = NEW.heartbeat_ts + interval '90 s'
        WHERE step_id = NEW.next_step_id AND owner = NEW.owner AND attempt = NEW.served_by;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER irp_chain_run_guard BEFORE UPDATE ON irp_chain_run
    FOR EACH ROW EXECUTE FUNCTION irp_chain_run_guard();

ALTER TABLE irp_batch ADD COLUMN concluded_activation_num int NOT NULL DEFAULT 0;
UPDATE irp_batch SET concluded_activation_num = activation_num
WHERE activation_num > 0 AND status NOT IN ('INITIATED', 'ACTIVE');

CREATE FUNCTION irp_chain_run_holders(of_batch_id int, of_step_id int, fires_on text[])
RETURNS TABLE (batch_id int, batch_status text, step_run_id int, started_by text)
LANGUAGE sql STABLE AS $$
-- What a chain run to a step waits for: each other batch of the batch's own step that is ACTIVE, has
-- ended in a status that the rule does not name, or has an ending that is not concluded; and each run
-- of the step that has started since the batch ended, still goes on, and that no claim names.
    SELECT other.id, other.status::text, NULL::int, NULL::text
    FROM irp_batch AS batch
    JOIN irp_batch AS other ON other.step_id = batch.step_id AND other.id <> batch.id
    WHERE batch.id = of_batch_id AND other.activation_num > 0
      AND other.status NOT IN ('INITIATED', 'CANCELLED')
      AND (NOT other.status::text = ANY (coalesce(fires_on, '{}'))
           OR other.concluded_activation_num <> other.activation_num)
    UNION ALL
    SELECT NULL::int, NULL::text, run.id, run.started_by::text
    FROM irp_batch AS batch
    JOIN irp_step_run AS run ON run.step_id = of_step_id
    WHERE batch.id = of_batch_id AND run.status = 'ACTIVE' AND run.started_ts > batch.completed_ts
      AND NOT EXISTS (SELECT FROM irp_step_claim AS claim WHERE claim.step_run_id = run.id)
$$;

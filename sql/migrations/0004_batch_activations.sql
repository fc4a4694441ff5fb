-- Counts how often a batch became ACTIVE, whoever made it so: each activation is a new event that
-- may complete, chain and notify once. Batches that ended before this migration stay at 0.
-- depends: 0003_submission_request_id

ALTER TABLE irp_batch ADD COLUMN IF NOT EXISTS activation_num int NOT NULL DEFAULT 0
    CHECK (activation_num >= 0);
UPDATE irp_batch SET activation_num = 1 WHERE status = 'ACTIVE' AND activation_num = 0;

CREATE OR REPLACE FUNCTION irp_batch_count_activation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status = 'ACTIVE' THEN
        IF TG_OP = 'INSERT' THEN
            NEW.activation_num := 1;
        ELSIF OLD.status IS DISTINCT FROM 'ACTIVE' THEN
            NEW.activation_num := OLD.activation_num + 1;
        END IF;
    END IF;
    RETURN NEW;
END $$;

DROP TRIGGER IF EXISTS irp_batch_count_activation ON irp_batch;
CREATE TRIGGER irp_batch_count_activation BEFORE INSERT OR UPDATE OF status ON irp_batch
    FOR EACH ROW EXECUTE FUNCTION irp_batch_count_activation();

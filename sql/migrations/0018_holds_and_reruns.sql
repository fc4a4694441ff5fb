-- A person may hold a step, so that no pass starts its notebook, or make it due again. Both stand on
-- the row of the step's claim, which is the lock that they share with those who claim it, and point to
-- the action that says who, when and why. The row exists from the first of these on: attempt 0 was
-- never claimed.
-- depends: 0011_step_claims 0017_actions

ALTER TABLE irp_step_claim
    ADD COLUMN hold_action_id bigint REFERENCES irp_action (id),  -- NULL: not held
    ADD COLUMN rerun_action_id bigint REFERENCES irp_action (id),  -- NULL: no rerun is due
    ADD COLUMN rerun_tries int NOT NULL DEFAULT 0,
    DROP CONSTRAINT irp_step_claim_attempt_check,
    ADD CONSTRAINT irp_step_claim_attempt_check CHECK (attempt >= 0);

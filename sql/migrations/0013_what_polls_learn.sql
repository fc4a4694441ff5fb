-- What polls learn beside a status: Moody's own times of a job, when it was last read by its id,
-- where the ids of a batch are known, what of an answer could not be kept, and how much Moody's
-- carries.
-- depends: 0010_one_clock

ALTER TABLE irp_job
    ADD COLUMN moodys_submitted_ts timestamptz,  -- Moody's own times, as it said them last
    ADD COLUMN moodys_started_ts timestamptz,
    ADD COLUMN moodys_ended_ts timestamptz,
    ADD COLUMN read_ts timestamptz,  -- when Moody's last answered about it by id: a search may lie
    ADD COLUMN progress int,  -- in percent, as Moody's said it last
    ADD COLUMN progress_ts timestamptz,  -- since when that is so, or the job runs
    ADD COLUMN longest_still_seconds double precision;  -- for so long it was the same while it ran

-- NULL: at the family of the batch type; 'workflows': other tools submit through the older API.
ALTER TABLE irp_batch ADD COLUMN ids_known_at text;

-- What of an answer was not kept, and why; an answer that failed has its error_message.
ALTER TABLE irp_job_tracking_log ADD COLUMN note text;

-- What passes have learned of the jobs of a family: how many requests about them Moody's carries,
-- and why they are not searched for.
CREATE TABLE irp_poll_family (
    family text PRIMARY KEY,
    at_once real,
    at_once_is_limit boolean NOT NULL DEFAULT false,  -- it has throttled when there were more
    per_second real,  -- NULL: it has not throttled because of how many came in a second
    calm_seconds real NOT NULL DEFAULT 0,  -- of asking since it has throttled last
    learned_ts timestamptz,
    search_problem text,
    search_problem_ts timestamptz
);

-- When running batches were forecast to end, so that it can be checked; and how long jobs take.
-- depends: 0010_one_clock

-- One row per batch and hour. The times are NULL if there was no number; "reason" says why.
CREATE TABLE irp_forecast (
    id bigserial PRIMARY KEY,
    batch_id int NOT NULL REFERENCES irp_batch (id) ON DELETE CASCADE,
    activation_num int NOT NULL,
    hour_ts timestamptz NOT NULL,
    made_ts timestamptz NOT NULL DEFAULT irp_now(),
    stage int NOT NULL,    -- how much of the batch had finished: helpers.forecasting.STAGES
    samples int NOT NULL,  -- how many jobs of its type it stands on
    reason text,
    low_ts timestamptz,
    median_ts timestamptz,
    high_ts timestamptz,
    drawn_low_ts timestamptz,  -- before its record widened it: outcomes are judged by these two
    drawn_high_ts timestamptz,
    ended_ts timestamptz,  -- when the batch ended; NULL: not yet
    UNIQUE (batch_id, hour_ts),
    CHECK (num_nulls(low_ts, median_ts, high_ts, drawn_low_ts, drawn_high_ts) IN (0, 5)),
    CHECK ((reason IS NULL) = (median_ts IS NOT NULL)),
    CHECK (low_ts <= median_ts AND median_ts <= high_ts)
);
CREATE INDEX irp_forecast_open_idx ON irp_forecast (batch_id) WHERE ended_ts IS NULL;
CREATE INDEX irp_forecast_judged_idx ON irp_forecast (stage, id)
    WHERE ended_ts IS NOT NULL AND median_ts IS NOT NULL;

-- How long the last jobs of a batch type ran, waited, and were without progress at most: as at most
-- 1,000 quantile points per size class, and what became of forecasts of single jobs. Logs of seconds.
CREATE TABLE irp_duration_history (
    batch_type varchar(255) NOT NULL,
    measure text NOT NULL CHECK (measure IN ('running', 'waiting', 'still')),
    samples int NOT NULL,
    classes jsonb NOT NULL,
    record jsonb NOT NULL,
    refreshed_ts timestamptz NOT NULL DEFAULT irp_now(),
    PRIMARY KEY (batch_type, measure)
);

-- name: notice_a_silent_client()^
-- Half a minute until the server notices that a client's host has vanished without a word. Two
-- hours is the kernel's own patience, and so long the client's locks would be held.
SELECT set_config('tcp_keepalives_idle', '15', false),
       set_config('tcp_keepalives_interval', '5', false),
       set_config('tcp_keepalives_count', '3', false),
       set_config('tcp_user_timeout', '30s', false);

-- name: limit_statements(limit)^
-- Give up a statement after so long, whatever it waits for.
SELECT set_config('statement_timeout', :limit::text, false);

-- name: limit_lock_waits(limit)^
-- Give up waiting for somebody else's lock after so long.
SELECT set_config('lock_timeout', :limit::text, false);

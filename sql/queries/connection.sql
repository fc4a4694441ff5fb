-- name: pin(lock_timeout, idle_in_transaction_session_timeout, idle_session_timeout)$
-- Give a session what the code relies on, whatever the role, the database or the environment say:
-- how times and arrays are read and written, read-committed transactions, durable commits, triggers
-- that fire, and no time limit except for ours. Half a minute until the server notices that a
-- client's host has vanished: two hours is the kernel's own patience, and so long the client's locks
-- would be held. The schema (search_path) and the rights (role, row_security,
-- default_transaction_read_only) are the administrator's, and stay. What a server does not know, or
-- has already, is left out.
SELECT count(set_config(pinned.name, pinned.value, false))
FROM (VALUES
    ('DateStyle', 'ISO, MDY'),
    ('IntervalStyle', 'postgres'),
    ('TimeZone', 'UTC'),
    ('client_encoding', 'UTF8'),
    ('extra_float_digits', '1'),
    ('standard_conforming_strings', 'on'),
    ('array_nulls', 'on'),
    ('exit_on_error', 'off'),
    ('session_replication_role', 'origin'),
    ('restrict_nonsystem_relation_kind', ''),
    ('default_transaction_isolation', 'read committed'),
    ('synchronous_commit', replace(current_setting('synchronous_commit'), 'off', 'local')),
    ('statement_timeout', '0'),
    ('transaction_timeout', '0'),
    ('lock_timeout', :lock_timeout::text),
    ('idle_in_transaction_session_timeout', :idle_in_transaction_session_timeout::text),
    ('idle_session_timeout', :idle_session_timeout::text),
    ('tcp_keepalives_idle', '15'),
    ('tcp_keepalives_interval', '5'),
    ('tcp_keepalives_count', '3'),
    ('tcp_user_timeout', '30s')
) AS pinned (name, value)
WHERE current_setting(pinned.name, true) <> pinned.value;

-- name: limit_statements(limit)^
-- Give up a statement after so long, whatever it waits for.
SELECT set_config('statement_timeout', :limit::text, false);

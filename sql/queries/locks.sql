-- name: try_locks(space, keys)
-- Take a session lock on each key that is free.
SELECT wanted.key, pg_try_advisory_lock(:space::int, wanted.key) AS acquired
FROM unnest(:keys::int[]) AS wanted (key);

-- name: wait_for_lock(space, key)$
-- Take a session lock, waiting until it is free.
SELECT pg_advisory_lock(:space::int, :key::int)::text AS acquired;

-- name: free_all()$
-- Free every session lock of this connection.
SELECT pg_advisory_unlock_all()::text AS freed;

-- name: holders(space, keys)
-- Who holds a lock on each key, in this database.
SELECT held.objid::int AS key,
       coalesce(nullif(session.application_name, ''), 'pid ' || held.pid) AS owner
FROM pg_locks AS held
JOIN pg_stat_activity AS session USING (pid)
WHERE held.locktype = 'advisory'
  AND held.granted
  AND held.objsubid = 2
  AND held.classid = :space::int::oid
  AND held.objid = ANY (:keys::int[]::oid[])
  AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY held.objid;

-- name: session()$
-- The server process that serves this connection at this moment.
SELECT pg_backend_pid();

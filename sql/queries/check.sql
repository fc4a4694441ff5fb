-- name: server()^
-- Which server this is, and as whom we are there.
SELECT current_database() AS database, current_user::text AS account,
       current_setting('server_version') AS version, clock_timestamp() AS now_ts;

-- name: tables()^
-- Who owns the metastore's tables; no row if there are none yet.
SELECT pg_get_userbyid(relowner)::text AS owner, pg_has_role(relowner, 'USAGE') AS is_owner
FROM pg_class
WHERE oid = to_regclass('irp_batch');

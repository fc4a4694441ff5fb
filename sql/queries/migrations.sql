-- name: was_ever_migrated()$
-- Whether the table of applied migrations exists.
SELECT to_regclass('_yoyo_migration') IS NOT NULL;

-- name: applied()
-- The migrations that were applied.
SELECT migration_id FROM _yoyo_migration ORDER BY migration_id;

-- name: missing_objects(tables, columns, views)
-- Which of these columns are not in the tables that search_path finds first, which views there are
-- not, and the trigger that counts activations if it does not fire.
SELECT expected.table_name || '.' || expected.column_name AS name
FROM unnest(:tables::text[], :columns::text[]) AS expected (table_name, column_name)
LEFT JOIN pg_attribute AS found
    ON found.attrelid = to_regclass(expected.table_name) AND found.attname = expected.column_name
    AND found.attnum > 0 AND NOT found.attisdropped
WHERE found.attrelid IS NULL
UNION ALL
SELECT view FROM unnest(:views::text[]) AS view WHERE to_regclass(view) IS NULL
UNION ALL
SELECT 'trigger irp_batch_count_activation'
WHERE NOT EXISTS (SELECT FROM pg_trigger
                  WHERE tgrelid = to_regclass('irp_batch') AND tgname = 'irp_batch_count_activation'
                    AND tgenabled IN ('O', 'A'))
ORDER BY name;

-- name: search_path()$
-- The schemas that are searched, in order.
SELECT current_setting('search_path');

-- name: own_objects_left(tables, types, functions)
-- Statements that drop what the migrations made beside a team's tables, in the schema of those.
WITH schema AS (SELECT relnamespace AS id FROM pg_class WHERE oid = to_regclass('irp_batch'))
SELECT 'DROP ' || CASE relkind WHEN 'v' THEN 'VIEW ' ELSE 'TABLE ' END || pg_class.oid::regclass
           || ' CASCADE' AS statement
FROM pg_class, schema
WHERE relnamespace = schema.id AND relkind IN ('r', 'v')
  AND relname <> 'irp_job_tracking_log'
  AND (relname = ANY (:tables::text[]) OR relname ~ '^_?yoyo_' OR relname ~ '^irp_v_')
  AND NOT relispartition
UNION ALL
SELECT 'DROP TYPE ' || pg_type.oid::regtype || ' CASCADE'
FROM pg_type, schema
WHERE typnamespace = schema.id AND typtype = 'e' AND typname = ANY (:types::text[])
UNION ALL
SELECT 'DROP FUNCTION ' || pg_proc.oid::regprocedure || ' CASCADE'
FROM pg_proc, schema
WHERE pronamespace = schema.id AND proname = ANY (:functions::text[])
ORDER BY statement DESC;

-- name: has_our_log()$
-- Whether the tracking log is the one that the migrations made.
SELECT EXISTS (SELECT FROM pg_class
               WHERE oid = to_regclass('irp_job_tracking_log') AND relkind = 'p');

-- name: has_adopted_log()$
-- Whether a tracking log from before still waits to be brought over.
SELECT to_regclass('irp_job_tracking_log_adopted') IS NOT NULL;

-- name: put_their_schema_first()^
-- Make what is new in the schema of the tables that are there, also when search_path has another one
-- before it.
SELECT set_config('search_path',
                  quote_ident(schema.nspname) || ', ' || current_setting('search_path'), false)
FROM pg_class AS batch
JOIN pg_namespace AS schema ON schema.oid = batch.relnamespace
WHERE batch.oid = to_regclass('irp_batch') AND schema.nspname IS DISTINCT FROM current_schema();

-- name: owner_changes(tables, types, functions)
-- Statements that give the owner of irp_batch what another role made when it migrated.
WITH owner AS (
    SELECT relnamespace AS schema, relowner AS id, pg_get_userbyid(relowner) AS name
    FROM pg_class
    WHERE oid = to_regclass('irp_batch')
), strange AS (
    SELECT 'TABLE' AS kind, pg_class.oid::regclass::text AS identity
    FROM pg_class, owner
    WHERE relnamespace = owner.schema AND relowner <> owner.id AND relkind IN ('r', 'p', 'v')
      AND (relname = ANY (:tables::text[]) OR relname ~ '^(_?yoyo_|irp_v_|irp_job_tracking_log_)')
    UNION ALL
    SELECT 'TYPE', pg_type.oid::regtype::text
    FROM pg_type, owner
    WHERE typnamespace = owner.schema AND typowner <> owner.id AND typtype = 'e'
      AND typname = ANY (:types::text[])
    UNION ALL
    SELECT 'FUNCTION', pg_proc.oid::regprocedure::text
    FROM pg_proc, owner
    WHERE pronamespace = owner.schema AND proowner <> owner.id
      AND proname = ANY (:functions::text[])
)
SELECT 'ALTER ' || strange.kind || ' ' || strange.identity || ' OWNER TO ' || quote_ident(owner.name)
           AS statement
FROM strange, owner;

-- name: act_as_owner()^
-- Work as the owner of irp_batch from now on, so that everything belongs to one role.
SELECT set_config('role', pg_get_userbyid(relowner), false)
FROM pg_class
WHERE oid = to_regclass('irp_batch') AND pg_get_userbyid(relowner) <> current_user;

-- name: may_create()^
-- The schema in which new tables are made, and whether this role may make any there.
SELECT current_schema()::text AS schema,
       coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create;

-- name: act_as_superuser()^
-- Until the transaction ends, have the rights of a superuser who migrates on the owner's behalf.
SELECT set_config('role', 'none', true) FROM pg_roles WHERE rolname = session_user AND rolsuper;

-- name: hindrances()
-- What depends on the tracking log from before and cannot be moved to the new one.
WITH log AS (
    SELECT oid, reltype, relrowsecurity FROM pg_class
    WHERE oid = to_regclass('irp_job_tracking_log_adopted')
)
SELECT pg_describe_object(found.classid, found.objid, found.objsubid) AS description
FROM log
JOIN pg_depend AS found
    ON found.refclassid = 'pg_class'::regclass AND found.refobjid = log.oid
    OR found.refclassid = 'pg_type'::regclass
       AND found.refobjid IN (log.reltype, (SELECT typarray FROM pg_type WHERE oid = log.reltype))
LEFT JOIN pg_class AS relation ON found.classid = 'pg_class'::regclass AND relation.oid = found.objid
LEFT JOIN pg_attrdef AS default_value
    ON found.classid = 'pg_attrdef'::regclass AND default_value.oid = found.objid
LEFT JOIN pg_constraint AS rule
    ON found.classid = 'pg_constraint'::regclass AND rule.oid = found.objid
LEFT JOIN pg_rewrite AS rewrite ON found.classid = 'pg_rewrite'::regclass AND rewrite.oid = found.objid
LEFT JOIN pg_class AS view ON view.oid = rewrite.ev_class
WHERE found.deptype IN ('n', 'a')
  AND found.classid NOT IN ('pg_trigger'::regclass, 'pg_publication_rel'::regclass,
                            'pg_statistic_ext'::regclass)
  AND coalesce(relation.relkind, 'r') NOT IN ('i', 'S', 't')
  AND default_value.adrelid IS DISTINCT FROM log.oid
  AND rule.conrelid IS DISTINCT FROM log.oid
  AND view.relkind IS DISTINCT FROM 'v'
UNION
SELECT pg_describe_object('pg_class'::regclass, attrelid, attnum)
FROM log
JOIN pg_attribute ON attrelid = log.oid AND attnum > 0 AND NOT attisdropped
WHERE attname NOT IN ('id', 'job_id', 'tracked_ts', 'moodys_workflow_id', 'job_status', 'tracking_data')
UNION
SELECT 'columns or rows that publication ' || quote_ident(pubname) || ' selects'
FROM log
JOIN pg_publication_rel AS member ON member.prrelid = log.oid
JOIN pg_publication AS publication ON publication.oid = member.prpubid
WHERE coalesce(to_jsonb(member) ->> 'prqual', to_jsonb(member) ->> 'prattrs') IS NOT NULL
UNION
SELECT 'row security of table irp_job_tracking_log' FROM log WHERE relrowsecurity
ORDER BY description;

-- name: view_of_log_as_it_was()
-- Statements that make a view with the columns and types of the tracking log from before, which holds
-- answers with a status of that time; empty if no view stands on that log.
SELECT statement
FROM (VALUES
    (1, 'CREATE OR REPLACE VIEW irp_v_job_tracking_log AS '
        'SELECT id::int AS id, job_id, tracked_ts, moodys_workflow_id, '
        -- In a CASE, or a condition on the view would come before its own.
        'CASE WHEN job_status = ANY (enum_range(NULL::job_status_enum)::text[]) '
        'THEN job_status::job_status_enum END AS job_status, tracking_data FROM irp_job_tracking_log '
        'WHERE job_status = ANY (enum_range(NULL::job_status_enum)::text[])'),
    (2, 'COMMENT ON VIEW irp_v_job_tracking_log IS '
        '''The tracking log with the columns and types from before batch monitoring.''')
) AS made (position, statement)
WHERE EXISTS (
    SELECT FROM pg_depend
    JOIN pg_rewrite ON classid = 'pg_rewrite'::regclass AND pg_rewrite.oid = objid
    WHERE refclassid = 'pg_class'::regclass AND refobjid = to_regclass('irp_job_tracking_log_adopted'))
ORDER BY position;

-- name: views_on_log()
-- Statements that have each view on the tracking log from before read the new one, in place: its
-- owner, its rights and whatever stands on it stay.
SELECT 'CREATE OR REPLACE VIEW ' || view.oid::regclass
       || coalesce(' WITH (' || array_to_string(view.reloptions, ', ') || ')', '') || ' AS '
       || regexp_replace(pg_get_viewdef(view.oid), '\mirp_job_tracking_log_adopted\M',
                         'irp_v_job_tracking_log', 'g') AS statement
FROM pg_class AS view
WHERE view.relkind = 'v'
  AND view.oid IN (
    SELECT pg_rewrite.ev_class FROM pg_depend
    JOIN pg_rewrite ON classid = 'pg_rewrite'::regclass AND pg_rewrite.oid = objid
    WHERE refclassid = 'pg_class'::regclass AND refobjid = to_regclass('irp_job_tracking_log_adopted'))
ORDER BY view.oid;

-- name: grants_on_log()
-- Statements that give on the new tracking log what was granted on the one from before.
WITH log AS (
    SELECT oid, relowner, relacl FROM pg_class
    WHERE oid = to_regclass('irp_job_tracking_log_adopted')
), granted AS (
    SELECT acl.privilege_type AS privilege, acl.grantee, acl.is_grantable
    FROM log
    CROSS JOIN aclexplode(log.relacl) AS acl
    UNION ALL
    SELECT acl.privilege_type || ' (' || quote_ident(attname) || ')', acl.grantee, acl.is_grantable
    FROM log
    JOIN pg_attribute ON attrelid = log.oid AND attnum > 0 AND NOT attisdropped
    CROSS JOIN aclexplode(attacl) AS acl
), on_target AS (
    SELECT privilege, grantee, is_grantable, target
    FROM granted, unnest(ARRAY['irp_job_tracking_log', 'irp_v_job_tracking_log']) AS target
    WHERE to_regclass(target) IS NOT NULL
      AND (target = 'irp_job_tracking_log' OR privilege ~ '^SELECT')
    UNION ALL
    SELECT acl.privilege_type, acl.grantee, acl.is_grantable, 'SEQUENCE irp_job_tracking_log_id_seq'
    FROM pg_class AS sequence
    CROSS JOIN aclexplode(sequence.relacl) AS acl
    WHERE sequence.oid = to_regclass('irp_job_tracking_log_adopted_id_seq')
)
SELECT 'GRANT ' || privilege || ' ON ' || target || ' TO '
       || CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END
       || CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END AS statement
FROM on_target, log
WHERE grantee <> log.relowner
ORDER BY statement;

-- name: triggers_on_log()
-- Statements that move the triggers of the tracking log from before to the new one.
SELECT command.statement
FROM pg_trigger AS trigger
CROSS JOIN LATERAL (VALUES
    (1, regexp_replace(pg_get_triggerdef(trigger.oid), '\mirp_job_tracking_log_adopted\M',
                       'irp_job_tracking_log')),
    (2, 'ALTER TABLE irp_job_tracking_log '
        || CASE trigger.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA'
                                  WHEN 'A' THEN 'ENABLE ALWAYS' ELSE 'ENABLE' END
        || ' TRIGGER ' || quote_ident(trigger.tgname)),
    (3, 'DROP TRIGGER ' || quote_ident(trigger.tgname) || ' ON irp_job_tracking_log_adopted')
) AS command (position, statement)
WHERE trigger.tgrelid = to_regclass('irp_job_tracking_log_adopted') AND NOT trigger.tgisinternal
ORDER BY trigger.tgname, command.position;

-- name: publications_of_log()
-- Statements that have publications publish the new tracking log, as one table, in place of the one
-- from before.
SELECT 'ALTER PUBLICATION ' || quote_ident(publication.pubname) || command.change AS statement
FROM pg_publication_rel AS member
JOIN pg_publication AS publication ON publication.oid = member.prpubid
CROSS JOIN (VALUES
    (1, ' DROP TABLE irp_job_tracking_log_adopted'),
    (2, ' SET (publish_via_partition_root = true)'),
    (3, ' ADD TABLE irp_job_tracking_log')
) AS command (position, change)
WHERE member.prrelid = to_regclass('irp_job_tracking_log_adopted')
ORDER BY publication.pubname, command.position;

-- name: quiet_triggers()
-- Statements that keep the triggers of the tracking log from firing, and let them fire again: rows
-- that are moved are no new ones.
SELECT 'ALTER TABLE irp_job_tracking_log DISABLE TRIGGER ' || quote_ident(tgname) AS off,
       'ALTER TABLE irp_job_tracking_log ' || CASE tgenabled WHEN 'A' THEN 'ENABLE ALWAYS' ELSE 'ENABLE' END
       || ' TRIGGER ' || quote_ident(tgname) AS on_again
FROM pg_trigger
WHERE tgrelid = to_regclass('irp_job_tracking_log') AND NOT tgisinternal AND tgenabled IN ('O', 'A')
ORDER BY tgname;

-- name: bring_over(after_id, most)^
-- Move the next rows of the tracking log from before; they are kept for good. A row whose time was
-- never noted gets the earliest time there is.
WITH piece AS (
    DELETE FROM irp_job_tracking_log_adopted
    WHERE id IN (SELECT id FROM irp_job_tracking_log_adopted WHERE id > :after_id::int
                 ORDER BY id LIMIT :most::int)
    RETURNING id, job_id, tracked_ts, moodys_workflow_id, job_status, tracking_data
), brought AS (
    INSERT INTO irp_job_tracking_log
        (id, job_id, tracked_ts, moodys_workflow_id, job_status, tracking_data, kept)
    SELECT id, job_id, coalesce(tracked_ts, 'epoch'), moodys_workflow_id, job_status::text,
           tracking_data, true
    FROM piece
    ORDER BY id
)
SELECT count(*) AS rows, max(id) AS last_id, count(*) FILTER (WHERE tracked_ts IS NULL) AS undated
FROM piece;

-- name: drop_adopted_log()#
-- The tracking log from before, once it is empty.
DROP TABLE irp_job_tracking_log_adopted;

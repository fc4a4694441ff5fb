-- Whoever shows the work, such as the page in JupyterLab, learns at once that something has changed:
-- one notification for each transaction, however many rows and statements it has, because all
-- payloads are the same. What has changed is read anew; nothing relies on a notification.
-- depends: 0019_attention

CREATE FUNCTION irp_notify_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('irp_change', '');
    RETURN NULL;
END $$;

DO $$
DECLARE
    watched text;
BEGIN
    FOREACH watched IN ARRAY ARRAY[
        'irp_cycle',
        'irp_step',
        'irp_batch',
        'irp_job',
        'irp_step_run',
        'irp_chain_run',
        'irp_notification',
        'irp_monitor_run',
        'irp_acknowledgement'
    ] LOOP
        EXECUTE format(
            'CREATE TRIGGER irp_notify_change AFTER INSERT OR UPDATE OR DELETE ON %I '
            'FOR EACH STATEMENT EXECUTE FUNCTION irp_notify_change()',
            watched);
    END LOOP;
END $$;

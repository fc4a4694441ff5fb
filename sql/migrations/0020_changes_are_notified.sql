-- Whoever shows the work, such as the page in JupyterLab, learns at once that something has changed:
-- one notification for each transaction, however many rows and statements it has, because all
-- payloads are the same. What has changed is read anew; nothing relies on a notification.
-- depends: 0019_attention

CREATE FUNCTION irp_notify_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('irp_change', '');
    RETURN NULL;
END $$;

CREATE TRIGGER irp_notify_change AFTER INSERT OR UPDATE OR DELETE ON irp_cycle
    FOR EACH STATEMENT EXECUTE FUNCTION irp_notify_change();
CREATE TRIGGER irp_notify_change AFTER INSERT OR UPDATE OR DELETE ON irp_step
    FOR EACH STATEMENT EXECUTE FUNCTION irp_notify_change();
CREATE TRIGGER irp_notify_change AFTER INSERT OR UPDATE OR DELETE ON irp_batch
    FOR EACH STATEMENT EXECUTE FUNCTION irp_notify_change();
CREATE TRIGGER irp_notify_change AFTER INSERT OR UPDATE OR DELETE ON irp_job
    FOR EACH STATEMENT EXECUTE FUNCTION irp_notify_change();
CREATE TRIGGER irp_notify_change AFTER INSERT OR UPDATE OR DELETE ON irp_step_run
    FOR EACH STATEMENT EXECUTE FUNCTION irp_notify_change();
CREATE TRIGGER irp_notify_change AFTER INSERT OR UPDATE OR DELETE ON irp_chain_run
    FOR EACH STATEMENT EXECUTE FUNCTION irp_notify_change();
CREATE TRIGGER irp_notify_change AFTER INSERT OR UPDATE OR DELETE ON irp_notification
    FOR EACH STATEMENT EXECUTE FUNCTION irp_notify_change();
CREATE TRIGGER irp_notify_change AFTER INSERT OR UPDATE OR DELETE ON irp_monitor_run
    FOR EACH STATEMENT EXECUTE FUNCTION irp_notify_change();
CREATE TRIGGER irp_notify_change AFTER INSERT OR UPDATE OR DELETE ON irp_acknowledgement
    FOR EACH STATEMENT EXECUTE FUNCTION irp_notify_change();

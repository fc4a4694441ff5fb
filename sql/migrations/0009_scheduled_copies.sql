-- Whether the copy of the notebook that a schedule runs is the one of the package: every reader of
-- the passes can tell of an older one then, and not only the pass that runs it.
-- depends: 0008_indexes_of_a_pass

ALTER TABLE irp_monitor_run ADD COLUMN copy_is_current boolean;  -- NULL: no copy, or not known

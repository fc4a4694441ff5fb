-- name: listen()!
-- Be notified from now on of each transaction that changes the work.
LISTEN irp_change;

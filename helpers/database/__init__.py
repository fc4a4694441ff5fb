"""The metastore: connections, transactions, named queries, locks and migrations.

The only reader of ``sql/``, and the only place that speaks to psycopg and yoyo. It knows nothing
of batches and jobs.
"""

from helpers.database.changes import ChangeFeed
from helpers.database.connection import (
    Connection,
    close_pools,
    connect,
    in_transaction,
    transaction,
)
from helpers.database.locks import (
    IDLE_SECONDS,
    AdvisoryLocks,
    LockSpace,
    lock_holders,
    require_sessions,
)
from helpers.database.querying import queries
from helpers.database.translation import translated_errors

__all__ = [
    "IDLE_SECONDS",
    "AdvisoryLocks",
    "ChangeFeed",
    "Connection",
    "LockSpace",
    "close_pools",
    "connect",
    "in_transaction",
    "lock_holders",
    "queries",
    "require_sessions",
    "transaction",
    "translated_errors",
]

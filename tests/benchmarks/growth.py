"""What the tracking log costs on disk."""

from dataclasses import dataclass

import psycopg

POLLS_A_DAY = 1_000 * 24 * 60

_SIZES = """
SELECT sum(pg_relation_size(leaf.oid)) AS rows_bytes,
       sum(pg_indexes_size(leaf.oid)) AS index_bytes,
       sum(coalesce(pg_total_relation_size(nullif(class.reltoastrelid, 0)), 0)) AS toast_bytes
FROM (SELECT relid::oid AS oid FROM pg_partition_tree('irp_job_tracking_log_polls') WHERE isleaf)
    AS leaf
JOIN pg_class AS class ON class.oid = leaf.oid
"""


@dataclass(frozen=True)
class PollSize:
    """Bytes of one ordinary poll."""

    row: float
    index: float
    toast: float

    @property
    def total(self) -> float:
        return self.row + self.index + self.toast

    @property
    def shown(self) -> str:
        return (
            f"{self.total:,.0f} (row {self.row:,.0f}, index {self.index:,.0f}, "
            f"TOAST {self.toast:,.0f})"
        )

    @property
    def day_shown(self) -> str:
        """What a day of 1,000 active jobs adds to the log."""
        return f"{POLLS_A_DAY:,} polls, {self.total * POLLS_A_DAY / 1024**3:.2f} GB"


def bytes_per_poll(database: str) -> PollSize:
    """Return the mean of the polls that are in the log now, those kept for good left out."""
    with psycopg.connect(database) as connection:
        sizes = connection.execute(_SIZES).fetchone()
        [polls] = connection.execute("SELECT count(*) FROM irp_job_tracking_log_polls").fetchone()
    return PollSize(*(float(size) / polls for size in sizes))

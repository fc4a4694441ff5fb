"""The database's clock is one, costs nothing, and cannot be set from outside."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from helpers.clock import CLOCK
from helpers.database import queries
from tests.support.clock import SimulatedTime

A_PASS = """
INSERT INTO irp_monitor_run (host, pid, package_version, started_by)
VALUES ('here', 1, '0.2.0', 'a test') RETURNING started_ts
"""
RECENT = "SELECT FROM irp_monitor_run WHERE started_ts > irp_now() - interval '1 hour'"


def test_the_present_is_the_transactions_and_the_clock_goes_on_within_it(sql):
    with sql.transaction():
        began, is_same, later = sql.execute(
            "SELECT irp_now(), irp_now() = now(), irp_clock()"
        ).fetchone()
        again = sql.execute("SELECT irp_now()").fetchone()[0]

    assert is_same
    assert began == again < later


def test_a_plan_is_that_of_the_servers_own_functions(sql):
    for ours, the_servers in (("irp_now()", "now()"), ("irp_clock()", "clock_timestamp()")):
        plans = [
            sql.execute(f"EXPLAIN (VERBOSE) {RECENT.replace('irp_now()', call)}").fetchall()
            for call in (ours, the_servers)
        ]
        assert plans[0] == plans[1]


@pytest.mark.parametrize("call", ["irp_now", "irp_clock"])
def test_nobody_but_the_owner_of_the_metastore_can_set_it(sql, call):
    sql.execute("CREATE ROLE stranger")
    try:
        sql.execute("SET ROLE stranger")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            sql.execute(
                f"CREATE OR REPLACE FUNCTION {call}() RETURNS timestamptz "
                "LANGUAGE sql AS $$ SELECT 'epoch'::timestamptz $$"
            )
    finally:
        sql.execute("RESET ROLE")
        sql.execute("DROP ROLE stranger")


def test_a_test_can_set_it_for_whoever_uses_the_database(metastore, sql):
    with SimulatedTime(metastore) as time:
        for now in (datetime(2031, 3, 30, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)):
            time.set(now)
            [[started_ts]] = sql.execute(A_PASS).fetchall()
            assert started_ts == queries("recording").server_time() == CLOCK.now() == now
        CLOCK.sleep(90)
        assert queries("recording").server_time() == now + timedelta(seconds=90)
    assert CLOCK.now() != now

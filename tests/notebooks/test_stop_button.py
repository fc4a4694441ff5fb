"""The kernel's stop button in the middle of a pass, on a real kernel."""

from typing import Any

import psutil
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import start_new_kernel

from helpers.constants import BatchType
from sandbox.seeding import add_cycle
from tests.support.notebooks import step_notebook
from tests.support.passes import finished_batch, rows, wait_until

CYCLE = "Analysis-2025-Q1"
PASS = """
from helpers.monitor import Monitor

monitor = Monitor()
monitor.find_batches()
monitor.reconcile_batches()
monitor.execute_next_steps()
"""
# Starts a program of its own, which must end with the notebook.
WAITS = """
import subprocess, time
program = subprocess.Popen(["sleep", "600"], start_new_session=True)
open("started", "w").write(str(program.pid))
time.sleep(600)
"""


def reply_to(client: BlockingKernelClient, message_id: str) -> dict[str, Any]:
    """Return the reply to one request; a kernel that starts slowly has answered others before."""
    while True:
        message = client.get_shell_msg(timeout=60)
        if message["parent_header"].get("msg_id") == message_id:
            content: dict[str, Any] = message["content"]
            return content


def test_it_ends_the_chained_notebook_and_the_next_pass_may_start_it_again(
    metastore, workflows, sql
):
    finished_batch(add_cycle(CYCLE), BatchType.ANALYSIS)
    notebook = step_notebook(workflows, WAITS, cycle=CYCLE, stage_num=4, step_num=2)
    started = notebook.with_name("started")
    manager, client = start_new_kernel()
    try:
        message_id = client.execute(PASS)
        wait_until(lambda: started.exists() and started.read_text())
        manager.interrupt_kernel()

        assert reply_to(client, message_id)["ename"] == "KeyboardInterrupt"
        wait_until(lambda: not psutil.pid_exists(int(started.read_text())))
        assert rows(sql, "SELECT status::text, owner FROM irp_chain_run") == [("PENDING", None)]
        assert rows(sql, "SELECT status::text FROM irp_step_run") == [("FAILED",)]
        # The server frees the locks of a connection a moment after it was closed.
        wait_until(lambda: rows(sql, "SELECT FROM pg_locks WHERE locktype = 'advisory'") == [])
    finally:
        client.stop_channels()
        manager.shutdown_kernel()

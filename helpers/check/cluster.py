"""Look at the cluster that runs the notebooks of steps, if there is one."""

from collections.abc import Iterator
from contextlib import closing

from helpers.check.findings import doubtful, good
from helpers.display import Remark
from helpers.notebooks.cluster import StepCluster
from helpers.settings import get_settings
from helpers.text import counted


def look_at_cluster() -> Iterator[Remark]:
    """Give how scheduler and workers answer; nothing if notebooks run on this machine.

    Raises:
        SettingsError: the setting cannot be used, or Dask is not installed.
        NotebookError: the cluster cannot run a notebook now.
    """
    address = get_settings().monitor_step_executor
    if address is None:
        return
    with closing(StepCluster(address)) as cluster:
        cluster.look()
        workers = counted(len(cluster.workers), "worker")
        yield good("step executor", f"{address} has {workers} for notebooks")
        for warning in cluster.warnings:
            yield doubtful("step executor", warning)

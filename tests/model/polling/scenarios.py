"""Which batches are searched: in seconds by every test run, and the large ones in the night."""

from typing import Any

SMALL: dict[str, dict[str, Any]] = {
    "a search that lags, a restart, and a lock whose connection is cut": {"restart": 1, "cut": 1},
    "a pass that freezes": {"freeze": 1},
    "a pass that hangs": {"hang": 1},
    "a cancellation that may be refused": {"cancel": 1},
    "a restart, and another tool that submits the job anew": {"restart": 1, "resubmit": 1},
}

LARGE: dict[str, dict[str, Any]] = {
    "a lock that is cut while another tool submits the job anew": {"cut": 1, "resubmit": 1},
    "a freeze, a crash and a restart": {"freeze": 1, "crash": 1, "restart": 1},
    "a freeze, and a cancellation that may be refused": {"cancel": 1, "freeze": 1},
    "a pass that hangs, and a crash": {"hang": 1, "crash": 1},
    "two jobs, a restart and a crash": {"jobs": 2, "restart": 1, "crash": 1},
}

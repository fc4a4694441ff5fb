"""The floor: read GeoHaz jobs by the HTTP client of a pass, and do nothing else; prints JSON.

A loop over ``http.client`` in threads, in a process of its own, with the address and the
credentials of the environment; with ``ours`` as its argument, over our own reading of a job
instead. The ids come as JSON on standard input.
"""

import json
import os
import ssl
import sys
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from helpers.irp_integration import IRPClient

WORKERS = 256
PATH = "/platform/geohaz/v1/jobs"


def main() -> None:
    """Read all jobs that are named."""
    ids = iter(json.load(sys.stdin))
    lock = threading.Lock()
    connect = _ours() if sys.argv[1:] == ["ours"] else _bare()

    def work() -> None:
        read = connect()
        while True:
            with lock:
                job_id = next(ids, None)
            if job_id is None:
                return
            read(job_id)

    started, started_cpu = time.perf_counter(), time.process_time()
    threads = [threading.Thread(target=work) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - started_cpu
    json.dump({"seconds": seconds, "cpu_seconds": cpu_seconds}, sys.stdout)


def _ours() -> Callable[[], Callable[[str], Any]]:
    client = IRPClient(connections=WORKERS)
    return lambda: client.geohaz.get_geohaz_job


def _bare() -> Callable[[], Callable[[str], Any]]:
    url = urlsplit(os.environ["RISK_MODELER_BASE_URL"])
    headers = {
        "Authorization": os.environ["RISK_MODELER_API_KEY"],
        "x-rms-resource-group-id": os.environ["RISK_MODELER_RESOURCE_GROUP_ID"],
    }
    trusted = ssl.create_default_context(cafile=os.environ.get("REQUESTS_CA_BUNDLE"))

    def connect() -> Callable[[str], Any]:
        connection: HTTPConnection = (
            HTTPSConnection(url.hostname or "", url.port, context=trusted)
            if url.scheme == "https"
            else HTTPConnection(url.hostname or "", url.port)
        )

        def read(job_id: str) -> Any:
            connection.request("GET", f"{PATH}/{job_id}", headers=headers)
            return json.loads(connection.getresponse().read())

        return read

    return connect


if __name__ == "__main__":
    main()

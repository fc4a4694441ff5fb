"""A monitor that runs passes without an end, as the soak starts it; SIGTERM ends it politely."""

import signal
import sys
import time

from helpers.errors import DatabaseError
from helpers.monitor import run_pass

PAUSE_SECONDS = 3.0  # a pass that finds nothing takes a tenth of a second of CPU


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def watch() -> None:
    while True:
        try:
            for error in run_pass().errors:
                print(time.time(), error.about, error.text, flush=True)
        except DatabaseError as exc:  # it is restarted now and then
            print(time.time(), exc, flush=True)
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, interrupt)
    try:
        watch()
    except KeyboardInterrupt:
        sys.exit(0)

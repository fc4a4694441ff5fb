"""The scheduler of one server, through the REST API of ``jupyter_scheduler``.

Base ``/scheduler``; see its ``handlers.py``. Three of its habits shape this module: a definition
that it answers with 500 is stored all the same, ``output_formats`` must always be given, and a
definition that is deleted leaves its copy. Every failure becomes a ``ScheduleError`` that says
what to do next; no token is in any.
"""

import math
import os
import secrets
import shutil
from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import requests

from helpers.clock import CLOCK
from helpers.errors import ScheduleError
from helpers.redaction import printable, register_secret
from helpers.schedule.records import Definition, Run, RunStatus, read_id
from helpers.schedule.scheduled_copy import is_monitor
from helpers.schedule.servers import Server
from helpers.text import one_line
from helpers.workflow_paths import MONITOR_NOTEBOOK

_READ_SECONDS = 20.0
_NEWEST = 60
_ALL = 100_000  # the server gives a thousand unless asked for more
_DEFINITIONS = "scheduler/job_definitions"
_JOBS = "scheduler/jobs"

T = TypeVar("T")


class SchedulerClient:
    """The scheduler of one server.

    Every call raises ScheduleError if the server cannot be reached, refuses, fails, or sends
    something else than expected, and after ``deadline`` (monotonic).
    """

    def __init__(self, server: Server, *, deadline: float = math.inf) -> None:
        self.server = server
        self._deadline = deadline
        self._session = requests.Session()
        # Neither a proxy, which would see the token, nor .netrc, which would replace it.
        self._session.trust_env = False
        self._session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
        if server.token:
            register_secret(server.token)
            self._session.headers["Authorization"] = f"token {server.token}"
        else:  # a server that asks for no token wants its cookie repeated in a header
            twice = secrets.token_hex(16)
            self._session.headers.update({"X-XSRFToken": twice, "Cookie": f"_xsrf={twice}"})

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    @cached_property
    def started_ts(self) -> datetime:
        """When the server was started; asking fails if it is not a Jupyter server."""
        return self._get("api/status", lambda it: datetime.fromisoformat(it["started"]))

    def schedules(self) -> list[Definition]:
        """Return the schedules of the monitor's notebook, the oldest first.

        Told by the file's name, unless the scheduled copy can be read and is something else.
        """
        found = self._get(
            _DEFINITIONS,
            lambda it: list(map(Definition.read, it["job_definitions"])),
            max_items=_ALL,
        )
        own = [
            one
            for one in found
            if one.input_filename == MONITOR_NOTEBOOK.name
            and is_monitor(self.scheduled_copy(one)) is not False
        ]
        return sorted(own, key=lambda one: (one.create_ts, one.id))

    def scheduled_copy(self, definition: Definition) -> Path:
        """Return where the copy that a schedule runs lies, if it is on this machine."""
        return self.server.staged(definition.id) / definition.input_filename

    def create(self, *, input_uri: str, schedule: str, timezone: str) -> str:
        """Store a schedule of the notebook that keeps no output, and return its id."""
        environment = self._get("scheduler/runtime_environments", lambda it: it[0]["name"])
        body = {
            "input_uri": input_uri,
            "name": MONITOR_NOTEBOOK.stem,
            "runtime_environment_name": environment,
            "schedule": schedule,
            "timezone": timezone,
            "output_formats": [],
        }
        answer = self._send("POST", _DEFINITIONS, json=body)
        return self._read(answer, lambda it: read_id(it["job_definition_id"]))

    def update(self, definition: Definition, **changes: object) -> None:
        """Change ``active``, or have ``input_uri`` copied anew: alone, or it would do nothing."""
        self._send("PATCH", f"{_DEFINITIONS}/{definition.id}", json=changes)

    def delete(self, definition: Definition) -> None:
        """Delete a schedule, its runs and its copy; a run that is running is killed."""
        self._send("DELETE", f"{_DEFINITIONS}/{definition.id}")
        shutil.rmtree(self.server.staged(definition.id), ignore_errors=True)

    def definition_of(self, run_id: str) -> str | None:
        """Return the id of the schedule that made a run; None if it was started without one."""
        own: str | None = self._get(f"{_JOBS}/{run_id}", lambda it: it["job_definition_id"])
        return own

    def newest_runs(self, definition: Definition) -> list[Run]:
        """Return the newest runs of a schedule, the newest first, and all that are in progress."""
        newest, _ = self.runs(definition.id, max_items=_NEWEST)
        running, _ = self.runs(definition.id, status=RunStatus.IN_PROGRESS)
        return newest + [run for run in running if run not in newest]

    def runs(self, definition_id: str, **query: object) -> tuple[list[Run], int]:
        """Return runs of a schedule, the newest first unless asked otherwise, and their number."""
        return self._get(
            _JOBS,
            lambda it: ([Run.read(one) for one in it["jobs"]], int(it["total_count"])),
            job_definition_id=definition_id,
            **query,
        )

    def delete_runs(self, run_ids: list[str]) -> None:
        """Delete rows and staging directories of runs; it stops at the first that is gone."""
        self._send("DELETE", "scheduler/batch/jobs", params={"job_id": run_ids})

    def _get(self, path: str, read: Callable[[Any], T], **query: object) -> T:
        return self._read(self._send("GET", path, params=query), read)

    def _send(self, method: str, path: str, **arguments: Any) -> requests.Response:
        url = self.server.url
        seconds = min(_READ_SECONDS, self._deadline - CLOCK.monotonic())
        if seconds <= 0:
            raise ScheduleError("The time for pruning is over; the next call goes on from here.")
        try:
            answer = self._session.request(
                method, url + path, timeout=seconds, allow_redirects=False, **arguments
            )
        except requests.exceptions.SSLError as exc:
            advice = "put the file of its authority into REQUESTS_CA_BUNDLE."
            raise ScheduleError(f"The certificate of {url} cannot be verified: {advice}") from exc
        except requests.RequestException as exc:
            raise ScheduleError(
                f"No Jupyter server answers at {url} ({type(exc).__name__}): restart JupyterLab, "
                "or name another with --url (`jupyter server list` shows those that run here)."
            ) from exc
        self._require_success(answer)
        return answer

    def _require_success(self, answer: requests.Response) -> None:
        url = self.server.url
        match answer.status_code:
            case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
                raise ScheduleError(
                    f"The Jupyter server at {url} refuses the token of its own description, or has "
                    "a password and no token: restart it with any token in JUPYTER_TOKEN, which it "
                    "accepts as well as a password."
                )
            case HTTPStatus.NOT_FOUND if answer.url.startswith(f"{url}scheduler/"):
                raise ScheduleError(
                    f"The Jupyter server at {url} has no scheduler: run `pip install "
                    "jupyter-scheduler` in the server's environment and restart it."
                )
            case code if code == HTTPStatus.NOT_FOUND or answer.is_redirect:
                raise self._not_jupyter()
            case code if not answer.ok:
                raise ScheduleError(
                    f"The scheduler at {url} failed ({code}): {_reason(answer)}. Mend that, or "
                    "restart the server, and try again; its log says more."
                )

    def _read(self, answer: requests.Response, read: Callable[[Any], T]) -> T:
        try:
            return read(answer.json())
        except (ValueError, LookupError, TypeError, AttributeError) as exc:
            raise self._not_jupyter() from exc

    def _not_jupyter(self) -> ScheduleError:
        return ScheduleError(
            f"What answers at {self.server.url} is not a Jupyter server that this package knows: "
            "update the package, or the server."
        )


def _reason(answer: requests.Response) -> str:
    """Return what an answer says of its failure, in one line."""
    try:
        text = one_line(printable(answer.json()["message"]), 300)
    except (ValueError, LookupError, TypeError, AttributeError):
        text = ""  # a proxy's page
    return text.rstrip(".") or "it gave no reason"

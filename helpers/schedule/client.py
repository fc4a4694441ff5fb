"""The REST API of ``jupyter_scheduler``, as far as it is needed and safe.

Base ``/scheduler``; see its ``handlers.py``. Two of its habits shape this module: a definition
that it answers with 500 is stored all the same, and ``output_formats`` must always be given.
Every failure becomes a ``ScheduleError`` that says what to do next; no token is in any.
"""

import os
import secrets
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from typing import Any, TypeVar

import requests

from helpers.errors import ScheduleError
from helpers.redaction import shown
from helpers.schedule.records import Definition, Run, RunStatus, read_id
from helpers.schedule.servers import TOKEN_VARIABLE, Server

_CONNECT_SECONDS = 3.05
_READ_SECONDS = 20.0
_ALL = 100_000
_DEFINITIONS = "scheduler/job_definitions"
_JOBS = "scheduler/jobs"

T = TypeVar("T")


class SchedulerClient:
    """The scheduler of one server; ``read_seconds`` may be changed between calls.

    Every call raises ScheduleError if the server cannot be reached, refuses, fails, or sends
    something else than expected.
    """

    def __init__(self, server: Server) -> None:
        self.read_seconds = _READ_SECONDS
        self._server = server
        self._session = requests.Session()
        # Neither a proxy, which would see the token, nor .netrc, which would replace it.
        self._session.trust_env = False
        self._session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
        if server.token:
            self._session.headers["Authorization"] = f"token {server.token}"
        else:  # a server that asks for no token wants its cookie repeated in a header
            twice = secrets.token_hex(16)
            self._session.headers.update({"X-XSRFToken": twice, "Cookie": f"_xsrf={twice}"})

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def started_ts(self) -> datetime:
        """Return when the server was started; fails if it is not a Jupyter server."""
        return self._get("api/status", lambda it: datetime.fromisoformat(it["started"]))

    def environment(self) -> str:
        """Return the name of an environment to run notebooks in."""
        return self._get("scheduler/runtime_environments", lambda it: str(it[0]["name"]))

    def definitions(self) -> list[Definition]:
        """Return every schedule of every notebook, the oldest first."""
        found = self._get(
            _DEFINITIONS,
            lambda it: [Definition.read(one) for one in it["job_definitions"]],
            max_items=_ALL,
        )
        return sorted(found, key=lambda one: (one.create_ts, one.id))

    def create(
        self, *, input_uri: str, name: str, environment: str, schedule: str, timezone: str
    ) -> str:
        """Store a schedule that keeps no output, and return its id."""
        body = {
            "input_uri": input_uri,
            "name": name,
            "runtime_environment_name": environment,
            "schedule": schedule,
            "timezone": timezone,
            "output_formats": [],
        }
        answer = self._send("POST", _DEFINITIONS, json=body)
        return self._read(answer, lambda it: read_id(it["job_definition_id"]))

    def deactivate(self, definition_id: str) -> None:
        """Have a schedule start no more runs."""
        self._send("PATCH", f"{_DEFINITIONS}/{definition_id}", json={"active": False})

    def refresh_copy(self, definition_id: str, *, input_uri: str) -> None:
        """Have the notebook copied anew; alone, because with its schedule it would do nothing."""
        self._send("PATCH", f"{_DEFINITIONS}/{definition_id}", json={"input_uri": input_uri})

    def delete(self, definition_id: str) -> None:
        """Delete a schedule with its runs; one that is running is killed."""
        self._send("DELETE", f"{_DEFINITIONS}/{definition_id}")

    def run(self, run_id: str) -> Run:
        """Return one run."""
        return self._get(f"{_JOBS}/{run_id}", Run.read)

    def runs(
        self,
        definition_id: str,
        *,
        most: int = _ALL,
        oldest_first: bool = False,
        status: RunStatus | None = None,
    ) -> tuple[list[Run], int]:
        """Return runs of a schedule, the newest unless asked otherwise, and how many there are."""
        return self._get(
            _JOBS,
            lambda it: ([Run.read(one) for one in it["jobs"]], int(it["total_count"])),
            job_definition_id=definition_id,
            sort_by=f"{'asc' if oldest_first else 'desc'}(create_time)",
            max_items=most,
            status=status,
        )

    def delete_runs(self, run_ids: list[str]) -> None:
        """Delete rows and staging directories of runs; it stops at the first that is gone."""
        self._send("DELETE", "scheduler/batch/jobs", params={"job_id": run_ids})

    def _get(self, path: str, read: Callable[[Any], T], **query: object) -> T:
        return self._read(self._send("GET", path, params=query), read)

    def _send(self, method: str, path: str, **arguments: Any) -> requests.Response:
        url, seconds = self._server.url, self.read_seconds
        timeout = (min(_CONNECT_SECONDS, seconds), seconds)
        try:
            answer = self._session.request(
                method, url + path, timeout=timeout, allow_redirects=False, **arguments
            )
        except requests.exceptions.SSLError as exc:
            advice = "put the file of its authority into REQUESTS_CA_BUNDLE."
            raise ScheduleError(f"The certificate of {url} cannot be verified: {advice}") from exc
        except requests.Timeout as exc:
            advice = "it may be overloaded; try again, or restart it."
            raise ScheduleError(f"The Jupyter server at {url} does not answer: {advice}") from exc
        except requests.RequestException as exc:
            raise ScheduleError(
                f"No Jupyter server answers at {url}: restart JupyterLab, or name another with "
                "--url (`jupyter server list` shows those that run here)."
            ) from exc
        self._require_success(answer)
        return answer

    def _require_success(self, answer: requests.Response) -> None:
        url = self._server.url
        match answer.status_code:
            case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
                raise ScheduleError(f"The Jupyter server at {url} {self._why_refused()}")
            case HTTPStatus.NOT_FOUND if answer.url.startswith(f"{url}scheduler/"):
                raise ScheduleError(
                    f"The Jupyter server at {url} has no scheduler: run `pip install "
                    "jupyter-scheduler` in the server's environment and restart it."
                )
            case code if code == HTTPStatus.NOT_FOUND or answer.is_redirect:
                raise self._not_jupyter()
            case code if not answer.ok:
                raise ScheduleError(
                    f"The scheduler at {url} failed ({code}: {_reason(answer)}): the server's log "
                    "says why."
                )

    def _why_refused(self) -> str:
        if self._server.token:
            return (
                f"refuses the token of its own description or of {TOKEN_VARIABLE}: restart it with "
                f"a token in {TOKEN_VARIABLE}."
            )
        return (
            "has a password and no token, and commands cannot give a password: restart it with "
            f"any token in {TOKEN_VARIABLE}, which it accepts as well as the password, or schedule "
            "the notebook on its own page (Create Notebook Job)."
        )

    def _read(self, answer: requests.Response, read: Callable[[Any], T]) -> T:
        try:
            return read(answer.json())
        except (ValueError, LookupError, TypeError, AttributeError) as exc:
            raise self._not_jupyter() from exc

    def _not_jupyter(self) -> ScheduleError:
        return ScheduleError(
            f"What answers at {self._server.url} is not a Jupyter server that this package knows: "
            "update the package, or the server."
        )


def _reason(answer: requests.Response) -> str:
    try:
        reason = answer.json()["message"]
    except (ValueError, KeyError, TypeError):
        reason = answer.reason
    return shown(str(reason), 200).rstrip(".")

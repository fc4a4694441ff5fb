"""HTTP to a Jupyter server: its token, its patience, and its errors in words.

Every failure becomes a ``ScheduleError`` here that says what to do next; no token is in any.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from typing import Any, TypeVar

import requests

from helpers.errors import ScheduleError
from helpers.schedule.servers import Server
from helpers.text import clean, shorten

_CONNECT_SECONDS = 3.05
_READ_SECONDS = 20.0
_REFUSED = frozenset({401, 403})
_NOT_FOUND = 404

T = TypeVar("T")


class Rest:
    """A session with one server; ``read_seconds`` may be changed between calls."""

    def __init__(self, server: Server) -> None:
        self.place = server.url
        self.read_seconds = _READ_SECONDS
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
        """Give the connections back."""
        self._session.close()

    def get(self, path: str, *, read: Callable[[Any], T], **query: object) -> T:
        """Return what ``read`` makes of the JSON at this path.

        Raises:
            ScheduleError: the server cannot be reached, refuses, fails, or answers in no shape
                that ``read`` knows.
        """
        return self._read(self._expect_success(self._send("GET", path, params=query), path), read)

    def change(self, method: str, path: str, body: object = None, *, read: Callable[[Any], T]) -> T:
        """Send a change and return what ``read`` makes of the answer; raises as ``get`` does."""
        return self._read(self._expect_success(self._send(method, path, json=body), path), read)

    def order(self, method: str, path: str, body: object = None) -> None:
        """Send a change that is answered without a body; raises as ``get`` does."""
        self._expect_success(self._send(method, path, json=body), path)

    def exists(self, path: str, **query: object) -> bool:
        """Tell whether the server has something at this path; raises where it refuses us."""
        answer = self._send("GET", path, params=query)
        return answer.status_code != _NOT_FOUND and self._expect_success(answer, path).ok

    def _send(self, method: str, path: str, **arguments: Any) -> requests.Response:
        try:
            return self._session.request(
                method,
                self.place + path,
                timeout=(min(_CONNECT_SECONDS, self.read_seconds), self.read_seconds),
                allow_redirects=False,
                **arguments,
            )
        except requests.exceptions.SSLError as exc:
            raise ScheduleError(
                f"The certificate of {self.place} cannot be verified: put the file of its "
                "authority into REQUESTS_CA_BUNDLE."
            ) from exc
        except requests.Timeout as exc:
            raise ScheduleError(
                f"The Jupyter server at {self.place} does not answer: it may be overloaded; try "
                "again, or restart it."
            ) from exc
        except requests.RequestException as exc:
            raise ScheduleError(
                f"No Jupyter server answers at {self.place}: start JupyterLab there, "
                "or name a server that runs with --url (`jupyter server list` shows them)."
            ) from exc

    def _expect_success(self, answer: requests.Response, path: str) -> requests.Response:
        if answer.status_code in _REFUSED:
            raise ScheduleError(
                f"The Jupyter server at {self.place} refuses the token: put its own into "
                "JUPYTER_TOKEN (`jupyter server list` shows it)."
            )
        if answer.status_code == _NOT_FOUND and path.startswith("scheduler"):
            raise ScheduleError(
                f"The Jupyter server at {self.place} has no scheduler: run "
                "`pip install jupyter-scheduler` in the server's environment and restart it."
            )
        if answer.is_redirect or answer.status_code == _NOT_FOUND:
            raise self._no_jupyter()
        if not answer.ok:
            raise ScheduleError(
                f"The scheduler at {self.place} failed ({answer.status_code}: {_reason(answer)}): "
                "the server's log says why."
            )
        return answer

    def _read(self, answer: requests.Response, read: Callable[[Any], T]) -> T:
        try:
            return read(answer.json())
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise self._no_jupyter() from exc

    def _no_jupyter(self) -> ScheduleError:
        return ScheduleError(
            f"What answers at {self.place} is no Jupyter server that this package knows: name the "
            "address that JupyterLab has in the browser, up to /lab."
        )


def _reason(answer: requests.Response) -> str:
    try:
        reason = answer.json()["message"]
    except (ValueError, KeyError, TypeError):
        reason = answer.reason
    return shorten(clean(str(reason)), 200).rstrip(".")

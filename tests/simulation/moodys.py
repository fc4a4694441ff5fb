"""Moody's and Teams at the HTTP boundary, each with a ledger of its own: the judge's evidence."""

import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote_plus

import requests

from helpers.constants import JobStatus
from helpers.errors import NotificationError
from helpers.irp_integration import IRPClient
from helpers.irp_integration.answers import Raw
from helpers.irp_integration.causes import NoResponseError
from helpers.irp_integration.deadlines import Call
from helpers.irp_integration.transport import Transport
from tests.simulation.baton import Process, Scheduler, current_process

LATENCY_SECONDS = 0.05
LOST = 0.03  # of the answers to submissions that were accepted
_JOB = re.compile(r"/platform/(\w+)/v1/jobs/(\d+)")


@dataclass
class MoodysJob:
    """A job as Moody's knows it: from so many seconds on it has that status."""

    job_id: str
    name: str
    since: list[tuple[float, JobStatus]]

    def status_at(self, now: float) -> JobStatus:
        return [status for since, status in self.since if since <= now][-1]


@dataclass
class Moodys:
    """The jobs, the outages, and the ledger of what was submitted and asked."""

    scheduler: Scheduler
    rng: random.Random
    down_until: float = -1.0
    jobs: dict[str, MoodysJob] = field(default_factory=dict)
    by_key: dict[str, str] = field(default_factory=dict)
    submitted: Counter[str] = field(default_factory=Counter)  # by the name in the request
    read: list[tuple[Process, str]] = field(default_factory=list)  # who read which job by id
    requests: int = 0

    def answer(self, method: str, path: str, body: Any, params: str, key: str | None) -> Raw:
        """Answer a request, or do not."""
        self.requests += 1
        self.scheduler.pause(LATENCY_SECONDS)
        if self.scheduler.elapsed < self.down_until:
            if self.rng.random() < 0.5:
                return _raw(503, {"message": "Service Unavailable"})
            raise NoResponseError("Moody's cannot be reached.", again=True)
        if method == "POST":
            return self._submit(path, body, str(key))
        if method == "PATCH":
            return self._cancel(path)
        found = _JOB.fullmatch(path)
        if found is None:
            ids = re.findall(r'"(\d+)"', params)
            return _raw(200, [self._body(i) for i in ids if i in self.jobs])
        process = current_process()
        assert process is not None
        self.read.append((process, found[2]))
        if self.rng.random() < 0.01:
            raise NoResponseError("Moody's did not finish its answer in time.")
        return _raw(200, self._body(found[2]))

    def _body(self, job_id: str) -> Mapping[str, object]:
        job = self.jobs[job_id]
        return {"jobId": job_id, "status": job.status_at(self.scheduler.elapsed), "name": job.name}

    def _submit(self, path: str, body: Any, key: str) -> Raw:
        if key not in self.by_key:
            if self.rng.random() < 0.01:
                return _raw(400, {"code": "BAD", "message": "The portfolio is empty."})
            self.submitted[body["name"]] += 1
            job_id = self.by_key[key] = str(100_000 + len(self.jobs))
            self.jobs[job_id] = MoodysJob(job_id, body["name"], self._life())
        if self.rng.random() < LOST:
            raise NoResponseError("Moody's closed the connection before its answer was complete.")
        if path == "/synchronous":
            return _raw(201, {"id": 1})
        return _raw(202, None, Location=f"https://moodys{path}/{self.by_key[key]}")

    def _life(self) -> list[tuple[float, JobStatus]]:
        now, draw = self.scheduler.elapsed, self.rng
        life = [(now, JobStatus.QUEUED)]
        now += draw.expovariate(1 / 300)
        life.append((now, JobStatus.RUNNING))
        now += draw.lognormvariate(7.5, 0.8)  # half an hour, or many
        if draw.random() < 0.05:  # restarted
            life += [(now, JobStatus.QUEUED), (now + 300, JobStatus.RUNNING)]
            now += 900
        ends = [JobStatus.FINISHED] * 94 + [JobStatus.FAILED] * 5 + [JobStatus.CANCELLED]
        return [*life, (now, draw.choice(ends))]

    def _cancel(self, path: str) -> Raw:
        found = _JOB.fullmatch(path)
        assert found is not None
        job, now = self.jobs[found[2]], self.scheduler.elapsed
        if job.status_at(now) in JobStatus.terminal():
            return _raw(400, {"code": "ENDED", "message": "The job has ended."})
        past = [(since, status) for since, status in job.since if since <= now]
        ending = [JobStatus.CANCEL_REQUESTED, JobStatus.CANCELLING, JobStatus.CANCELLED]
        job.since = [*past, *((now + 60 * n, status) for n, status in enumerate(ending))]
        return _raw(200, {})


def _raw(status: int, body: Any, **headers: str) -> Raw:
    content = b"" if body is None else json.dumps(body).encode()
    return Raw(status, content, {"Content-Type": "application/json", **headers})


class _Deadlines:
    @contextmanager
    def until(self, deadline: float) -> Iterator[Call]:
        yield Call(deadline)

    def close(self) -> None:
        pass


class SimulatedTransport(Transport):
    """The product's own transport, whose wire is this module."""

    def __init__(self, moodys: Moodys) -> None:
        self._moodys = moodys
        session = SimpleNamespace(headers={"Authorization": "key"}, close=lambda: None)
        client = SimpleNamespace(base_url="https://moodys", session=session, auth_mode="api_key")
        self._client: Any = client
        self._deadlines: Any = _Deadlines()

    def _host(self) -> Any:
        return self

    def get(self, path: str, *call: Any, **asked: Any) -> Any:
        """Ask as the product does, or answer as the host that it asks."""
        if not call:
            return super().get(path, **asked)
        path, _, params = path.partition("?")
        return self._moodys.answer("GET", path, None, unquote_plus(params), None)

    def _sent(self, request: requests.Request, *_how: Any) -> Raw:
        path = str(request.url).removeprefix("https://moodys")
        key = request.headers["x-rms-requestid"]
        return self._moodys.answer(str(request.method), path, request.json, "", key)


class SimulatedClient(IRPClient):
    """An ``IRPClient`` of this world."""

    def __init__(self, moodys: Moodys) -> None:
        self.transport = SimulatedTransport(moodys)


@dataclass
class Teams:
    """Which cards arrived."""

    scheduler: Scheduler
    down_until: float = -1.0
    cards: list[tuple[float, str]] = field(default_factory=list)

    def send(self, message: dict[str, Any], **_address: object) -> None:
        self.scheduler.pause(LATENCY_SECONDS)
        if self.scheduler.elapsed < self.down_until:
            raise NotificationError("Teams cannot be reached: it is down.")
        self.cards.append((self.scheduler.elapsed, json.dumps(message)))

"""Who may speak to the stand-in for Moody's, and which submission is a repeat."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from starlette.responses import Response

from sandbox.moodys_bodies import RESOURCE_GROUP_ID


@dataclass
class Access:
    """The credentials that are valid here, and the tokens given out for them."""

    api_key: str = "sandbox-api-key"
    tenant_name: str = "sandbox-tenant"
    username: str = "sandbox-analyst"
    password: str = "sandbox-password"  # noqa: S105 - opens nothing but the stand-in
    token_seconds: float = 3600.0
    _tokens: dict[str, datetime] = field(default_factory=dict)  # to when each runs out

    def login(self, body: Any, now: datetime) -> dict[str, Any] | None:
        """Return what a login answers; None if the credentials are wrong."""
        expected = {
            "tenantName": self.tenant_name,
            "username": self.username,
            "password": self.password,
        }
        if body != expected:
            return None
        token = uuid.uuid4().hex
        self._tokens[token] = now + timedelta(seconds=self.token_seconds)
        return {
            "accessToken": token,
            "tokenType": "Bearer",
            "refreshToken": uuid.uuid4().hex,
            "expiresIn": int(self.token_seconds),
        }

    def admits(self, authorization: str, now: datetime) -> bool:
        """Tell whether an Authorization header holds the key, or a token that has not run out."""
        if authorization == self.api_key:
            return True
        kind, _, token = authorization.partition(" ")
        return kind == "Bearer" and now < self._tokens.get(token, now)

    def expire_tokens(self) -> None:
        """Let all tokens that were given out run out."""
        self._tokens.clear()

    def environment(self, url: str, *, bearer: bool = False) -> dict[str, str]:
        """Return the settings with which a client speaks to the stand-in at this URL."""
        variables = {
            "RISK_MODELER_BASE_URL": url,
            "RISK_MODELER_RESOURCE_GROUP_ID": RESOURCE_GROUP_ID,
            "AWS_ENDPOINT_URL_S3": url,  # where boto3 uploads the files of an import
        }
        if not bearer:
            return {**variables, "RISK_MODELER_API_KEY": self.api_key}
        return {
            **variables,
            "RISK_MODELER_TENANT_NAME": self.tenant_name,
            "RISK_MODELER_USERNAME": self.username,
            "RISK_MODELER_PASSWORD": self.password,
        }


def is_uuid(text: str) -> bool:
    """Tell whether a header that takes a UUID holds one."""
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


@dataclass
class RequestIds:
    """The idempotency keys seen, and what each was answered; None while that is not known yet."""

    _answers: dict[str, Response | None] = field(default_factory=dict)

    def is_in_progress(self, request_id: str) -> bool:
        """Tell whether the first request with this key is still being processed."""
        return request_id in self._answers and self._answers[request_id] is None

    def answer_to(self, request_id: str) -> Response | None:
        """Return what the first request with this key was answered."""
        return self._answers.get(request_id)

    def begin(self, request_id: str) -> None:
        """Note that a request with this key is being processed, unless it is a repeat."""
        self._answers.setdefault(request_id, None)

    def carried_out(self, request_id: str, response: Response) -> None:
        """Note what came of it; repeats get the same."""
        self._answers[request_id] = response

    def end(self, request_id: str) -> None:
        """Note that it is over; if it was not carried out, the key is free again."""
        if self._answers.get(request_id) is None:
            self._answers.pop(request_id, None)

    def clear(self) -> None:
        """Forget all keys."""
        self._answers.clear()


def header(headers: Mapping[str, str], name: str) -> str:
    """Return a header, empty if it is missing."""
    return headers.get(name, "").strip()

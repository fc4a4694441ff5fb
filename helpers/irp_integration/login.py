"""Log in at Moody's, and take the credentials nowhere else.

The published client logs in when it is made and again when a bearer token expires. It would follow
a redirect, so that tenant, user and password reach whatever host stands there; and the tokens that
it gets are secrets which no setting knows. Here both are ours, for every call of that client.
"""

import queue
import threading
from functools import cache
from typing import TYPE_CHECKING, Any

from requests import RequestException, Response

from helpers.errors import MoodysCredentialsError, SettingsError
from helpers.irp_integration.causes import as_it_is, no_response
from helpers.redaction import redact, register_secret, shown
from helpers.settings import Settings, get_settings
from helpers.text import listed

if TYPE_CHECKING:
    from irp_integration import IRPClient as PublishedIRPClient

_LONGEST_PROBLEM = 500
_LOGIN_SECONDS = 30.0
LOGIN_PATH = "/sml/auth/v1/login/implicit"


def _require_settings(settings: Settings) -> None:
    """Raise with all settings that are missing; the published client names the first only."""
    missing = [
        name
        for name in ("risk_modeler_base_url", "risk_modeler_resource_group_id")
        if not getattr(settings, name)
    ]
    login = ("risk_modeler_tenant_name", "risk_modeler_username", "risk_modeler_password")
    if not settings.risk_modeler_api_key and not all(getattr(settings, name) for name in login):
        missing.append("risk_modeler_api_key")
    if missing:
        are, them = ("is", "it") if len(missing) == 1 else ("are", "them")
        raise SettingsError(
            f"Moody's cannot be asked: {listed(missing).upper()} {are} not set. Set {them} in the "
            "environment or in .env (in place of the key, RISK_MODELER_TENANT_NAME, "
            "RISK_MODELER_USERNAME and RISK_MODELER_PASSWORD will do)."
        )


def published_client() -> "PublishedIRPClient":
    """Return the published client, logged in with what the settings hold.

    Its login would be tried for twenty minutes on a dead host, and cannot be hurried from outside:
    it runs in a thread that is left to itself when our patience ends.

    Raises:
        SettingsError: the settings lack something; the message says what.
        MoodysCredentialsError: Moody's rejected the login, or did not answer it.
    """
    settings = get_settings()
    _require_settings(settings)
    patience_seconds = min(_LOGIN_SECONDS, settings.monitor_poll_budget_seconds)
    made: queue.SimpleQueue[PublishedIRPClient | MoodysCredentialsError] = queue.SimpleQueue()
    threading.Thread(target=lambda: made.put(_made()), name="login", daemon=True).start()
    try:
        client = made.get(timeout=patience_seconds)
    except queue.Empty:
        raise MoodysCredentialsError(
            f"Moody's did not answer the login within {patience_seconds:.0f} s. Check "
            "RISK_MODELER_BASE_URL, and whether Moody's is up."
        ) from None
    if isinstance(client, MoodysCredentialsError):
        raise client
    return client


def _made() -> "PublishedIRPClient | MoodysCredentialsError":
    from irp_integration.exceptions import IRPIntegrationError  # noqa: PLC0415 - see below

    try:
        return _published_class()()
    except IRPIntegrationError as exc:
        problem, http_status = str(exc), exc.status_code
    except (ValueError, OSError):
        problem, http_status = "the address makes no sense", None
    return login_rejected(problem, http_status)


def login_rejected(problem: str, http_status: int | None) -> MoodysCredentialsError:
    """Return the error of a login that failed, with the settings to look at."""
    return MoodysCredentialsError(
        f"The login at Moody's failed: {redact(problem)}. Check RISK_MODELER_BASE_URL, "
        "RISK_MODELER_TENANT_NAME, RISK_MODELER_USERNAME and RISK_MODELER_PASSWORD.",
        http_status=http_status,
    )


@cache
def _published_class() -> "type[PublishedIRPClient]":
    """Return the published ``IRPClient``, which from now on makes its HTTP client with our login.

    It offers no other way than the name by which it finds that class.
    """
    # Imported when needed: it brings boto3, which a pass with nothing to poll can spare.
    import irp_integration  # noqa: PLC0415
    from irp_integration.client import Client  # noqa: PLC0415
    from irp_integration.exceptions import IRPAuthenticationError  # noqa: PLC0415

    class ClientWithOurLogin(Client):
        def login(self) -> None:
            credentials = {
                "tenantName": self._tenant_name,
                "username": self._username,
                "password": self._password,
            }
            try:
                response = self.session.post(
                    f"{self.base_url.rstrip('/')}{LOGIN_PATH}",
                    json=credentials,
                    headers={"Authorization": None},
                    auth=as_it_is,
                    timeout=self.timeout,
                    allow_redirects=False,
                )
            except RequestException as exc:
                raise IRPAuthenticationError(str(no_response(exc)).rstrip(".")) from None
            authorization = _authorization(response)
            if authorization is None:
                problem = shown(_problem(response), _LONGEST_PROBLEM)
                raise IRPAuthenticationError(problem, status_code=response.status_code)
            self.session.headers["Authorization"] = authorization

        _login = login

    irp_integration.Client = ClientWithOurLogin  # type: ignore[attr-defined]
    return irp_integration.IRPClient


def _authorization(response: Response) -> str | None:
    """Return the header that a login's answer gives us; its tokens are secrets from now on."""
    body = _body(response)
    for key in ("accessToken", "refreshToken"):
        if isinstance(token := body.get(key), str) and token:
            register_secret(token)
    token, kind = body.get("accessToken"), body.get("tokenType") or "Bearer"
    is_success = response.ok and not response.is_redirect
    if not (is_success and isinstance(token, str) and isinstance(kind, str)):
        return None
    return f"{kind} {token}" if token and f"{kind}{token}".isprintable() else None


def _body(response: Response) -> dict[str, Any]:
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _problem(response: Response) -> str:
    status = response.status_code
    if response.is_redirect:
        target = response.headers["Location"].partition("?")[0]
        return f"it was answered {status}, a redirect to {target}, where no credentials are sent"
    if response.ok:
        return f"the answer ({status}) makes no sense"
    message = _body(response).get("message")
    reason = f': "{message}"' if isinstance(message, str) else ""
    return f"it was answered {status}{reason}"

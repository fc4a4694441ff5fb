"""What we use of the published client's HTTP client."""

from typing import Protocol

from requests import PreparedRequest, Session


class PublishedClient(Protocol):
    """What we use of ``irp_integration.client.Client``; ``login`` is ours."""

    auth_mode: str
    base_url: str
    session: Session
    timeout: float

    def login(self) -> None:
        """Get a new bearer token; raises ``irp_integration.exceptions.IRPAuthenticationError``."""


def as_it_is(request: PreparedRequest) -> PreparedRequest:
    """Authenticate with the session's headers alone: a ``.netrc`` would replace them."""
    return request

"""Moody's Intelligent Risk Platform: the only code that speaks to it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from helpers.irp_integration.client import IRPClient

__all__ = ["IRPClient"]


def __getattr__(name: str) -> Any:
    """Import the client when it is used: it brings ``requests``, which a pass often can spare."""
    if name != "IRPClient":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from helpers.irp_integration.client import IRPClient  # noqa: PLC0415 - as above

    return IRPClient

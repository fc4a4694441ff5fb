"""Moody's Intelligent Risk Platform: the only code that speaks to it."""

from helpers.irp_integration.client import IRPClient

__all__ = ["IRPClient"]

"""Batch monitoring for Moody's Intelligent Risk Platform; stage notebooks import from here."""

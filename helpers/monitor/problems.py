"""What goes wrong with one item of a section: a remark for people, the traceback for the log.

The rest of the section goes on. Only a database that is gone ends the pass: it is let through.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from helpers.display import Remark
from helpers.errors import BatchMonitoringError, DatabaseUnavailableError
from helpers.redaction import redact

log = logging.getLogger(__name__)


@contextmanager
def survived(about: str, remarks: list[Remark]) -> Iterator[list[Exception]]:
    """Survive an error of the block: log it, and add a remark. Gives a list that will hold it."""
    caught: list[Exception] = []
    try:
        yield caught
    except DatabaseUnavailableError:
        raise
    except Exception as exc:  # noqa: BLE001 - around one item of one section
        # Not logged as an exception: the texts in its traceback may hold secrets.
        log.error("%s\n%s", about, redact("".join(traceback.format_exception(exc))))  # noqa: TRY400
        remarks.append(Remark(about, in_words(exc)))
        caught.append(exc)


def in_words(exc: Exception) -> str:
    """Return an error as people read it; a foreign one with its kind, or it may say nothing."""
    said = str(exc) if isinstance(exc, BatchMonitoringError) else f"{type(exc).__name__}: {exc}"
    return redact(said)

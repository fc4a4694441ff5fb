"""What goes wrong with one item of a section: a remark for people, the traceback for the log.

The rest of the section goes on. Only a database that is gone ends the pass: it is let through.
"""

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from helpers.display import Remark
from helpers.errors import DatabaseUnavailableError
from helpers.redaction import describe, redact

log = logging.getLogger(__name__)


@contextmanager
def isolated(about: str, remarks: list[Remark]) -> Iterator[None]:
    """Isolate an error of the block: log it, and add a remark."""
    try:
        yield
    except DatabaseUnavailableError:
        raise
    except Exception as exc:  # noqa: BLE001 - around one item of one section
        # Not logged as an exception: the texts in its traceback may hold secrets.
        log.error("%s\n%s", about, redact("".join(traceback.format_exception(exc))))  # noqa: TRY400
        remarks.append(Remark(about, describe(exc)))

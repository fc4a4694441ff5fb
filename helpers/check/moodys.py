"""Look at Moody's: the login, and one harmless read of each family."""

from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from helpers.check.findings import bad, doubtful, good
from helpers.clock import CLOCK
from helpers.constants import Family
from helpers.display import Remark
from helpers.errors import MoodysError
from helpers.irp_integration import IRPClient
from helpers.irp_integration.answers import Raw
from helpers.irp_integration.submissions import own_error
from helpers.settings import get_settings

_NO_JOB = "1"  # an id that nobody has: real ones have about eight digits
_FORBIDDEN = frozenset({401, 403})
_MOST_SECONDS_APART = 60.0


def look_at_moodys() -> Iterator[Remark]:
    """Give how Moody's answers.

    Raises:
        SettingsError: the settings for Moody's are incomplete.
        MoodysCredentialsError: Moody's rejected the login.
    """
    with IRPClient(connections=1) as client:
        how = "an API key" if get_settings().risk_modeler_api_key else "a login"
        yield good("Moody's", f"reached with {how}")
        raw = None
        for family in Family:
            try:
                raw = client.transport.get(family.job_path(_NO_JOB))
            except MoodysError as exc:
                yield bad(f"Moody's {family}", str(exc))
            else:
                yield _judged(family, raw)
        if raw is not None:
            yield from _clock(raw)


def _judged(family: Family, raw: Raw) -> Remark:
    about = f"Moody's {family}"
    if raw.http_status in _FORBIDDEN:
        text = (
            f"answers {raw.http_status}: these credentials may not read its jobs. Check "
            "RISK_MODELER_API_KEY and RISK_MODELER_RESOURCE_GROUP_ID, and ask for the right."
        )
        return bad(about, text)
    is_own_answer = raw.http_status == HTTPStatus.OK or own_error(raw) is not None
    if raw.http_status in {HTTPStatus.OK, HTTPStatus.NOT_FOUND} and is_own_answer:
        return good(about, "answers")
    text = f"answers {raw.http_status}, which is not its own. Is a proxy or gateway in between?"
    return bad(about, text)


def _clock(raw: Raw) -> Iterator[Remark]:
    try:
        theirs = parsedate_to_datetime(raw.headers.get("Date", ""))
    except ValueError:
        return
    apart = abs((CLOCK.now() - theirs).total_seconds())
    if apart > _MOST_SECONDS_APART:
        text = f"this machine's clock and that of Moody's are {apart:.0f} s apart. Set it by NTP."
        yield doubtful("clocks", text)

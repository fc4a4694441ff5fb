"""Look at everything that a pass needs, in the order in which it builds on each other."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path

from jupyter_client.kernelspec import NATIVE_KERNEL_NAME, NoSuchKernel
from jupyter_client.manager import KernelManager

from helpers.check.findings import CheckReport, bad, doubtful, findings_of, good
from helpers.check.settings import is_placeholder, look_at_settings
from helpers.clock import CLOCK
from helpers.constants import Family
from helpers.database import queries, require_sessions, transaction
from helpers.database.schema import migration_ids, missing_migrations, problem, require_utf8
from helpers.display import Remark, Severity
from helpers.errors import MoodysError, NotificationError
from helpers.irp_integration import IRPClient
from helpers.irp_integration.answers import Raw
from helpers.irp_integration.submissions import own_error
from helpers.neighbours import step_environment, team_helpers
from helpers.notebooks.cluster import StepCluster
from helpers.notifications.cards import text_message
from helpers.notifications.teams import send
from helpers.pass_health import pass_health
from helpers.settings import get_settings
from helpers.text import counted, shorten
from helpers.workflow_paths import MONITOR_NOTEBOOK, workflows_dir

_KERNEL_SECONDS = 60
_MOST_SECONDS_APART = 30.0  # of this machine and the database's
_MOODYS_SECONDS_APART = 60.0
_TEST_CARD = "Batch monitoring: a test card. Nothing has failed."
_NO_JOB = "1"  # an id that nobody has: real ones have about eight digits
_FORBIDDEN = frozenset({401, 403})
_ASK_FOR_HELPERS = (
    "import json, helpers\n"
    "from importlib.metadata import version\n"
    "print(json.dumps([helpers.__file__, version('batch-monitoring')]))\n"
)


def check_system(*, send_card: bool = False) -> CheckReport:
    """Look at settings, database, clocks, schedule, Moody's, Teams, workflows folder and kernel.

    Nothing is changed anywhere, and only what is named is asked: one login and one read of each
    family at Moody's.

    Args:
        send_card: send a test card to Teams; otherwise only its address is looked at.
    """
    looks = {
        "settings": look_at_settings,
        "database": _look_at_database,
        "connection": _look_at_connection,
        "schedule": _look_at_schedule,
        "Moody's": _look_at_moodys,
        "Teams": lambda: _look_at_teams(send_card=send_card),
        "workflows": _look_at_workflows,
        "kernel": _look_at_kernel,
        "step executor": _look_at_cluster,
    }
    findings: list[Remark] = []
    for about, look in looks.items():
        known = {finding.text for finding in findings if finding.severity is Severity.ERROR}
        findings += [found for found in findings_of(about, look) if found.text not in known]
    return CheckReport(tuple(findings))


def _look_at_database() -> Iterator[Remark]:
    require_utf8()
    with transaction():
        server = queries("check").server()
        tables = queries("check").tables()
        missing = missing_migrations()
        found = None if missing else problem()
    yield good(
        "database", f"{server['database']} as {server['account']}, PostgreSQL {server['version']}"
    )
    if missing:
        text = (
            f"{len(missing)} of {counted(len(migration_ids()), 'migration')} are missing. Run "
            "`python -m helpers.database migrate`."
        )
        yield bad("migrations", text)
    else:
        yield bad("migrations", found) if found else good("migrations", "all applied")
    if tables is not None and not tables["is_owner"]:
        text = (
            f"the tables belong to {tables['owner']}, and {server['account']} is not a member of "
            "that role: the monitor cannot add a partition a day. Use an account that owns them."
        )
        yield bad("database", text)
    apart = abs((CLOCK.now() - server["now_ts"]).total_seconds())
    text = f"this machine's clock and the server's are {apart:.0f} s apart"
    if apart > _MOST_SECONDS_APART:
        yield doubtful("clocks", f"{text}. Set them by NTP.")
    else:
        yield good("clocks", text)


def _look_at_connection() -> Iterator[Remark]:
    """Look whether each connection is a session of the server's, which locks are bound to."""
    require_sessions()
    yield good("connection", "direct, or through a pooler that keeps sessions")


def _look_at_schedule() -> Iterator[Remark]:
    """Judge the schedule by the passes that get through, whoever starts them."""
    with transaction():
        if missing_migrations():  # reported already
            return
    health = pass_health()
    for warning in health.warnings():
        yield doubtful("schedule", warning)
    if not health.warnings():
        judged = good if health.comes_by_itself else doubtful
        text = [] if health.comes_by_itself else [health.headline]
        yield judged("schedule", " ".join([*text, *health.lines()]))


def _look_at_moodys() -> Iterator[Remark]:
    """Give how Moody's answers a login, and one harmless read of each family.

    What is the same for all of them, as with an unknown host, is one finding.
    """
    answers: list[Raw] = []
    found: list[Remark] = []
    try:
        with IRPClient(connections=1) as client:
            for family in Family:
                try:
                    answers.append(client.transport.get(family.job_path(_NO_JOB)))
                except MoodysError as exc:
                    found.append(bad(f"Moody's {family}", str(exc)))
                else:
                    found.append(_judged_family(family, answers[-1]))
    except MoodysError as exc:  # of the login
        if exc.http_status is not None:
            raise
        found = [bad("Moody's", str(exc))]
    if any(finding.severity is Severity.OK for finding in found):
        how = "an API key" if get_settings().risk_modeler_api_key else "a login"
        yield good("Moody's", f"reached with {how}")
        yield from found
    else:
        why = " ".join(dict.fromkeys(finding.text for finding in found))
        yield bad("Moody's", why if answers else f"{why} {_host_to_correct()}")
    yield from _moodys_clock(answers)


def _host_to_correct() -> str:
    address = (get_settings().risk_modeler_base_url or "").rpartition("://")[2]
    host = address.rpartition("@")[2].partition("/")[0]
    return (
        f"The host is {host or 'not named'}: correct RISK_MODELER_BASE_URL if it is another, and "
        "see whether this machine may reach it."
    )


def _judged_family(family: Family, raw: Raw) -> Remark:
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


def _moodys_clock(answers: list[Raw]) -> Iterator[Remark]:
    try:
        theirs = parsedate_to_datetime(answers[-1].headers.get("Date", ""))
    except (IndexError, ValueError):
        return
    apart = abs((CLOCK.now() - theirs).total_seconds())
    if apart > _MOODYS_SECONDS_APART:
        text = f"this machine's clock and that of Moody's are {apart:.0f} s apart. Set it by NTP."
        yield doubtful("clocks", text)


def _look_at_teams(*, send_card: bool) -> Iterator[Remark]:
    settings = get_settings()
    if settings.teams_webhook_url is None:
        yield doubtful("Teams", "TEAMS_WEBHOOK_URL is not set: no cards are sent.")
        return
    if is_placeholder(settings.teams_webhook_url.get_secret_value()):
        yield doubtful("Teams", "TEAMS_WEBHOOK_URL is a placeholder: no cards are sent.")
        return
    if not settings.teams_notification_enabled:
        yield doubtful("Teams", "TEAMS_NOTIFICATION_ENABLED is false: this account sends no cards.")
    if not send_card:
        yield good("Teams", "a webhook is set; --send-card tries it")
        return
    try:
        send(text_message(_TEST_CARD), webhook_url=settings.teams_webhook_url)
    except NotificationError as exc:
        yield doubtful("Teams", str(exc))
    else:
        yield good("Teams", "accepted a test card: look whether it is there")


def _look_at_workflows() -> Iterator[Remark]:
    folder = workflows_dir()
    if not folder.is_dir():
        yield bad("workflows", f"there is no folder {folder}. Set IRP_WORKFLOWS_DIR.")
    elif not os.access(folder, os.W_OK | os.X_OK):
        yield doubtful("workflows", f"{folder} cannot be written: executed copies would be lost.")
    elif not (folder / MONITOR_NOTEBOOK).is_file():
        text = (
            f"{folder} has no “{MONITOR_NOTEBOOK}”. Copy `workflows/_Tools` of the project to it."
        )
        yield doubtful("workflows", text)
    else:
        yield good("workflows", str(folder))


def _look_at_kernel() -> Iterator[Remark]:
    """Ask the Python of the default kernel which ``helpers`` it imports."""
    folder = workflows_dir()
    environment = {**os.environ, **step_environment()}
    team = team_helpers(environment)
    if team is not None:
        yield good("kernel", f"kernels of steps import your team's helpers, of {team}")
        return
    try:
        python = KernelManager(kernel_name=NATIVE_KERNEL_NAME).format_kernel_cmd()[0]
        asked = subprocess.run(  # noqa: S603 - the command that Jupyter itself would start
            [python, "-c", _ASK_FOR_HELPERS],
            cwd=folder if folder.is_dir() else None,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_KERNEL_SECONDS,
            check=False,
        )
    except (NoSuchKernel, OSError, subprocess.TimeoutExpired) as exc:
        text = f"the kernel {NATIVE_KERNEL_NAME} cannot be started: {exc}. Install ipykernel."
        yield bad("kernel", text)
        return
    yield _judged_kernel(python, asked)


def _judged_kernel(python: str, asked: subprocess.CompletedProcess[str]) -> Remark:
    ours = version("batch-monitoring")
    if asked.returncode:
        error = (asked.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        text = (
            f"{python} cannot import this package ({shorten(error, 200)}): chained notebooks would "
            "fail. Install it into the environment of that kernel."
        )
        return bad("kernel", text)
    where, theirs = json.loads(asked.stdout.splitlines()[-1])
    if theirs != ours:
        text = f"{python} has version {theirs} of this package, and this is {ours}."
        return doubtful("kernel", text)
    return good("kernel", f"{python} imports {Path(where).parent}")


def _look_at_cluster() -> Iterator[Remark]:
    """Give how scheduler and workers answer; nothing if notebooks run on this machine.

    Raises:
        SettingsError: the setting cannot be used, or Dask is not installed.
        NotebookError: the cluster cannot run a notebook now.
    """
    address = get_settings().monitor_step_executor
    if address is None:
        return
    with closing(StepCluster(address)) as cluster:
        cluster.look()
        workers = counted(len(cluster.workers), "worker")
        yield good("step executor", f"{address} has {workers} for notebooks")
        for warning in cluster.warnings:
            yield doubtful("step executor", warning)

"""Hostile names, bodies and texts: nothing leaves the workflows folder, nothing executes.

What is secret is planted everywhere, in each way that it may be written, and then searched for
in everything that comes out.
"""

import html
import json
import logging
import os
import traceback
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from helpers.batch import submit_batch
from helpers.constants import BatchStatus, BatchType, JobStatus
from helpers.database import transaction
from helpers.errors import BatchMonitoringError
from helpers.irp_integration import IRPClient
from helpers.job import fail_job, track_job_status
from helpers.monitor import run_pass
from helpers.notebook_executor import execute_next_step, execute_notebook
from helpers.notifications.teams import send
from helpers.settings import get_settings
from sandbox.misbehaviour import Fault
from sandbox.moodys_world import RefusedError
from sandbox.seeding import PreparedJob, add_batch, add_cycle, add_step
from tests.support.notebooks import step_notebook, write_notebook
from tests.support.passes import Pass, active_batch, configure, one_pass, rows, running

CYCLE = "Analysis-2025-Q1"
KEY = 'planted-key "4f1" \\ é'
PASSWORD = "planted-pass/w@rd:7%"
DATABASE_PASSWORD = "planted-db p@ss/w%rd"
LIBPQ_PASSWORD = "planted-libpq-password"


def spellings(secret: str) -> set[str]:
    """Return the ways in which a secret may be written."""
    once = {secret, quote(secret, safe=""), json.dumps(secret)[1:-1], html.escape(secret)}
    return once | {json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]}


class Planted:
    """What is secret, and what has come out so far."""

    def __init__(self, metastore: str, moodys, teams, workflows: Path, log, screen) -> None:
        self.metastore, self.moodys, self.teams, self.workflows = (
            metastore,
            moodys,
            teams,
            workflows,
        )
        self.log, self.screen = log, screen
        self.address = teams.webhook_url.removeprefix(teams.url)
        signature = self.address.rpartition("sig=")[2]
        self.secrets = [KEY, PASSWORD, DATABASE_PASSWORD, LIBPQ_PASSWORD, self.address, signature]
        self.seen: dict[str, str] = {}

    @property
    def all_at_once(self) -> str:
        """A text that tells everything."""
        return " | ".join([*self.secrets, os.environ["DATABASE_URL"], self.teams.webhook_url])

    def note(self, label: str, text: object) -> None:
        self.seen[f"{len(self.seen)} {label}"] = str(text)

    def note_pass(self, done: Pass) -> None:
        for section in vars(done):
            report = getattr(done, section)
            self.note(f"{section}, text", report)
            self.note(f"{section}, html", report._repr_html_())
            self.note(f"{section}, repr", repr(report))

    def note_error(self, label: str, error: BaseException) -> None:
        self.note(label, f"{error} {error!r} {vars(error)}")
        self.note(label, "".join(traceback.format_exception(error)))

    def outputs(self) -> dict[str, str]:
        """Return everything that has come out, by what it is."""
        screen = self.screen.readouterr()
        found = {
            **self.seen,
            "log": "\n".join(f"{r.getMessage()} {r.exc_text}" for r in self.log.records),
            "formatted log": self.log.text,
            "screen": screen.out + screen.err,
            "cards": json.dumps(self.teams.messages),
            "cards, unescaped": json.dumps(self.teams.messages, ensure_ascii=False),
        }
        for path in self.workflows.rglob("runs/*"):
            found[f"executed {path.name}"] = path.read_text()
            found[f"executed {path.name}, unescaped"] = json.dumps(
                json.loads(path.read_text()), ensure_ascii=False
            )
        return found | tables(self.metastore)

    def assert_nothing_came_out(self) -> None:
        outputs = self.outputs()
        assert sum(len(text) > 0 for text in outputs.values()) > 5  # there was something to search
        leaks = {
            f"{label}: …{text[max(text.find(word) - 60, 0) :][:160]}…"
            for label, text in outputs.items()
            for secret in self.secrets
            for word in spellings(secret)
            if word in text
        }
        assert leaks == set()


def tables(url: str) -> dict[str, str]:
    """Return every row of every table as text."""
    with psycopg.connect(url) as sql:
        names = sql.execute(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p')"
            " AND relnamespace = 'public'::regnamespace"
        ).fetchall()
        return {
            f"table {name}": "\n".join(
                row[0]
                for row in sql.execute(f'SELECT to_jsonb(t)::text FROM "{name}" AS t').fetchall()
            )
            for (name,) in names
        }


@pytest.fixture
def planted(metastore, moodys, teams, workflows, monkeypatch, caplog, capfd):
    """Secrets in every setting that holds one, and a log that keeps everything."""
    caplog.set_level(logging.DEBUG)
    parts = psycopg.conninfo.conninfo_to_dict(metastore)
    url = (
        f"postgresql://postgres:{quote(DATABASE_PASSWORD, safe='')}@/{parts['dbname']}"
        f"?host={quote(parts['host'], safe='')}"
    )
    moodys.access.api_key = KEY
    configure(
        monkeypatch,
        database_url=url,
        risk_modeler_api_key=KEY,
        risk_modeler_password=PASSWORD,
        pgpassword=LIBPQ_PASSWORD,
    )
    yield Planted(metastore, moodys, teams, workflows, caplog, capfd)
    moodys.access.api_key = "sandbox-api-key"


# --- Secrets.

TELL_ALL = """
import os, sys, html, logging
from IPython.display import HTML, display
all_at_once = " | ".join(
    os.environ[n] for n in ("RISK_MODELER_API_KEY", "RISK_MODELER_PASSWORD", "DATABASE_URL",
                            "TEAMS_WEBHOOK_URL", "PGPASSWORD"))
print(all_at_once); print(all_at_once, file=sys.stderr)
logging.warning("%s", all_at_once)
display(HTML(f"<b>{html.escape(all_at_once)}</b>"))
display({"text/plain": repr(all_at_once), "application/json": {all_at_once: all_at_once}}, raw=True)
"""


def test_a_pass_in_which_everybody_repeats_the_secrets_lets_none_out(planted, monkeypatch):
    moodys, cycle = planted.moodys, add_cycle(CYCLE)
    reason = planted.all_at_once
    active_batch(
        cycle,
        BatchType.ANALYSIS,
        [
            running(moodys, "model", "FAILED", reason=reason, name=reason),
            running(moodys, "model", "FINISHED", name=reason),
        ],
    )
    odd = active_batch(cycle, BatchType.GEOHAZ, [running(moodys, "geohaz")])
    moodys.misbehave(Fault.UNKNOWN_STATUS, status=KEY[:90], families={"geohaz"})
    step_notebook(
        planted.workflows,
        TELL_ALL,
        "raise RuntimeError(all_at_once)",
        cycle=CYCLE,
        stage_num=4,
        step_num=2,
    )
    planted.teams.misbehave(Fault.HTTP_STATUS, http_status=401, times=1)

    planted.note_pass(one_pass())
    with transaction() as connection:
        connection.execute("UPDATE irp_notification SET next_attempt_ts = now()")
    planted.note_pass(one_pass())

    assert planted.teams.messages
    assert odd.batch_id
    planted.assert_nothing_came_out()


@pytest.mark.parametrize("length", [120, 250, 4_000, 8_000, 16_000])
def test_a_secret_where_a_long_text_is_cut_is_not_cut_in_two(planted, length):
    """Half a secret would not be found any more."""
    step = add_step(add_cycle(CYCLE), stage_num=3, step_num=3)
    batch = add_batch(step, BatchType.MRI_IMPORT, [PreparedJob()])
    about_there = " ".join([KEY] * (length // len(KEY)))
    [failed] = batch.job_ids
    fail_job(failed, f"{'.' * (length // 7)} {about_there}")
    active_batch(
        add_cycle("Another"),
        BatchType.GEOHAZ,
        [running(planted.moodys, "geohaz", "FAILED", reason=f"{about_there} {about_there}")],
    )

    planted.note_pass(one_pass())

    halves = {KEY[: len(KEY) // 2 + 1], KEY[len(KEY) // 2 - 1 :]}
    outputs = planted.outputs()
    assert {half for half in halves for text in outputs.values() if half in text} == set()


@pytest.mark.parametrize("http_status", [400, 401, 403, 418, 500])
def test_an_error_answer_that_repeats_the_secrets_lets_none_out(planted, monkeypatch, http_status):
    planted.moodys.misbehave(Fault.HTTP_STATUS, http_status=http_status)
    cycle = add_cycle(CYCLE)
    polled = active_batch(cycle, BatchType.GEOHAZ, [running(planted.moodys, "geohaz")])
    step = add_step(cycle, stage_num=3, step_num=1)
    request = {"method": "POST", "path": "/platform/geohaz/v1/jobs", "json": {}}
    sent = add_batch(step, BatchType.EDM_CREATION, [PreparedJob(request=request)])

    with monkeypatch.context() as impolite, IRPClient() as client:
        repeat = lambda _: type("Status", (), {"phrase": planted.all_at_once})  # noqa: E731
        impolite.setattr("sandbox.odd_answers.HTTPStatus", repeat)
        planted.note_pass(one_pass())
        planted.note("submission", submit_batch(sent.batch_id, client))
        with pytest.raises(BatchMonitoringError) as caught:
            track_job_status(polled.job_ids[0], BatchType.GEOHAZ, client)
    planted.note_error("track_job_status", caught.value)

    planted.assert_nothing_came_out()


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://postgres:{quote(DATABASE_PASSWORD, safe='')}@127.0.0.1:1/nowhere",
        f"postgresql://postgres:{DATABASE_PASSWORD}@127.0.0.1:1/nowhere",
        f"host=127.0.0.1 port=1 user=postgres password='{DATABASE_PASSWORD}'",
        f"postgresql://postgres@127.0.0.1:1/nowhere?password={quote(DATABASE_PASSWORD, safe='')}",
        f"postgresql://[{quote(DATABASE_PASSWORD, safe='')}",
        f"password={DATABASE_PASSWORD!r} nonsense",
    ],
)
def test_a_database_url_that_leads_nowhere_is_reported_without_its_password(
    planted, monkeypatch, url
):
    configure(monkeypatch, database_url=url)

    with pytest.raises(BatchMonitoringError) as caught:
        run_pass()

    planted.note_error("run_pass", caught.value)
    configure(monkeypatch, database_url=planted.metastore)
    planted.assert_nothing_came_out()


def test_a_webhook_that_cannot_be_used_is_reported_without_its_address(planted, monkeypatch):
    for broken in ("http://127.0.0.1:1", "ftp://example.invalid", "http://[", "not an address"):
        configure(monkeypatch, teams_webhook_url=f"{broken}{planted.address}")
        with pytest.raises(BatchMonitoringError) as caught:
            send({"type": "message"}, webhook_url=get_settings().teams_webhook_url)
        planted.note_error(broken, caught.value)
    planted.teams.misbehave(Fault.HTTP_STATUS, http_status=500)
    configure(monkeypatch, teams_webhook_url=planted.teams.webhook_url)
    with pytest.raises(BatchMonitoringError) as caught:
        send({"type": "message"}, webhook_url=get_settings().teams_webhook_url)
    planted.note_error("500", caught.value)

    planted.assert_nothing_came_out()


def test_a_login_that_repeats_the_password_lets_it_not_out(planted, monkeypatch):
    def repeat(body, now):
        raise RefusedError(401, planted.all_at_once)

    monkeypatch.setattr(planted.moodys.access, "login", repeat)
    configure(
        monkeypatch,
        risk_modeler_api_key=None,
        risk_modeler_tenant_name="tenant",
        risk_modeler_username="analyst",
    )
    planted.secrets.remove(KEY)  # it is no secret of this process any more
    active_batch(add_cycle(CYCLE), BatchType.GEOHAZ, [PreparedJob(JobStatus.SUBMITTED, "23148952")])

    done = one_pass()

    planted.note_pass(done)
    assert done.polled.refused
    planted.assert_nothing_came_out()


# --- Names.

NAMES = [
    "../../../outside",
    "x/../../../outside",
    "/etc/passwd",
    "..\\..\\outside",
    "%2e%2e%2foutside",
    "'; DROP TABLE irp_job; --",
    '" OR 1=1; DELETE FROM irp_batch; --',
    "$$; SELECT pg_sleep(99); $$ :name %s %(id)s",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style><style>*{display:none}</style>",
    "{{ 7 * 7 }} {% for x in ().__class__ %}",
    "[click](https://evil.example) ![x](https://evil.example/x.png)",
    "**bold** # heading\n- item",
    "<at>everyone</at> {{DATE(2017-02-14T06:08:00Z,SHORT)}}",
    "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b[2J",
    "abc\u202egnp.exe\u2066",
    "$(touch pwned) `touch pwned` ; touch pwned",
    "🌀" * 60 + "é\u0301" * 40,
    "x" * 255,
    "CON",
    " . ",
]


class Tags(HTMLParser):
    """Collects what an HTML text is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.texts.append(data)


OUR_TAGS = {
    "br",
    "code",
    "style",
    "div",
    "p",
    "span",
    "b",
    "i",
    "ul",
    "li",
    "table",
    "tr",
    "th",
    "td",
}
OUR_ATTRIBUTES = {"class", "style", "title", "colspan"}
OUTSIDE = "touched = open('touched', 'w')"


def snapshot(folder: Path) -> dict[str, float]:
    return {str(path): path.lstat().st_mtime for path in sorted(folder.rglob("*"))}


def assert_harmless_html(text: str) -> None:
    found = Tags(text)
    assert found.tags <= OUR_TAGS
    assert found.attributes <= OUR_ATTRIBUTES
    assert_harmless_text(text)


def assert_harmless_text(text: str) -> None:
    assert not [c for c in text if c < " " and c not in "\n\t"]
    assert not set(text) & set("\x7f\x9b\u202e\u2066")


@pytest.fixture
def outside(tmp_path, workflows):
    """A folder beside the workflows folder, with notebooks where a hostile name would lead."""
    folder = tmp_path / "outside"
    for stage, step in ((4, 2), (3, 4)):
        stage_folder = folder / "notebooks" / f"Stage_{stage:02}_Work"
        write_notebook(stage_folder / f"Step_{step:02}_Work.ipynb", OUTSIDE)
    write_notebook(folder / "Step_02_Work.ipynb", OUTSIDE)
    return folder


def hostile_cycle(moodys, name: str) -> list[int]:
    """Add a cycle whose every name is this one, with a batch that fails and one that completes."""
    cycle = add_cycle(name)
    short = name[:80]
    made = []
    for stage, step, kind, family, status in (
        (4, 1, BatchType.ANALYSIS, "model", "FAILED"),
        (3, 3, BatchType.MRI_IMPORT, "import", "FINISHED"),
    ):
        step_id = add_step(
            cycle,
            stage_num=stage,
            step_num=step,
            stage_name=name,
            step_name=name,
            notebook_path=name,
        )
        add_step(
            cycle,
            stage_num=stage,
            step_num=step + 1,
            stage_name=name,
            step_name=name,
            notebook_path=f"{name}/Step_02_Work.ipynb",
        )
        job = running(moodys, family, status, name=short, reason=name)
        made.append(add_batch(step_id, kind, [job], status=BatchStatus.ACTIVE).batch_id)
    step_id = add_step(cycle, stage_num=9, step_num=1)
    job = PreparedJob(JobStatus.QUEUED, name[:50], configuration={name: name})
    made.append(add_batch(step_id, name, [job], status=BatchStatus.ACTIVE).batch_id)
    return made


def test_hostile_names_show_as_they_are_and_do_nothing(
    moodys, teams, sql, workflows, outside, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    configure(monkeypatch, teams_default_jupyterlab_url="https://lab.example/lab/tree")
    for name in ("x", "..", "../..", "..\\.."):
        (workflows / f"Active_{name}").mkdir(parents=True, exist_ok=True)
    before = snapshot(tmp_path)
    for name in NAMES:
        hostile_cycle(moodys, name)

    done = one_pass()

    assert snapshot(tmp_path) == before
    assert rows(sql, "SELECT cycle_name FROM irp_cycle ORDER BY id") == [(n,) for n in NAMES]
    assert len(done.became) == 3 * len(NAMES)
    assert rows(sql, "SELECT count(*) FROM irp_chain_run WHERE status = 'FAILED'") == [
        (2 * len(NAMES),)
    ]
    assert rows(sql, "SELECT count(*) FROM irp_step_run") == [(0,)]
    for report in vars(done).values():
        report.most_lines = 10_000
        assert_harmless_html(report._repr_html_())
        assert_harmless_text(str(report))
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in done.found._repr_html_()
    assert "{{ 7 * 7 }}" in str(done.found)


def test_hostile_names_make_no_links_pictures_or_mentions_in_cards(
    metastore, moodys, teams, workflows, monkeypatch
):
    configure(
        monkeypatch,
        teams_default_jupyterlab_url="https://lab.example/lab/tree",
        teams_default_dashboard_url="https://dashboard.example/",
    )
    for name in NAMES[:3]:
        hostile_cycle(moodys, name)
    one_pass()
    for name in NAMES[3:]:
        hostile_cycle(moodys, name)
        one_pass()
        with transaction() as connection:
            connection.execute("UPDATE irp_notification SET sent_ts = sent_ts - interval '2 h'")

    assert teams.messages
    strings = [string for message in teams.messages for string in strings_of(message)]
    for keys, text in strings:
        assert_harmless_text(text)
        if keys[-1] == "url":
            assert text.startswith(("https://lab.example/lab/tree", "https://dashboard.example/"))
            assert not set(text) & set(" <>\"'()[]{}|\\^`\n")
        elif "TextRun" not in keys:  # where Markdown is understood
            assert "evil" not in text
            assert "bold" not in text
        assert "<at>" not in text
        assert "{{" not in text


def strings_of(value, keys=("",)):
    """Give every text of a message with the keys that lead to it, and the type it stands in."""
    if isinstance(value, str):
        yield keys, value
    elif isinstance(value, list):
        for item in value:
            yield from strings_of(item, keys)
    elif isinstance(value, dict):
        kind = (value["type"],) if "type" in value else ()
        for key, item in value.items():
            yield from strings_of(item, (*keys, *kind, key))


@pytest.mark.parametrize(
    "path",
    [
        "../outside/Step_02_Work.ipynb",
        "Active_x/../../outside/Step_02_Work.ipynb",
        "{outside}/Step_02_Work.ipynb",
        "linked/Step_02_Work.ipynb",
        "Step_02_Linked.ipynb",
        "..\\outside\\Step_02_Work.ipynb",
        "~/Step_02_Work.ipynb",
        "file://{outside}/Step_02_Work.ipynb",
        "\0",
        "x" * 5000,
        "/dev/stdin",
        "/proc/self/environ",
    ],
)
def test_no_path_leads_out_of_the_workflows_folder(
    metastore, workflows, outside, tmp_path, path, monkeypatch
):
    monkeypatch.setenv("HOME", str(outside))
    (workflows / "Active_x").mkdir()
    (workflows / "linked").symlink_to(outside)
    (workflows / "Step_02_Linked.ipynb").symlink_to(outside / "Step_02_Work.ipynb")
    path = path.replace("{outside}", str(outside))
    before = snapshot(tmp_path)

    for run in (execute_notebook, execute_next_step):
        result = run(path)
        assert not result["success"]
        assert result["executed_path"] is None
        assert_harmless_text(result["error"])
    assert snapshot(tmp_path) == before


ODD_NOTEBOOKS = [
    "Step_02_<img src=x onerror=alert(1)>.ipynb",
    "Step_02_$(touch pwned);`touch pwned`.ipynb",
    "Step_02_-rf --allow \x1b[31m(chained).ipynb",
    "Step_02_{{ 7 * 7 }} %s '; DROP TABLE irp_job; --.ipynb",
    os.fsdecode(b"Step_02_\xff\xfe.ipynb"),  # no UTF-8
    "Step_02_" + "é" * 110 + ".ipynb",
]


@pytest.mark.parametrize("file_name", ODD_NOTEBOOKS)
def test_a_notebook_with_a_hostile_name_runs_as_any_other_or_is_refused_in_a_sentence(
    moodys, teams, sql, workflows, tmp_path, monkeypatch, file_name
):
    monkeypatch.chdir(tmp_path)
    folder = workflows / f"Active_{CYCLE}" / "notebooks" / "Stage_04_<b>Work<b>"
    notebook = write_notebook(folder / file_name, "print('ran')")
    cycle = add_cycle(CYCLE)
    active_batch(cycle, BatchType.ANALYSIS, [running(moodys, "model", "FINISHED")])

    done = one_pass()

    [step] = done.chained.steps or [None]
    assert not list(tmp_path.rglob("pwned"))
    assert {path.parent.name for path in tmp_path.rglob("*.ipynb")} <= {folder.name, "runs"}
    assert list(folder.iterdir()) == [notebook]
    for report in vars(done).values():
        assert_harmless_html(report._repr_html_())
        assert_harmless_text(str(report))
    [(status,)] = rows(sql, "SELECT status::text FROM irp_chain_run")
    assert status == ("COMPLETED" if step and step.error is None else "FAILED")
    if file_name.isprintable():
        assert status == "COMPLETED"


# --- Bodies and error texts.

TEXTS = [
    "<script>alert(1)</script>",
    "\x1b[2J\x1b[31mred\x1b]8;;https://evil.example\x07click",
    "[click](https://evil.example)",
    "'); DROP TABLE irp_job; --",
    "x" * 100_000,
    "line\r\nline\rline\u2028line",
    "\u202eabc",
    "\ufeff\ufffe\uffff",
    "half a NUL \\u0000 and a backslash \\",
]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_a_hostile_reason_is_kept_and_shown_without_its_sting(moodys, teams, sql, workflows, text):
    job = running(moodys, "import", "FAILED", reason=text, name=text[:200])
    batch = active_batch(add_cycle(CYCLE), BatchType.MRI_IMPORT, [job])

    done = one_pass()

    assert done.became == {batch.batch_id: "FAILED"}
    [(last_error,)] = rows(sql, "SELECT last_error FROM irp_job")
    assert_harmless_text(last_error)
    assert len(last_error) <= 8_000
    for report in vars(done).values():
        assert_harmless_html(report._repr_html_())
        assert_harmless_text(str(report))
    assert len(teams.messages) == 1
    for _, shown in strings_of(teams.messages[0]):
        assert_harmless_text(shown)
    assert len(rows(sql, "SELECT FROM irp_job")) == 1


@pytest.mark.parametrize("end", ["FAILED", "FINISHED", "CANCELLED"])
@pytest.mark.parametrize("fault", [Fault.NUL, Fault.LONE_SURROGATE])
def test_a_character_that_cannot_be_stored_does_not_keep_a_job_from_its_end(
    moodys, sql, workflows, fault, end
):
    """It stands in the body for ever: the job would be asked about for ever."""
    kinds = ((BatchType.ANALYSIS, "model"), (BatchType.GEOHAZ, "geohaz"))
    for kind, family in kinds:
        jobs = [running(moodys, family, end, reason="Out of memory.") for _ in range(2)]
        active_batch(add_cycle(family), kind, jobs)
    moodys.misbehave(fault)

    one_pass()

    assert rows(sql, "SELECT DISTINCT status::text FROM irp_job") == [(end,)]
    assert rows(sql, "SELECT count(*), count(tracking_data) FROM irp_job_tracking_log") == [(4, 4)]

import json

import pytest

from helpers.notifications.cards import (
    MAX_MESSAGE_BYTES,
    card_message,
    digest_message,
    plain_message,
    size_of,
)
from helpers.notifications.links import Links, dashboard_address, notebook_address

NO_LINKS = Links()
LOCATION = {
    "cycle_name": "Analysis-2025-Q1",
    "stage_num": 4,
    "stage_name": "Analysis",
    "step_num": 1,
    "step_name": "Submit Analysis",
    "batch_id": 17,
    "batch_type": "Analysis",
    "occurred_ts": "2025-03-01T09:30:00+00:00",
}


def job(job_id, reason="EDM not found", status="FAILED", workflow_id="900", made_from=""):
    return {
        "job_id": job_id,
        "made_from": made_from,
        "moodys_workflow_id": workflow_id,
        "status": status,
        "reason": reason,
    }


def batch_event(jobs=(), *, kind="BATCH_FAILED", status="FAILED", activation_num=1, **payload):
    jobs = list(jobs)
    return {
        "kind": kind,
        "batch_id": 17,
        "activation_num": activation_num,
        "payload": {
            **LOCATION,
            "notebook_path": None,
            "batch_status": status,
            "reason": "3 of 10 jobs failed.",
            "job_status_counts": {"FINISHED": 7, "FAILED": 3},
            "jobs": jobs,
            "jobs_total": len(jobs),
            "next_step": "Look at the failed jobs, then resubmit or skip them.",
            **payload,
        },
    }


def chain_event(**payload):
    return {
        "kind": "CHAIN_FAILED",
        "batch_id": 17,
        "activation_num": 1,
        "payload": {
            **LOCATION,
            "next_step_num": 2,
            "notebook_path": "workflows/Active_Q1/notebooks/Stage_04_A/Step_02_Summary.ipynb",
            "executed_path": "workflows/Active_Q1/runs/Step_02_Summary 1.ipynb",
            "error": "KeyError: 'portfolio' in cell 3",
            **payload,
        },
    }


def card_of(message):
    assert message["type"] == "message"
    [attachment] = message["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    return attachment["content"]


def card(event, links=NO_LINKS):
    return card_of(card_message(event, links=links))


def all_elements(node):
    """Every JSON object of a card."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from all_elements(item)


def runs(node):
    return [item["text"] for item in all_elements(node) if item.get("type") == "TextRun"]


def facts(card):
    return {
        fact["title"]: fact["value"]
        for item in all_elements(card)
        if item.get("type") == "FactSet"
        for fact in item["facts"]
    }


def test_a_failed_batch_is_shown_at_a_glance():
    shown = card(batch_event([job(4)]))

    assert runs(shown["body"][0]) == ["FAILED: Analysis, batch 17 — cycle Analysis-2025-Q1"]
    assert runs(shown["body"][1]) == ["Stage 4 Analysis, step 1 Submit Analysis"]
    assert facts(shown) == {
        "Batch": "17",
        "Jobs": "10 jobs: 3 failed, 7 finished",
        "When": "2025-03-01 09:30 UTC",
    }
    assert runs(shown["body"][-1])[0] == "Next: "


def test_a_job_is_named_by_what_it_was_made_from():
    jobs = [job(4, made_from="analysis: CAL EQ"), job(5, made_from="analysis: FL HU")]

    [reason] = [text for text in runs(card(batch_event(jobs))) if text.startswith("Jobs 4")]
    assert reason == (
        "Jobs 4 (analysis: CAL EQ; Moody's 900), 5 (analysis: FL HU; Moody's 900), failed: "
    )


@pytest.mark.parametrize(
    ("spoilt", "title"),
    [
        ({"kind": "BATCH_FAILED", "payload": {"batch_status": "FAILED"}}, "FAILED"),
        ({"kind": "BATCH_FAILED", "payload": {**LOCATION, "batch_status": "LOST"}}, "FAILED"),
        ({"kind": "BATCH_RECOVERED", "payload": {}}, "RECOVERED"),
        ({"kind": "SOMETHING_NEW", "payload": {"jobs": 7}}, "FAILED"),
    ],
)
def test_an_event_that_another_version_stored_is_shown_as_far_as_it_can_be(spoilt, title):
    event = {"batch_id": 17, "activation_num": 1, **spoilt}

    shown = card(event)
    digest, count = digest_message([(event, NO_LINKS), (batch_event([job(4)]), NO_LINKS)])

    assert runs(shown["body"][0]) == [f"{title}: batch 17 — cycle not told"]
    assert count == 2
    assert "cannot be read" in json.dumps(digest)


def test_jobs_of_an_event_that_did_not_note_what_they_were_made_from_are_named_by_number():
    old = job(4)
    del old["made_from"]

    assert "Job 4 (Moody's 900), failed: " in runs(card(batch_event([old])))


def test_the_card_is_of_a_version_that_teams_shows_and_has_a_fallback():
    shown = card(batch_event([job(4)]))

    assert shown["type"] == "AdaptiveCard"
    assert tuple(map(int, shown["version"].split("."))) <= (1, 4)
    assert shown["fallbackText"] == "FAILED: batch 17, stage 4, step 1."


@pytest.mark.parametrize(
    ("event", "title", "color"),
    [
        (batch_event(), "FAILED: Analysis, batch 17", "Attention"),
        (batch_event(status="ERROR"), "ERROR: Analysis, batch 17", "Attention"),
        (batch_event(status="CANCELLED"), "CANCELLED: Analysis, batch 17", "Warning"),
        (
            batch_event(kind="BATCH_RECOVERED", status="COMPLETED"),
            "RECOVERED: Analysis, batch 17",
            "Good",
        ),
        (chain_event(), "FAILED: step 2 of stage 4 (Analysis)", "Attention"),
    ],
)
def test_each_kind_has_its_title_and_color(event, title, color):
    [run] = card(event)["body"][0]["inlines"]

    assert run["text"] == f"{title} — cycle Analysis-2025-Q1"
    assert run["color"] == color


@pytest.mark.parametrize(
    "event",
    [
        batch_event([job(4)]),
        batch_event([job(4)], kind="JOBS_FAILED"),
        batch_event([job(4)], kind="JOBS_LATE"),
        batch_event(kind="BATCH_RECOVERED", status="COMPLETED"),
        chain_event(),
        batch_event(kind="SOMETHING_NEW"),
    ],
)
def test_every_form_of_a_message_names_the_batch(event):
    digest, _ = digest_message([(event, NO_LINKS)])
    for message in (card_message(event, links=NO_LINKS), digest, plain_message(event)):
        assert any("batch 17" in text for text in runs(message))


def test_a_repeated_activation_is_shown():
    assert facts(card(batch_event(activation_num=3)))["Batch"] == "17, attempt 3"


def test_jobs_with_one_reason_are_shown_together_with_their_ids():
    jobs = [job(4), job(5, workflow_id=None), job(6, reason=None, status="CANCELLED")]

    shown = runs(card(batch_event(jobs)))

    assert "Jobs 4 (Moody's 900), 5, failed: " in shown
    assert shown.count("EDM not found") == 1
    assert "Job 6 (Moody's 900), cancelled: " in shown
    assert "No reason was given." in shown


def test_a_failed_step_tells_the_notebooks_error_and_where_its_copy_is():
    shown = runs(card(chain_event()))

    assert "KeyError: 'portfolio' in cell 3" in shown
    assert "workflows/Active_Q1/runs/Step_02_Summary 1.ipynb" in "".join(shown)


def test_a_step_that_could_not_be_started_has_no_copy():
    shown = "".join(runs(card(chain_event(notebook_path=None, executed_path=None))))

    assert "Not started: " in shown
    assert "copy" not in shown


def test_many_reasons_are_cut_as_a_list_and_none_of_them_in_itself():
    reasons = [f"{number} " + "x" * 3_000 + f" end {number}" for number in range(20)]

    message = card_message(
        batch_event([job(i, reason) for i, reason in enumerate(reasons)], jobs_total=70),
        links=NO_LINKS,
    )

    shown = runs(message)
    whole = [reason for reason in reasons if reason in shown]
    assert whole == reasons[: len(whole)]
    assert len(whole) >= 5
    left = 20 - len(whole)
    assert f"… and {left} more reasons, {left + 50} more jobs." in shown
    assert size_of(message) <= MAX_MESSAGE_BYTES


def test_a_long_reason_that_fits_is_shown_whole():
    reason = "It began so. " + "x" * 15_900 + " And this is the cause."

    assert reason in runs(card(batch_event([job(4, reason), job(5)])))


@pytest.mark.parametrize("letter", ["é", "\N{EARTH GLOBE EUROPE-AFRICA}"])  # 6 and 12 bytes each
def test_a_reason_that_is_too_long_keeps_its_beginning_and_its_end(letter):
    reason = "It began so. " + letter * 15_900 + " And this is the cause."

    message = card_message(batch_event([job(4, reason), job(5)]), links=NO_LINKS)

    [shown] = [text for text in runs(message) if text.startswith("It began so.")]
    assert shown.endswith("And this is the cause.")
    assert MAX_MESSAGE_BYTES - 100 < size_of(message) <= MAX_MESSAGE_BYTES


def test_the_widest_names_and_links_leave_room_for_the_reason():
    wide = "\N{EARTH GLOBE EUROPE-AFRICA}" * 20_000
    names = dict.fromkeys(("cycle_name", "stage_name", "step_name", "batch_type"), wide)
    event = batch_event([job(4, wide, workflow_id=wide[:50])] * 50, **names, next_step=wide)
    links = Links(*(f"https://lab.example/{'a' * 980}",) * 3)

    for message in (card_message(event, links=links), digest_message([(event, links)] * 3)[0]):
        assert size_of(message) <= MAX_MESSAGE_BYTES


def test_the_size_is_that_of_the_message_as_it_is_sent():
    message = card_message(batch_event([job(4, "é" * 100)]), links=NO_LINKS)

    assert size_of(message) == len(json.dumps(message).encode())


HOSTILE = "[click](https://evil.example) ![x](y) **bold** <at>Everyone</at> {{DATE(2025-01-01)}}"


def test_foreign_text_stands_where_no_markdown_is_understood():
    event = batch_event(
        [job(4, HOSTILE, workflow_id=HOSTILE)],
        cycle_name=HOSTILE,
        stage_name=HOSTILE,
        step_name=HOSTILE,
        batch_type=HOSTILE,
        reason=HOSTILE,
        next_step=HOSTILE,
    )
    for shown in (card(event), card_of(digest_message([(event, NO_LINKS)])[0])):
        understood = [
            text
            for item in all_elements(shown)
            if item.get("type") != "TextRun"
            for text in item.values()
            if isinstance(text, str)
        ]
        assert not any("evil" in text or "Everyone" in text for text in understood)
        assert not any(item.get("type") == "TextBlock" for item in all_elements(shown))


def test_foreign_text_cannot_mention_people_or_make_times():
    shown = "".join(runs(card(batch_event([job(4, HOSTILE)]))))

    assert "<at>" not in shown
    assert "</at>" not in shown
    assert "{{" not in shown
    assert "[click](https://evil.example)" in shown  # told as it is


def test_terminal_sequences_and_direction_overrides_are_dropped():
    shown = runs(card(batch_event([job(4, "\x1b[31mred\x1b[0m \u202eevil\x00")])))

    assert "red evil" in shown


LINKS = Links(
    dashboard="https://dash.example/",
    notebook="https://lab.example/lab/tree/workflows/a.ipynb",
    executed_notebook="https://lab.example/lab/tree/workflows/b.ipynb",
)


def test_a_card_carries_the_links_that_are_set():
    actions = card(chain_event(), LINKS)["actions"]

    assert [action["url"] for action in actions] == [
        LINKS.executed_notebook,
        LINKS.notebook,
        LINKS.dashboard,
    ]
    assert {action["type"] for action in actions} == {"Action.OpenUrl"}
    assert card(chain_event())["actions"] == []


def test_a_digest_tells_each_event_with_its_location_reason_and_advice():
    message, count = digest_message([(batch_event([job(4)]), LINKS), (chain_event(), LINKS)])

    shown = runs(message)
    assert count == 2
    assert shown[0] == "2 events: 2 failed"
    assert "FAILED: Analysis, batch 17 — cycle Analysis-2025-Q1" in shown
    assert "Stage 4 Analysis, step 1 Submit Analysis · 10 jobs: 3 failed, 7 finished" in shown
    assert "EDM not found" in shown
    assert "KeyError: 'portfolio' in cell 3" in shown
    assert shown.count("Next: ") == 2
    assert [action["title"] for action in card_of(message)["actions"]] == ["Open dashboard"]


def test_two_hundred_events_take_few_digests_within_the_limit_and_in_order():
    left = [
        (batch_event([job(n, f"Reason {n}")], cycle_name=f"cycle {n}"), LINKS) for n in range(200)
    ]
    messages = []
    while left:
        message, count = digest_message(left)
        messages.append(message)
        left = left[count:]

    assert len(messages) <= 15
    assert all(size_of(message) <= MAX_MESSAGE_BYTES for message in messages)
    reasons = [text for text in runs(messages) if text.startswith("Reason ")]
    assert reasons == [f"Reason {n}" for n in range(200)]


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://dash.example", "https://dash.example"),
        (" http://localhost:8001/a b?q=é#x", "http://localhost:8001/a%20b?q=%C3%A9#x"),
        ("https://[::1]:8001/", "https://[::1]:8001/"),
        ("javascript:alert(1)", None),  # runs in the reader's client
        ("file:///etc/passwd", None),
        ("//dash.example/", None),  # no scheme
        ("https://user:secret@dash.example/", None),  # would show a password
        ("https://[oops/", None),
        ("https://dash.example/" + "a" * 1_000, None),
        ("", None),
        (None, None),
    ],
)
def test_only_web_addresses_become_links(url, address):
    assert dashboard_address(url) == address


@pytest.mark.parametrize(
    "path",
    [
        "workflows/Active_Q 1/notebooks/Stage_04_A/Step_02 (chained).ipynb",
        "Active_Q 1/notebooks/Stage_04_A/Step_02 (chained).ipynb",
        "/home/someone/workflows/Active_Q 1/notebooks/Stage_04_A/Step_02 (chained).ipynb",
        r"C:\work\Active_Q 1\notebooks\Stage_04_A\Step_02 (chained).ipynb",
    ],
)
@pytest.mark.parametrize("base", ["https://lab.example", "https://lab.example/lab/tree/"])
def test_a_notebooks_link_is_percent_encoded_whatever_its_path_starts_with(path, base):
    assert notebook_address(base, path) == (
        "https://lab.example/lab/tree/workflows/"
        "Active_Q%201/notebooks/Stage_04_A/Step_02%20%28chained%29.ipynb"
    )


@pytest.mark.parametrize(
    ("base", "folder"),
    [
        ("https://lab.example/user/me/lab/tree/workspace", "/user/me/lab/tree/workspace/workflows"),
        ("https://lab.example/lab/tree/a/lab/", "/lab/tree/a/lab/workflows"),
        ("https://lab.example/lab/tree/a/workflows", "/lab/tree/a/workflows"),
        ("https://lab.example/lab", "/lab/tree/workflows"),
        ("https://lab.example/user/me/", "/user/me/lab/tree/workflows"),
    ],
)
def test_a_notebooks_link_keeps_the_folder_that_jupyterlab_shows(base, folder):
    link = notebook_address(base, "Active_Q1/notebooks/x.ipynb")

    assert link == f"https://lab.example{folder}/Active_Q1/notebooks/x.ipynb"


@pytest.mark.parametrize("path", [None, "", "Step_01.ipynb", "Active_Q1/../../etc/passwd"])
def test_a_path_of_no_cycle_makes_no_link(path):
    assert notebook_address("https://lab.example", path) is None


def test_links_are_made_of_what_an_event_holds():
    payload, lab = chain_event()["payload"], "https://lab.example"

    assert dashboard_address(None) is None
    assert notebook_address(lab, payload["notebook_path"]).endswith("/Step_02_Summary.ipynb")
    copy = notebook_address(lab, payload["executed_path"])
    assert copy.endswith("/runs/Step_02_Summary%201.ipynb")

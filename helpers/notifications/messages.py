"""Turn events of the outbox into messages: a card each, digests, or short plain texts.

Where a card leads is looked up when it is made, and not when its event is stored: whatever the
workflows folder costs, no batch is locked meanwhile.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from helpers.constants import NotificationKind
from helpers.errors import NotebookError
from helpers.notifications.cards import Json, card_message, digest_message, plain_message
from helpers.notifications.content import Event
from helpers.notifications.links import (
    Links,
    dashboard_address,
    live_page_address,
    notebook_address,
)
from helpers.settings import get_settings
from helpers.workflow_paths import exists_below_workflows, find_step_notebook, relative_to_workflows

_LIVE_PAGE_ENABLED = Path("jupyter_server_config.d", "batch-monitoring.json")

DIGEST_FROM = 4
"""This many events due at once become digests in place of a card each."""


def thread_of(event: Event) -> tuple[int | None, int | None]:
    """Return what an event belongs to, a batch or a cycle: of each, events stay in order."""
    return event["batch_id"], event["cycle_id"]


@dataclass(frozen=True)
class Message:
    """A message with the events that it tells of."""

    content: Json
    events: Sequence[Event]
    is_plain: bool = False


def messages_of(waiting: Sequence[Event]) -> Iterator[Message]:
    """Give the messages that tell of these events: a card each, or digests."""
    reports = [event for event in waiting if event["kind"] == NotificationKind.MORNING_REPORT]
    linked = [(event, _links(event)) for event in waiting if event not in reports]
    yield from _of_events(linked)
    for report in reports:
        yield Message(card_message(report, links=_links(report)), [report])


def _of_events(linked: list[tuple[Event, Links]]) -> Iterator[Message]:
    if len(linked) < DIGEST_FROM:
        for event, links in linked:
            yield Message(card_message(event, links=links), [event])
        return
    while linked:
        content, count = digest_message(linked)
        yield Message(content, [event for event, _ in linked[:count]])
        linked = linked[count:]


def _links(event: Event) -> Links:
    """Return where an event's card leads, as the workflows folder is now."""
    settings, payload = get_settings(), event["payload"]
    lab, copy = settings.teams_default_jupyterlab_url, payload.get("executed_path")
    has_copy = copy is not None and exists_below_workflows(copy)
    return Links(
        dashboard=dashboard_address(settings.teams_default_dashboard_url or _live_page()),
        notebook=notebook_address(lab, _notebook_path(payload)),
        executed_notebook=notebook_address(lab, copy if has_copy else None),
    )


def _live_page() -> str | None:
    """Return where the live page is, if the Jupyter servers of this environment have it."""
    from jupyter_core.paths import jupyter_config_path  # noqa: PLC0415 - a pass seldom needs it

    enabled = (Path(folder, _LIVE_PAGE_ENABLED) for folder in jupyter_config_path())
    if find_spec("jupyter_server") is None or not any(path.is_file() for path in enabled):
        return None
    return live_page_address(get_settings().teams_default_jupyterlab_url)


def _notebook_path(payload: dict[str, Any]) -> str | None:
    """Return where the notebook lies that an event is about: the batch's or the next step's."""
    try:
        found = find_step_notebook(
            cycle_name=payload["cycle_name"],
            stage_num=payload["stage_num"],
            step_num=payload.get("next_step_num", payload["step_num"]),
            notebook_path=payload.get("notebook_path"),
        )
    except (NotebookError, LookupError, TypeError, ValueError):  # or of another version
        return payload.get("notebook_path")
    return relative_to_workflows(found)


def in_plain_form(message: Message) -> list[Message]:
    """Return a plain message for each event of a message; none if it is plain already."""
    if message.is_plain:
        return []
    return [Message(plain_message(event), [event], is_plain=True) for event in message.events]

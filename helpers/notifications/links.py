"""The links of a card. Pure.

Addresses come from the settings and paths from the metastore; whatever they hold, a link is an
http or https address, percent-encoded, without a password, or there is none.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import SplitResult, quote, urlsplit

from helpers.workflow_paths import ACTIVE_PREFIX

_HOST_AND_PORT = re.compile(r"[A-Za-z0-9._-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")
_LONGEST_ADDRESS = 1_000
# People give the server's address, or the one that they see, with a folder in it.
_LAB = re.compile(r"/lab(?:/tree(?P<folder>/.*)?)?$")


@dataclass(frozen=True)
class Links:
    """Where a card leads; None: nowhere."""

    dashboard: str | None = None
    notebook: str | None = None
    executed_notebook: str | None = None


def dashboard_address(url: str | None) -> str | None:
    """Return a configured address, fit for a card."""
    parts = _web_parts(url)
    if parts is None:
        return None
    query = f"?{quote(parts.query, safe='=&%+:,;/?')}" if parts.query else ""
    fragment = f"#{quote(parts.fragment, safe='=&%+:,;/?')}" if parts.fragment else ""
    return _checked(f"{_server_and_path(parts)}{query}{fragment}")


def live_page_address(jupyterlab_url: str | None) -> str | None:
    """Return where a Jupyter server with this package's extension shows the work."""
    parts = _web_parts(jupyterlab_url)
    return parts and _checked(f"{_server_and_folder(parts)[0]}/batch-monitoring/")


def notebook_address(jupyterlab_url: str | None, path: str | None) -> str | None:
    """Return where JupyterLab shows a notebook of a cycle.

    Args:
        jupyterlab_url: the server's address, whose root holds the ``workflows`` folder; or that of
            a folder as JupyterLab shows it, ``…/lab/tree/<folder>``.
        path: relative to any folder above the cycle's, or absolute, of this machine or another.
    """
    parts, tail = _web_parts(jupyterlab_url), _below_workflows(path or "")
    if parts is None or tail is None:
        return None
    server, folder = _server_and_folder(parts)
    return _checked(f"{server}/lab/tree{folder}/workflows/{quote(tail, errors='replace')}")


def _server_and_folder(parts: SplitResult) -> tuple[str, str]:
    """Return the address of a Jupyter server, and the folder in which ``workflows`` lies there."""
    address = _server_and_path(parts).rstrip("/")
    shown = _LAB.search(address)
    folder = ((shown and shown["folder"]) or "").removesuffix("/workflows")
    return address[: shown.start()] if shown else address, folder


def _below_workflows(path: str) -> str | None:
    parts = PurePosixPath(path.replace("\\", "/")).parts
    cycles = [i for i, part in enumerate(parts) if part.startswith(ACTIVE_PREFIX)]
    if not cycles or ".." in parts[cycles[0] :]:
        return None
    return "/".join(parts[cycles[0] :])


def _web_parts(url: str | None) -> SplitResult | None:
    try:
        parts = urlsplit((url or "").strip())
    except ValueError:
        return None
    is_web = parts.scheme in {"http", "https"} and _HOST_AND_PORT.fullmatch(parts.netloc)
    return parts if is_web else None


def _server_and_path(parts: SplitResult) -> str:
    path = quote(parts.path, safe="/%@:+,;=~", errors="replace")
    return f"{parts.scheme}://{parts.netloc}{path}"


def _checked(address: str) -> str | None:
    return address if len(address) <= _LONGEST_ADDRESS else None

"""Choose the kernel that runs a notebook on this machine, as JupyterLab does when it opens it."""

import shlex
import sys
from pathlib import Path

from jupyter_client.kernelspec import NATIVE_KERNEL_NAME, KernelSpec, KernelSpecManager
from nbformat import NotebookNode

from helpers.errors import NotebookError
from helpers.notebooks.file import table
from helpers.redaction import shown

_LONGEST_NAME = 100
_PYTHON = "python"


def choose_kernel(notebook: NotebookNode) -> tuple[str, str | None]:
    """Return the name of the kernel to use, and a remark if it is not the one it names.

    If that is not installed here, because the notebook was written on another machine, one of
    the same language takes its place. The notebook then names what runs it.

    Raises:
        NotebookError: there is no kernel for it; the message says what to do.
    """
    named, info = table(notebook.metadata, "kernelspec"), table(notebook.metadata, "language_info")
    wanted = str(named.get("name") or "")
    language = _normal(str(named.get("language") or info.get("name") or _PYTHON))
    installed = KernelSpecManager().find_kernel_specs()
    is_known = wanted.lower() in {name.lower() for name in installed}
    name = wanted if is_known else _of_language(language)
    if name is None:
        missing = f"“{shown(wanted or language, _LONGEST_NAME)}”"
        raise NotebookError(
            f"The kernel {missing} is not installed on this machine. Install it for the "
            "account that runs the monitor, or choose another in the notebook."
        )
    spec = _spec(name)
    notebook.metadata["kernelspec"] = NotebookNode(
        {**named, "name": name, "display_name": spec.display_name, "language": spec.language}
    )
    return name, None if is_known or not wanted else _replaced(wanted, name)


def runs_ipykernel(spec: KernelSpec | None) -> bool:
    """Tell whether a Python of this machine runs ipykernel, whose ways are known.

    A container or another machine may run it as well; its sockets cannot be reached by path.
    """
    program, *arguments = [*(spec.argv if spec else []), ""]
    module = arguments[arguments.index("-m") + 1] if "-m" in arguments[:-1] else ""
    return Path(program).name.startswith(_PYTHON) and module in {"ipykernel", "ipykernel_launcher"}


def _spec(name: str) -> KernelSpec:
    try:
        return KernelSpecManager().get_kernel_spec(name)
    except Exception as exc:  # a kernel.json that is cut off, not ours to read, of another shape
        known, reason = shown(name, _LONGEST_NAME), shown(str(exc))
        raise NotebookError(f"The kernel “{known}” is not usable: {reason}") from exc


def _of_language(language: str) -> str | None:
    """Return an installed kernel of this language; Python is always there."""
    if language == _PYTHON:
        return NATIVE_KERNEL_NAME
    specs = KernelSpecManager().get_all_specs()  # without those that cannot be read
    names = [name for name, spec in specs.items() if _normal(spec["spec"]["language"]) == language]
    return min(names, default=None)


def _normal(language: str) -> str:
    """Return a language as one word for its spellings, such as “Python” and “ipython”."""
    lower = language.strip().lower()
    return _PYTHON if lower.removeprefix("i").startswith(_PYTHON) else lower


def _replaced(wanted: str, name: str) -> str:
    known = shown(wanted, _LONGEST_NAME)
    remark = f"The kernel “{known}” is not installed on this machine; the notebook ran with "
    if name != NATIVE_KERNEL_NAME:
        return f"{remark}the kernel “{name}”."
    return (
        f"{remark}{sys.executable}. To install it, run this with the Python that it should use: "
        f"python -m ipykernel install --user --name {shlex.quote(known)}"
    )

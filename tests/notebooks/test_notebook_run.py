"""Runs of real notebooks in real kernels, ended in every way there is."""

import gc
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from helpers.notebooks import session
from helpers.notebooks.file import read_notebook
from helpers.notebooks.kernel_choice import choose_kernel
from helpers.notebooks.lease import Lease, lease_clock
from helpers.notebooks.run import Ending, NotebookOutcome, NotebookRun
from helpers.settings import get_settings
from tests.support.waiting import is_gone

PYTHON = {"name": "python3", "display_name": "Python 3", "language": "python"}
DEADLINE_SECONDS = 60
LONG = pytest.mark.faults

# One program of each kind: a plain child, one that ignores SIGTERM, one in a session of its own,
# and a daemon that has cut every tie to its parent and kept nothing of its environment.
START_PROGRAMS = """
import subprocess, sys, time
from pathlib import Path

note = "import os, time; n = 'started-{}'; open(n + '~', 'w').write(str(os.getpid()));"
note += "os.rename(n + '~', n); time.sleep(600)"
stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
daemon = "import os; os.fork() and os._exit(0); os.setsid(); os.fork() and os._exit(0);"
python = [sys.executable, "-c"]
started = [
    subprocess.Popen([*python, note.format(1)]),
    subprocess.Popen([*python, stubborn + note.format(2)]),
    subprocess.Popen([*python, note.format(3)], start_new_session=True),
    subprocess.Popen([*python, daemon + stubborn + note.format(4)], env={}),
]
while not all(Path(f"started-{n}").exists() for n in (1, 2, 3, 4)):
    time.sleep(0.02)
"""
PROGRAMS = 4
WAIT = "open('waiting', 'w').close()\nimport time\ntime.sleep(600)"


def write(path: Path, *cells: object, **metadata: object) -> Path:
    """Write a notebook of these cells; text is code."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nodes = [new_code_cell(cell) if isinstance(cell, str) else cell for cell in cells]
    notebook = new_notebook(cells=nodes)
    notebook.metadata = nbformat.from_dict({"kernelspec": PYTHON, **metadata})  # also not valid
    path.write_text(nbformat.v4.writes(notebook), encoding="utf-8")
    return path


def prepared(source: Path, *, timeout_seconds: float = DEADLINE_SECONDS, **options) -> NotebookRun:
    copy = source.parent / "runs" / f"{source.stem} executed.ipynb"
    return NotebookRun(source, copy, timeout_seconds=timeout_seconds, **options)


def run(source: Path, **options) -> NotebookOutcome:
    return prepared(source, **options).execute()


def cells_of(outcome: NotebookOutcome) -> list[nbformat.NotebookNode]:
    notebook = nbformat.read(outcome.executed_path, as_version=4)
    nbformat.validate(notebook)
    return notebook.cells


def wait_until(condition: Callable[[], object]) -> None:
    until = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def programs_in(folder: Path) -> list[psutil.Process]:
    """Return the programs that a notebook in this folder started and that are still there."""
    alive = []
    for note in folder.glob("started-?"):
        try:
            process = psutil.Process(int(note.read_text()))
            if process.status() != psutil.STATUS_ZOMBIE:
                alive.append(process)
        except psutil.NoSuchProcess:
            continue
    return alive


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def nothing_is_left_open() -> Iterator[None]:
    before = set(psutil.Process().children(recursive=True))
    yield
    gc.collect()  # what was not closed warns now, and a warning is an error
    assert set(psutil.Process().children(recursive=True)) <= before


def test_runs_all_cells_in_the_folder_of_the_notebook(tmp_path):
    source = write(
        tmp_path / "Übung 1.ipynb",
        new_markdown_cell("# Title"),
        "import os, sys; print(os.getcwd()); print('warned', file=sys.stderr)",
        "",
        "print(os.environ['IRP_NOTEBOOK_PATH'], os.environ['JPY_SESSION_NAME'])",
    )
    before = source.read_bytes()
    counted: list[tuple[int, int]] = []

    outcome = run(
        source,
        environment={"IRP_NOTEBOOK_PATH": "here"},
        on_cell=lambda done, total: counted.append((done, total)),
    )

    assert outcome.error is None
    assert outcome.stdout == f"{tmp_path}\nhere {source}\n"
    assert outcome.stderr == "warned\n"
    assert outcome.execution_seconds > 0
    assert [cell.get("execution_count") for cell in cells_of(outcome)] == [None, 1, None, 2]
    assert counted == [(0, 2), (1, 2), (2, 2)]
    assert source.read_bytes() == before
    assert files_in(tmp_path) == {"Übung 1.ipynb", "Übung 1 executed.ipynb"}


@pytest.fixture
def out_of_time(tmp_path, monkeypatch) -> Iterator[None]:
    """Let all the time that a run has pass as soon as one of its cells waits."""
    is_over = threading.Event()
    real = time.monotonic
    monkeypatch.setattr(session, "monotonic", lambda: real() + (3600 if is_over.is_set() else 0))

    def watch() -> None:
        wait_until((tmp_path / "waiting").exists)
        is_over.set()

    watching = threading.Thread(target=watch)
    watching.start()
    yield
    watching.join()


FAILURES = {  # the second line of the cell, what people read
    "raises": ("raise KeyError('portfolio')", r": KeyError: 'portfolio'$"),
    "raises at length": ("raise OSError('x' * 9000 + 'cause')", r"OSError: x+ \[…\] x+cause$"),
    "raises nothing to say": ("raise RuntimeError", r"”: RuntimeError$"),
    "raises colours": (r"raise OSError('\x1b[31mred\x1b[0m\x00')", r"”: OSError: red$"),
    "ends its kernel": ("import os; os._exit(7)", r"the kernel ended by itself, with status 7"),
    "kills its kernel": ("import os; os.kill(os.getpid(), 9)", r"SIGKILL\), perhaps .*memory"),
    "kills its group": ("import os; os.killpg(0, 9)", r"SIGKILL\), perhaps .*memory"),
    "crashes its kernel": ("import os; os.abort()", r"the kernel crashed \(SIGABRT\)"),
    "asks for input": ("input()", r"StdinNotImplementedError"),
}


def assert_failed_in_its_second_cell(source: Path, error: str) -> None:
    before = source.read_bytes()

    outcome = run(source)

    assert outcome.ending is Ending.FAILED
    assert outcome.error.startswith("Cell 2 “# Load it”")
    assert re.search(error, outcome.error)
    assert len(outcome.error) <= 4000
    assert "\n" not in outcome.error
    assert outcome.stdout == "first\n"
    first, failed, unreached = cells_of(outcome)
    assert first.outputs[0].text == "first\n"
    assert failed.outputs[-1].output_type == "error"
    assert unreached.outputs == []
    assert source.read_bytes() == before


def of_three_cells(folder: Path, cell: str) -> Path:
    stale = new_code_cell("print('never')", outputs=[new_output("stream", text="old")])
    return write(folder / "a.ipynb", "print('first')", f"# Load it\n{cell}", stale)


@pytest.mark.parametrize(("cell", "error"), FAILURES.values(), ids=FAILURES)
def test_a_failure_names_its_cell_and_leaves_a_copy(tmp_path, cell, error):
    assert_failed_in_its_second_cell(of_three_cells(tmp_path, cell), error)


@pytest.mark.usefixtures("out_of_time")
@pytest.mark.parametrize("stubborn", ["", "import signal; signal.signal(15, signal.SIG_IGN)\n"])
def test_a_notebook_that_takes_too_long_is_stopped(tmp_path, stubborn):
    source = of_three_cells(tmp_path, stubborn + WAIT)
    assert_failed_in_its_second_cell(source, r"was stopped after .* 60 seconds, the longest")


ENDINGS = {  # the last cell, what the run must report
    "finishes": ("pass", None),
    "raises": ("1 / 0", "ZeroDivisionError"),
    "ends its kernel": ("import os; os._exit(0)", "ended by itself"),
    "kills its kernel": ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
}


def assert_leaves_nothing_running(source: Path, error: str | None) -> None:
    outcome = run(source)

    assert (error is None) if outcome.error is None else (error in outcome.error)
    assert len(list(source.parent.glob("started-?"))) == PROGRAMS
    assert programs_in(source.parent) == []


@pytest.mark.parametrize(("cell", "error"), ENDINGS.values(), ids=ENDINGS)
def test_nothing_that_a_notebook_started_outlives_it(tmp_path, cell, error):
    assert_leaves_nothing_running(write(tmp_path / "a.ipynb", START_PROGRAMS, cell), error)


@pytest.mark.usefixtures("out_of_time")
def test_nothing_outlives_a_notebook_that_takes_too_long(tmp_path):
    source = write(tmp_path / "a.ipynb", START_PROGRAMS, WAIT)
    assert_leaves_nothing_running(source, "was stopped after")


def test_a_notebook_that_ends_well_runs_its_exit_handlers(tmp_path):
    cell = "import atexit; atexit.register(lambda: open('handled', 'w').close())"
    run(write(tmp_path / "a.ipynb", cell))
    assert (tmp_path / "handled").exists()


def test_stop_ends_a_run_and_all_that_it_started(tmp_path):
    source = write(tmp_path / "a.ipynb", START_PROGRAMS, f"print('so far', flush=True)\n{WAIT}")
    stoppable = prepared(source)

    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(stoppable.execute)
        wait_until((tmp_path / "waiting").exists)
        stoppable.stop("The chain run was lost.")
        stoppable.stop("A second reason.")
        outcome = future.result(DEADLINE_SECONDS)

    assert outcome.ending is Ending.STOPPED
    assert outcome.error == (
        "The chain run was lost. Cell 2 “print('so far', flush=True)” was running."
    )
    assert outcome.stdout == "so far\n"
    assert cells_of(outcome)[1].outputs[-1].ename == "Stopped"
    assert programs_in(tmp_path) == []


def test_stop_before_the_start_runs_nothing(tmp_path):
    called = []
    source = write(tmp_path / "a.ipynb", "open('ran', 'w')")
    stopped = prepared(source, on_cell=lambda *counts: called.append(counts))
    stopped.stop("Not today.")

    assert stopped.execute() == NotebookOutcome.stopped("Not today.")
    assert called == []
    assert files_in(tmp_path) == {"a.ipynb"}


def test_stop_while_the_kernel_starts(tmp_path):
    source = write(tmp_path / "a.ipynb", "open('ran', 'w')")
    stoppable = prepared(source)
    before = set(psutil.Process().children(recursive=True))

    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(stoppable.execute)
        wait_until(lambda: set(psutil.Process().children(recursive=True)) - before)
        stoppable.stop("Not today.")
        outcome = future.result(DEADLINE_SECONDS)

    assert (outcome.ending, outcome.error) == (Ending.STOPPED, "Not today.")
    assert not (tmp_path / "ran").exists()
    assert set(psutil.Process().children(recursive=True)) == before


def test_stop_after_the_end_changes_nothing(tmp_path):
    finished = prepared(write(tmp_path / "a.ipynb", "1"))
    outcome = finished.execute()
    finished.stop("Too late.")
    assert (outcome.ending, outcome.error) == (Ending.SUCCEEDED, None)


def test_a_deadline_that_the_start_misses(tmp_path):
    outcome = run(write(tmp_path / "a.ipynb", "open('ran', 'w')"), timeout_seconds=0.05)
    assert re.fullmatch(r"The kernel had not started after 0\.1 seconds, the .*", outcome.error)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("", "does not hold JSON"),
        ("{ cut off", "does not hold JSON"),
        (b"\xff\xfe\x00", "does not hold JSON"),
        ("[]", "is not a notebook that can be run"),
        ('{"a": 1}', "is no"),
        ('{"nbformat": 99, "nbformat_minor": 0, "metadata": {}, "cells": []}', "version 99"),
        ('{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}', "cells"),
        ('{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [3]}', "is no"),
        (None, "cannot be read: No such file"),
    ],
)
def test_what_is_no_notebook_is_reported_in_a_sentence(tmp_path, content, error):
    source = tmp_path / "a.ipynb"
    if content is not None:
        source.write_bytes(content if isinstance(content, bytes) else content.encode())

    outcome = run(source)

    assert outcome.error.startswith("a.ipynb ")
    assert error in outcome.error
    assert outcome.executed_path is None
    assert files_in(tmp_path) <= {"a.ipynb"}


def test_runs_a_notebook_without_cell_ids_and_kernel(tmp_path):
    source = tmp_path / "old.ipynb"
    cell = {"cell_type": "code", "metadata": {}, "source": ["print(1)"], "outputs": []}
    cells = [cell | {"execution_count": 3}, cell | {"execution_count": None, "unheard": "of"}]
    source.write_text(
        json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells})
    )
    outcome = run(source)
    assert (outcome.error, outcome.stdout) == (None, "1\n1\n")


@pytest.mark.parametrize(
    ("cell", "ending", "error"),
    [("1", Ending.SUCCEEDED, None), ("1 / 0", Ending.FAILED, "ZeroDivisionError")],
)
def test_a_copy_that_cannot_be_written_takes_the_outputs_and_not_the_work(
    tmp_path, cell, ending, error
):
    source = write(tmp_path / "a.ipynb", cell)
    (tmp_path / "runs").write_text("a file where the folder should be")

    outcome = run(source)

    assert (outcome.ending, outcome.executed_path) == (ending, None)
    assert (error is None) if outcome.error is None else (error in outcome.error)
    (lost,) = outcome.remarks
    assert lost.startswith("The outputs are lost")
    assert lost.endswith(f"could not be written to {tmp_path / 'runs'}: File exists.")
    assert outcome.stderr == f"{lost}\n"
    assert files_in(tmp_path) == {"a.ipynb", "runs"}


def test_no_secret_reaches_the_outcome_or_the_copy(tmp_path, monkeypatch):
    secret = "s3cret&token"
    monkeypatch.setenv("RISK_MODELER_API_KEY", secret)
    get_settings.cache_clear()
    source = write(
        tmp_path / "a.ipynb",
        "import os, sys, time; key = os.environ['RISK_MODELER_API_KEY']",
        "sys.stdout.write(key[:5]); sys.stdout.flush(); time.sleep(0.5); print(key[5:])",
        "print(key, file=sys.stderr)",
        "from IPython.display import HTML, JSON, display\nimport html",
        "display(HTML(html.escape(key)), JSON({key: [key]}))\nkey",
        "raise ValueError(key)",
    )

    outcome = run(source)

    assert outcome.error == "Cell 6 “raise ValueError(key)”: ValueError: ***"
    assert (outcome.stdout, outcome.stderr) == ("***\n", "***\n")
    text = outcome.executed_path.read_text()
    assert "***" in text
    for spelling in ("s3cret", "token"):
        assert spelling not in text


def test_what_is_shown_has_no_terminal_sequences_and_keeps_markup_as_text(tmp_path):
    source = write(tmp_path / "a.ipynb", r"print('\x1b[31m<script>alert(1)</script>\x1b[0m')")
    outcome = run(source)
    assert outcome.stdout == "<script>alert(1)</script>\n"
    assert cells_of(outcome)[0].outputs[0].output_type == "stream"


def test_tags_mean_what_they_mean_to_nbclient(tmp_path):
    counted = []
    source = write(
        tmp_path / "a.ipynb",
        new_code_cell("1 / 0", metadata={"tags": ["raises-exception"]}),
        new_code_cell("open('ran', 'w')", metadata={"tags": ["skip-execution"]}),
        "print('went on')",
    )
    outcome = run(source, on_cell=lambda *counts: counted.append(counts))
    assert (outcome.error, outcome.stdout) == (None, "went on\n")
    assert counted == [(0, 2), (1, 2), (2, 2)]
    assert not (tmp_path / "ran").exists()


EXITS = {  # the second cell, the error; cells behind it are never run
    "exit()": None,
    "quit": None,
    "exit(0)": None,
    "exit(keep_kernel=True)": None,
    "import sys; sys.exit()": None,
    "import sys; sys.exit(0)": None,
    "raise SystemExit(None)": None,
    "exit(3)": "SystemExit: 3",
    "quit('no portfolio')": "SystemExit: no portfolio",
    "import sys; sys.exit(2)": "SystemExit: 2",
    "import sys; sys.exit('no portfolio')": "SystemExit: no portfolio",
    "exit(); 1 / 0": "ZeroDivisionError: division by zero",
}


SPELLINGS = {  # of what another cell says as well
    "quit",
    "exit(0)",
    "import sys; sys.exit()",
    "raise SystemExit(None)",
    "quit('no portfolio')",
    "import sys; sys.exit('no portfolio')",
}


@pytest.mark.parametrize(
    ("cell", "error"),
    [
        pytest.param(*each, id=each[0], marks=[LONG] if each[0] in SPELLINGS else [])
        for each in EXITS.items()
    ],
)
def test_a_run_ends_in_the_cell_that_exits(tmp_path, cell, error):
    behind = ["open('ran', 'w')"] * 3
    outcome = run(write(tmp_path / "a.ipynb", "print(1)", cell, *behind))

    assert not (tmp_path / "ran").exists()
    assert outcome.stdout == "1\n"
    if error:
        assert (outcome.ending, outcome.remarks) == (Ending.FAILED, ())
        assert outcome.error == f"Cell 2 “{cell}”: {error}"
    else:
        remark = f"Cells 3 to 5 were not run: Cell 2 “{cell}” ended the notebook."
        assert (outcome.ending, outcome.error) == (Ending.SUCCEEDED, None)
        assert outcome.remarks == (remark,)
        assert remark in outcome.stderr
        assert any(remark in str(output) for output in cells_of(outcome)[1].outputs)


def test_an_exit_in_the_last_cell_has_left_nothing_out(tmp_path):
    outcome = run(write(tmp_path / "a.ipynb", "print(1)", "exit()"))
    assert (outcome.ending, outcome.stdout, outcome.remarks) == (Ending.SUCCEEDED, "1\n", ())


SHOWN_ERRORS = {  # a cell that ends well although it shows an error, and that error
    "%run script.py": "ZeroDivisionError: division by zero",
    "get_ipython().run_cell('1 / 0')": "ZeroDivisionError: division by zero",
    "try:\n    {}[1]\nexcept KeyError:\n    get_ipython().showtraceback()": "KeyError: 1",
    "class A:\n    def __repr__(self): raise ValueError('odd')\ndisplay(A())": "ValueError: odd",
    # What stands last in a cell is shown as well; IPython's reply knows no name for this.
    "class A:\n    def __repr__(self): raise ValueError('odd')\nA()": "ValueError: odd",
}


@pytest.mark.parametrize(("cell", "error"), SHOWN_ERRORS.items())
def test_a_cell_that_shows_an_error_fails_unless_its_tag_allows_it(tmp_path, cell, error):
    (tmp_path / "script.py").write_text("1 / 0")
    tagged = new_code_cell(cell, metadata={"tags": ["raises-exception"]})
    outcome = run(write(tmp_path / "a.ipynb", tagged, "print(1)", cell, "print(2)"))

    assert outcome.ending is Ending.FAILED
    assert outcome.error.startswith("Cell 3 “")
    assert outcome.error.endswith(f"”: {error}")
    assert outcome.stdout == "1\n"


def test_an_error_that_a_thread_of_an_earlier_cell_shows_later_fails_the_run(tmp_path):
    thread = (
        "import threading\ngo = threading.Event()\n"
        "def show():\n    go.wait()\n    get_ipython().run_cell('1 / 0')\n"
        "worker = threading.Thread(target=show)\nworker.start()"
    )
    outcome = run(write(tmp_path / "a.ipynb", thread, "go.set(); worker.join()"))
    assert outcome.ending is Ending.FAILED
    assert "ZeroDivisionError" in outcome.error


# What a kernel may send beside what its protocol knows: {content} of a {kind} of message.
SEND = """
kernel = get_ipython().kernel
kernel.session.send(kernel.iopub_socket, {kind!r}, {content!r}, parent=kernel.get_parent());
"""
ODD = [
    ("comm_open", {"comm_id": "a", "data": "text", "target_name": "jupyter.widget"}),
    ("comm_msg", {"comm_id": "a", "data": "a state"}),
    ("comm_msg", {}),
    ("stream", {"name": "stdout", "text": 3}),
    ("stream", {"name": [], "text": "x"}),
    ("stream", {}),
    ("display_data", {"data": "text"}),
    ("display_data", {"data": {"text/plain": "x"}, "metadata": {}, "transient": []}),
    ("execute_result", {"data": {}, "metadata": {}, "execution_count": "x"}),
    ("update_display_data", {"data": 1, "metadata": None, "transient": {"display_id": {}}}),
    ("status", {}),
    ("status", {"execution_state": ["idle"]}),
    ("unheard_of", {"data": None}),
]


def test_whatever_a_kernel_sends_ends_in_a_result(tmp_path):
    sent = [SEND.format(kind=kind, content=content) for kind, content in ODD]
    cells = [f"print('cell', {n}, flush=True)\n{send}" for n, send in enumerate(sent)]
    outcome = run(write(tmp_path / "a.ipynb", *cells, "print('end')"))
    assert (outcome.ending, outcome.error) == (Ending.SUCCEEDED, None)
    for number, cell in enumerate(cells_of(outcome)[:-1]):
        assert f"cell {number}\n" in str(cell.outputs[0].text), ODD[number]
    assert outcome.stdout.endswith("end\n")


def test_an_error_of_an_odd_shape_fails_the_run(tmp_path):
    send = SEND.format(kind="error", content={"traceback": "text"})
    outcome = run(write(tmp_path / "a.ipynb", f"print(1, flush=True)\n{send}", "print(2)"))
    assert outcome.ending is Ending.FAILED
    assert outcome.stdout == "1\n"
    assert cells_of(outcome)[0].outputs


@pytest.mark.parametrize("number", [4_000, pytest.param(20_000, marks=LONG)])
def test_nothing_that_a_cell_prints_is_lost_however_fast(tmp_path, number):
    lines = f"for i in range({number}):\n    print(i, flush=True)"
    outcome = run(write(tmp_path / "a.ipynb", lines), timeout_seconds=250)
    (output,) = cells_of(outcome)[0].outputs
    assert output.text == "".join(f"{i}\n" for i in range(number))


def test_what_a_thread_prints_belongs_to_the_cell_that_started_it(tmp_path):
    thread = (
        "import threading\ngo = threading.Event()\n"
        "worker = threading.Thread(target=lambda: (go.wait(), print('late', flush=True)))\n"
        "worker.start()"
    )
    outcome = run(write(tmp_path / "a.ipynb", thread, "go.set(); worker.join(); print('last')"))
    assert sorted(outcome.stdout.split()) == ["last", "late"]


FLOODS = {  # outputs of some 400 MB, or of 40 MB in objects
    "displays": "from IPython.display import HTML, display\n"
    "for _ in range(200):\n    display(HTML('x' * 2_000_000))",
    "one stream in pieces": "for _ in range(8_000):\n    print('x' * 50_000, end='', flush=True)",
    "one print": "print('x' * 100_000_000)",
    "small displays": "for _ in range(40_000):\n    display(1)",
}
LONG_FLOODS = {"small displays", "one stream in pieces"}
MEASURE = """
import re, sys
from pathlib import Path
from helpers.notebooks.run import NotebookRun
source = Path(sys.argv[1])
outcome = NotebookRun(source, source.with_name("executed.ipynb"), timeout_seconds=250).execute()
# getrusage counts from before the program was started, when it was still its parent.
kilobytes = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]
print(int(kilobytes) // 1024, outcome.error, sep="\\n")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="tells its memory by /proc")
@pytest.mark.parametrize(
    "cell",
    [
        pytest.param(cell, id=name, marks=[LONG] if name in LONG_FLOODS else [])
        for name, cell in FLOODS.items()
    ],
)
def test_a_flood_of_outputs_takes_little_memory_and_is_marked(tmp_path, cell):
    source = write(tmp_path / "a.ipynb", cell)
    command = [sys.executable, "-c", MEASURE, str(source)]

    done = subprocess.run(command, capture_output=True, check=True, text=True)

    megabytes, error = done.stdout.splitlines()
    assert error == "None"
    assert int(megabytes) < 300
    assert (tmp_path / "executed.ipynb").stat().st_size < 25_000_000
    (flooded,) = nbformat.read(tmp_path / "executed.ipynb", as_version=4).cells
    assert any("was not kept" in str(output) for output in flooded.outputs)


LOADED = """
import importlib.util, sys
from pathlib import Path
from helpers.notebooks.run import NotebookRun
source = Path(sys.argv[1])
outcome = NotebookRun(source, source.with_name("executed.ipynb"), timeout_seconds=250).execute()
loaded = "rfc3987_syntax" in sys.modules
print(outcome.error, loaded, importlib.util.find_spec("rfc3987_syntax") is not None)
"""


def test_a_run_builds_no_grammar_that_no_notebook_needs_and_leaves_it_to_others(tmp_path):
    if importlib.util.find_spec("rfc3987_syntax") is None:
        pytest.skip("rfc3987_syntax is not installed")
    source = write(tmp_path / "a.ipynb", "1")
    command = [sys.executable, "-c", LOADED, str(source)]
    environment = {**os.environ, "PYTHONPATH": ""}  # with all that is installed

    done = subprocess.run(command, env=environment, capture_output=True, check=True, text=True)

    assert done.stdout == "None False True\n"


def test_a_python_kernel_of_another_machine_is_replaced_and_that_is_reported(tmp_path):
    spec = {"name": "irp-laptop", "display_name": "IRP", "language": "python"}
    outcome = run(write(tmp_path / "a.ipynb", "print(1)", kernelspec=spec))
    assert (outcome.error, outcome.stdout) == (None, "1\n")
    assert "“irp-laptop” is not installed on this machine" in outcome.stderr
    assert "python -m ipykernel install --user --name irp-laptop" in outcome.stderr
    used = nbformat.read(outcome.executed_path, as_version=4).metadata.kernelspec
    assert used.name == "python3"


OPENED = {  # what JupyterLab opens and nbclient runs
    "no display name": {"kernelspec": {"name": "python3"}},
    "no name": {"kernelspec": {"display_name": "Python", "language": "python"}},
    "no kernel at all": {"kernelspec": {}},
    "nothing if a kernel should be": {"kernelspec": None},
    "another spelling": {"kernelspec": {"name": "laptop", "language": "Python"}},
    "an older spelling": {"kernelspec": {"name": "l"}, "language_info": {"name": "ipython"}},
    "capitals": {"kernelspec": {"name": "Python3"}},
    "not tables": {"kernelspec": "python3", "language_info": []},
}


@pytest.mark.parametrize("metadata", OPENED.values(), ids=OPENED)
def test_what_jupyterlab_opens_gets_the_kernel_of_python_and_is_valid(tmp_path, metadata):
    notebook = read_notebook(write(tmp_path / "a.ipynb", "print(1)", **metadata))
    assert choose_kernel(notebook)[0].lower() == "python3"
    assert notebook.metadata.kernelspec.language == "python"
    notebook.metadata.language_info = {"name": "python"}  # as a session puts it there
    nbformat.validate(notebook)


ODDEST = {"an older spelling", "capitals", "not tables"}


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param(metadata, id=name, marks=[] if name in ODDEST else [LONG])
        for name, metadata in OPENED.items()
    ],
)
def test_what_jupyterlab_opens_runs_and_its_copy_is_valid(tmp_path, metadata):
    outcome = run(write(tmp_path / "a.ipynb", "print(1)", **metadata))
    assert (outcome.ending, outcome.stdout) == (Ending.SUCCEEDED, "1\n")
    cells_of(outcome)
    used = nbformat.read(outcome.executed_path, as_version=4).metadata
    assert used.kernelspec.language == used.language_info.name == "python"


@pytest.fixture
def install(tmp_path, monkeypatch) -> Callable[..., None]:
    """Install a kernel of this name and language that is started by this command."""
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))

    def installed(name: str, *argv: str, language: str = "python") -> None:
        folder = tmp_path / "jupyter" / "kernels" / name
        folder.mkdir(parents=True)
        spec = {"argv": argv, "display_name": name.title(), "language": language}
        (folder / "kernel.json").write_text(json.dumps(spec))

    return installed


LAUNCH = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]


def test_a_kernel_of_another_language_that_is_missing_is_refused(tmp_path):
    spec = {"name": "ir", "display_name": "R", "language": "R"}
    outcome = run(write(tmp_path / "a.ipynb", "1", kernelspec=spec))
    assert outcome.error.startswith("The kernel “ir” is not installed on this machine. Install it")
    assert outcome.executed_path is None


@pytest.mark.parametrize("named", [{"name": "julia-1.9", "language": "Julia"}, {}])
def test_another_kernel_of_the_same_language_takes_the_location_of_one_that_is_missing(
    tmp_path, install, named
):
    install("julia-1.11", *LAUNCH, language="julia")
    metadata = {"kernelspec": named, "language_info": {"name": "julia"}}
    outcome = run(write(tmp_path / "a.ipynb", "print(1)", **metadata))
    assert (outcome.ending, outcome.stdout) == (Ending.SUCCEEDED, "1\n")
    assert bool(outcome.remarks) == bool(named)
    used = nbformat.read(outcome.executed_path, as_version=4).metadata.kernelspec
    assert used.name == "julia-1.11"


def test_a_kernel_that_knows_tcp_only_is_spoken_to_through_tcp(tmp_path, install):
    script = tmp_path / "kernel.py"
    script.write_text(
        "import json, os, sys\n"
        "assert json.load(open(sys.argv[1]))['transport'] == 'tcp'\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'ipykernel_launcher', '-f', sys.argv[1]])"
    )
    install("deno", sys.executable, str(script), "{connection_file}", language="typescript")
    outcome = run(write(tmp_path / "a.ipynb", "print(1)", kernelspec={"name": "deno"}))
    assert (outcome.error, outcome.stdout) == (None, "1\n")


def echo(*lines: str) -> list[str]:
    return [sys.executable, "-c", f"import sys; sys.exit({chr(10).join(lines)!r})"]


@pytest.mark.parametrize(
    ("argv", "error"),
    [
        ([sys.executable, "-m", "no_such_kernel", "{connection_file}"], "No module named no_such"),
        (["/no/such/python", "{connection_file}"], "No such file or directory: '/no/such/python'"),
        (
            echo("error: Uncaught Error: no port", "    at main (x.ts:1)", "    at [ext:cli:9]"),
            "did not start: error: Uncaught Error: no port",
        ),
        ([sys.executable, "-c", "import os; os._exit(3)"], "Kernel died before replying"),
    ],
)
def test_a_kernel_that_cannot_start_says_why(tmp_path, install, argv, error):
    install("broken", *argv)
    outcome = run(write(tmp_path / "a.ipynb", "1", kernelspec={"name": "broken"}))
    assert outcome.ending is Ending.FAILED
    assert outcome.error.startswith("The kernel “broken” did not start: ")
    assert error in outcome.error


def test_runs_where_the_path_of_the_temporary_folder_is_long(tmp_path, monkeypatch):
    folder = tmp_path / ("é" * 60)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    outcome = run(write(tmp_path / "a.ipynb", "print(1)"))
    assert (outcome.error, outcome.stdout) == (None, "1\n")
    assert list(folder.iterdir()) == []


def test_runs_side_by_side_without_leaving_files_or_threads_open(tmp_path):
    run(write(tmp_path / "first.ipynb", "1"))  # what is opened once and kept
    files, threads = psutil.Process().num_fds(), threading.active_count()
    sources = [write(tmp_path / str(n) / "a.ipynb", f"print({n})") for n in range(4)]

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(run, sources))

    assert [outcome.stdout for outcome in outcomes] == ["0\n", "1\n", "2\n", "3\n"]
    gc.collect()
    assert psutil.Process().num_fds() == files
    assert threading.active_count() == threads


def test_a_display_that_cannot_show_progress_does_not_fail_the_notebook(tmp_path):
    def fail(done: int, total: int) -> None:
        raise OSError(5, "the terminal is gone")

    outcome = run(write(tmp_path / "a.ipynb", "print(7)"), on_cell=fail)

    assert (outcome.error, outcome.stdout) == (None, "7\n")


SCRIPT = """
import sys
from pathlib import Path
from helpers.notebooks.run import NotebookRun
source = Path(sys.argv[1])
run = NotebookRun(source, source.with_name("executed.ipynb"), timeout_seconds=60)
print(run.execute())
"""


@pytest.fixture
def monitor(tmp_path) -> Iterator[subprocess.Popen[bytes]]:
    """A process of its own that runs a notebook which has started its programs and waits."""
    source = write(tmp_path / "a.ipynb", START_PROGRAMS, WAIT)
    (tmp_path / "tmp").mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(source)],
        env=os.environ | {"TMPDIR": str(tmp_path / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        wait_until((tmp_path / "waiting").exists)
        yield process
        process.kill()


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM], ids=lambda s: s.name)
def test_all_is_ended_when_the_monitor_is_killed(tmp_path, monitor, signum):
    below = psutil.Process(monitor.pid).children(recursive=True)  # the watchdog, the kernel, …
    assert len(programs_in(tmp_path)) == PROGRAMS

    monitor.send_signal(signum)
    assert monitor.wait(DEADLINE_SECONDS) == -signum

    wait_until(lambda: not programs_in(tmp_path))
    assert psutil.wait_procs(below, timeout=DEADLINE_SECONDS)[1] == []
    assert list((tmp_path / "tmp").iterdir()) == []


def test_an_interrupt_cleans_up_and_comes_out(tmp_path, monitor):
    monitor.send_signal(signal.SIGINT)
    _, complaint = monitor.communicate(timeout=DEADLINE_SECONDS)

    assert monitor.returncode == -signal.SIGINT
    assert complaint.rstrip().endswith(b"KeyboardInterrupt")
    assert programs_in(tmp_path) == []
    assert list((tmp_path / "tmp").iterdir()) == []
    error = nbformat.read(tmp_path / "executed.ipynb", as_version=4).cells[1].outputs[-1]
    assert error.evalue.startswith("Interrupted. Cell 2")


def test_an_interrupt_of_the_whole_terminal_is_borne_by_the_watchdog(tmp_path, monitor):
    (watchdog,) = psutil.Process(monitor.pid).children()
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        watchdog.send_signal(signum)
    monitor.kill()
    wait_until(lambda: not programs_in(tmp_path))
    assert psutil.wait_procs([watchdog], timeout=DEADLINE_SECONDS)[1] == []


FROZEN = """
import sys, threading
from pathlib import Path
from helpers.notebooks.lease import Lease, lease_clock
from helpers.notebooks.run import NotebookRun
source = Path(sys.argv[1])
lease = Lease(lease_clock(), seconds=10)
ended = threading.Event()
def beat():
    while not ended.wait(0.2):
        lease.renew(lease_clock())
threading.Thread(target=beat).start()
run = NotebookRun(source, source.with_name("executed.ipynb"), timeout_seconds=100, lease=lease)
outcome = run.execute()
ended.set()
print(outcome.ending, outcome.error)
"""


def test_the_notebook_of_a_monitor_that_is_frozen_is_ended_with_all_that_it_started(tmp_path):
    source = write(tmp_path / "a.ipynb", START_PROGRAMS, WAIT)
    command = [sys.executable, "-c", FROZEN, str(source)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        wait_until((tmp_path / "waiting").exists)
        assert len(programs_in(tmp_path)) == PROGRAMS
        below = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGSTOP)
        try:
            wait_until(lambda: all(is_gone(child.pid) for child in below))
            assert programs_in(tmp_path) == []
        finally:
            process.send_signal(signal.SIGCONT)
        message, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert message.startswith("STOPPED The notebook was stopped: the claim under which it ran had ")
    assert "not been renewed for 10 seconds. Cell 2" in message


def test_no_kernel_is_started_under_a_lease_that_has_expired(tmp_path):
    lease = Lease(lease_clock() - 46)
    outcome = run(write(tmp_path / "a.ipynb", "open('ran', 'w')"), lease=lease)
    assert outcome.ending is Ending.STOPPED
    assert "had not been renewed for 45 seconds" in outcome.error
    assert not (tmp_path / "ran").exists()


INNER = """
from pathlib import Path
from helpers.notebooks.run import NotebookRun
inner = Path("inner/b.ipynb").resolve()
"""


def test_runs_from_within_a_kernel_in_its_main_thread_and_in_others(tmp_path):
    """A kernel's main thread has an event loop that runs; the monitor lives in one."""
    write(tmp_path / "inner" / "b.ipynb", "print('inside')")
    execute = "NotebookRun(inner, inner.with_name('copy.ipynb'), timeout_seconds=60).execute()"
    source = write(
        tmp_path / "a.ipynb",
        INNER,
        f"print({execute}.stdout)",
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(1) as pool:\n"
        f"    print(pool.submit(lambda: {execute}).result().stdout)",
    )
    outcome = run(source)
    assert (outcome.error, outcome.stdout) == (None, "inside\n\ninside\n\n")
    assert outcome.stderr == ""


def test_the_end_of_an_outer_notebook_ends_the_inner_one(tmp_path):
    write(tmp_path / "inner" / "b.ipynb", START_PROGRAMS, WAIT)
    execute = "NotebookRun(inner, inner.with_name('copy.ipynb'), timeout_seconds=60).execute()"
    source = write(tmp_path / "a.ipynb", INNER, execute)
    # The inner run's own folder stays where both were ended at once; not in the system's.
    stoppable = prepared(source, environment={"TMPDIR": str(tmp_path)})
    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(stoppable.execute)
        wait_until((tmp_path / "inner" / "waiting").exists)
        stoppable.stop("Enough.")
        outcome = future.result(DEADLINE_SECONDS)
    assert outcome.error.startswith("Enough. Cell 2")
    assert len(list((tmp_path / "inner").glob("started-?"))) == PROGRAMS
    assert programs_in(tmp_path / "inner") == []


def test_importing_it_costs_nothing_that_an_empty_pass_would_have_to_pay():
    script = "import sys, helpers.notebooks.run; print(*{'nbformat', 'zmq'} & set(sys.modules))"
    command = [sys.executable, "-c", script]
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"\n"

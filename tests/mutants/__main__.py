"""`make mutants`: change the pure floors in some thousand ways, and see whether the tests notice.

mutmut changes the functions, ``tables`` the rest; what is changed, and by which tests it is
judged, stands in pyproject.toml. It fails below 95 %, and if a survivor has no reason.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import walk_mutatable_files
from mutmut.utils.format_utils import orig_function_and_class_names_from_key

from tests.mutants import tables
from tests.mutants.survivors import Mutant, judge, reasons

_KILLED = {"killed", "timeout"}


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--processes", type=int, default=os.cpu_count())
    processes = arguments.parse_args().processes
    began = time.monotonic()
    shutil.rmtree("mutants", ignore_errors=True)  # what tests said before they were changed
    mutmut = [str(Path(sys.executable).with_name("mutmut")), "run"]
    subprocess.run([*mutmut, "--max-children", str(processes)], check=True)
    of_tables = tables.table_mutants()
    survivors = [
        *_surviving_functions(),
        *(mutant.described() for mutant in tables.run(of_tables, processes=processes)),
    ]
    total = _functions() + Counter(str(mutant.path) for mutant in of_tables)
    is_enough, text = judge(total, survivors, known=reasons())
    print(f"{text} It took {(time.monotonic() - began) / 60:.0f} minutes.")
    return int(not is_enough)


def _results() -> Iterator[tuple[Path, str, str]]:
    """Yield file, name and outcome of each mutant of a function."""
    for path in walk_mutatable_files():
        data = SourceFileMutationData(path=path)
        data.load()
        for name, code in data.exit_code_by_key.items():
            yield path, name, status_by_exit_code[code]


def _functions() -> Counter[str]:
    return Counter(str(path) for path, _, _ in _results())


def _surviving_functions() -> Iterator[Mutant]:
    for path, name, outcome in _results():
        if outcome not in _KILLED:
            function, of_class = orig_function_and_class_names_from_key(name)
            where = f"{of_class}.{function}" if of_class else function
            yield Mutant.of(str(path), where, get_diff_for_mutant(name, path=path).splitlines())


if __name__ == "__main__":
    sys.exit(main())

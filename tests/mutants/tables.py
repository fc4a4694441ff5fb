"""Change what stands outside plain functions: tables, constants, and functions with a decorator.

mutmut changes no such code, because it runs all mutants of a function in one import of its
module. Its operators are applied to it here, and each mutant is imported by a process of its own.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType

import libcst as cst
import pytest
from libcst.metadata import MetadataWrapper
from mutmut.configuration import config
from mutmut.mutation.file_mutation import Mutation, MutationVisitor
from mutmut.mutation.mutators import mutation_operators
from mutmut.mutation.pragma_handling import get_ignored_lines
from mutmut.utils.file_utils import walk_mutatable_files

from tests.mutants.survivors import Mutant

_OURS = ("helpers", "sandbox", "tests")


class _AllFunctions(MutationVisitor):
    """Finds mutations in functions with a decorator as well."""

    def _skip_node_and_children(self, node: cst.CSTNode) -> bool:
        is_function = isinstance(node, cst.FunctionDef)
        return not is_function and super()._skip_node_and_children(node)


@dataclass(frozen=True)
class TableMutant:
    """One change of one module."""

    path: Path
    module: cst.Module
    mutation: Mutation

    def source(self) -> str:
        node = self.module.deep_replace(self.mutation.original_node, self.mutation.mutated_node)
        return cst.ensure_type(node, cst.Module).code

    def described(self) -> Mutant:
        lines = self.module.code.splitlines(), self.source().splitlines()
        return Mutant.of(str(self.path), self._where(), difflib.unified_diff(*lines, n=0))

    def _where(self) -> str:
        """Return the class or function that holds the change; empty for a statement."""
        for statement in self.module.body:
            if isinstance(statement, cst.ClassDef | cst.FunctionDef) and _holds(
                statement, self.mutation.original_node
            ):
                return statement.name.value
        return ""


def _holds(outer: cst.CSTNode, node: cst.CSTNode) -> bool:
    return outer is node or any(_holds(child, node) for child in outer.children)


def table_mutants() -> list[TableMutant]:
    """Return what mutmut leaves out of the files that it changes."""
    return [mutant for path in sorted(walk_mutatable_files()) for mutant in _mutants_of(path)]


def _mutants_of(path: Path) -> Iterator[TableMutant]:
    code = path.read_text()
    wrapper = MetadataWrapper(cst.parse_module(code))
    ignored = get_ignored_lines(str(path), code, wrapper)
    usual = MutationVisitor(mutation_operators, ignored)
    every = _AllFunctions(mutation_operators, ignored)
    wrapper.visit(usual)
    wrapper.visit(every)
    functions = {
        mutation.contained_by_top_level_function
        for mutation in usual.mutations
        if isinstance(mutation.contained_by_top_level_function, cst.FunctionDef)
    }
    for mutation in every.mutations:
        if mutation.contained_by_top_level_function not in functions:
            yield TableMutant(path, wrapper.module, mutation)


def run(mutants: Sequence[TableMutant], *, processes: int) -> Iterator[TableMutant]:
    """Yield those that no test notices, and print how far it is.

    Raises:
        RuntimeError: tests fail without any change, so that nothing can be told.
    """
    fork = multiprocessing.get_context("fork")
    found = 0
    _warm_up()
    with fork.Pool(1) as pool:
        if pool.apply(_pytest, config().pytest_add_cli_args_test_selection) != 0:
            raise RuntimeError("The tests fail without any change: run them.")
    with fork.Pool(processes, _begin, (mutants,), maxtasksperchild=1) as pool:
        for done, (number, survives) in enumerate(
            pool.imap_unordered(_survives, range(len(mutants))), 1
        ):
            found += survives
            print(f"\r{done}/{len(mutants)} of tables, {found} survived", end="", flush=True)
            if survives:
                yield mutants[number]
    print()


def _warm_up() -> None:
    """Import what the tests need from elsewhere once, for all processes that are forked later."""
    _pytest("--collect-only", *config().pytest_add_cli_args_test_selection)
    for name in list(sys.modules):
        if name.startswith(_OURS) and not name.startswith(__package__):
            del sys.modules[name]


def _pytest(*arguments: str) -> int:
    # Its plugins are imported before it looks at them if it has run in this process before.
    options = ("-x", "-q", "--timeout=60", "-W", "ignore::pytest.PytestAssertRewriteWarning")
    with (
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        return pytest.main([*options, *config().pytest_add_cli_args, *arguments])


_mutants: Sequence[TableMutant] = ()


def _begin(mutants: Sequence[TableMutant]) -> None:
    """Take over what the fork has inherited."""
    global _mutants  # noqa: PLW0603 - syntax trees are too large to be sent
    _mutants = mutants


def _survives(number: int) -> tuple[int, bool]:
    mutant = _mutants[number]
    name = ".".join(mutant.path.with_suffix("").parts)
    sys.meta_path.insert(0, _Changed(name, str(mutant.path.resolve()), mutant.source()))
    return number, _pytest(*_tests_of(name)) == 0


def _tests_of(module: str) -> list[str]:
    """Return the test files that name this module or its package."""
    package = ".".join(module.split(".")[:2])
    selected = config().pytest_add_cli_args_test_selection
    return [path for path in selected if package in Path(path).read_text()]


class _Changed(SourceFileLoader):
    """Imports one module from a changed source; everything else is imported as usual."""

    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self._source = source

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(name, self.path, loader=self)

    def get_code(self, _: str) -> CodeType:
        return compile(self._source, self.path, "exec", dont_inherit=True)

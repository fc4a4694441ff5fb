"""What is said of the mutants that survive, each under what it changes and not under a number."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_REASONS = Path(__file__).with_name("survivors.toml")
_TARGET = 0.95


@dataclass(frozen=True, order=True)
class Mutant:
    """A change: in which file and function or class, of which lines, to which."""

    path: str
    where: str
    was: str
    becomes: str

    @classmethod
    def of(cls, path: str, where: str, diff: Iterable[str]) -> Mutant:
        """Return the mutant that a unified diff shows."""
        changed = [line for line in diff if not line.startswith(("---", "+++"))]
        was, becomes = (
            " ".join(line[1:].strip() for line in changed if line.startswith(sign)) for sign in "-+"
        )
        return cls(path, where, was, becomes)

    def __str__(self) -> str:
        """Return it as a diff."""
        return f"{self.path} {self.where}\n  - {self.was}\n  + {self.becomes}"


def reasons(text: str | None = None) -> Mapping[Mutant, str]:
    """Return why each mutant that is known to survive may do so."""
    groups = tomllib.loads(text or _REASONS.read_text())["survivors"]
    return {
        Mutant(row["path"], row.get("where", ""), row["was"], becomes): group["reason"]
        for group in groups
        for row in group["mutants"]
        for becomes in row["becomes"]
    }


def judge(
    total: Counter[str], survivors: Sequence[Mutant], *, known: Mapping[Mutant, str]
) -> tuple[bool, str]:
    """Return whether enough were killed and each survivor has a reason; and what to print.

    Args:
        total: how many mutants each file has.
        survivors: those that no test noticed.
        known: why some of them may survive.
    """
    found = set(survivors)
    unexplained, gone = sorted(found - known.keys()), sorted(known.keys() - found)
    lines = [f"Survived: {each}\n  {known[each]}" for each in sorted(found & known.keys())]
    lines += [f"Survived, and survivors.toml does not say why: {each}" for each in unexplained]
    lines += [f"Stands in survivors.toml, and does not survive: {each}" for each in gone]
    of_file = Counter(each.path for each in survivors)
    lines += [
        f"{path:38} {count:5} mutants, {1 - of_file[path] / count:6.1%} killed"
        for path, count in sorted(total.items())
    ]
    share = 1 - len(survivors) / total.total()
    lines.append(f"{total.total()} mutants, {len(survivors)} survived, {share:.1%} killed.")
    return share >= _TARGET and not unexplained and not gone, "\n".join(lines)

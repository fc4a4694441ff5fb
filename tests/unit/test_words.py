"""The field's standard words, everywhere: no private dialect in names, messages and documents.

Each word here has a standard one beside it. Names are those of functions, classes, parameters,
variables and attributes; texts are everything else that people read, comments included. What was
released as it is, and ordinary English, is excepted.
"""

import ast
import io
import json
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.settings import PROJECT_DIR

# Words of a name in snake case, and what to call it instead.
IN_NAMES = {
    "hand_over|handover|hand_overs": "chain run",
    "settle|settles|settled|settling": "finish, finished, terminal",
    "give_back|gives_back|gave_back|let_go": "release",
    "in_doubt|doubt|doubts": "outcome unknown",
    "patiently": "retry while unavailable",
    "survived": "isolate errors",
    "in_words": "describe",
    "leftover|leftovers|left_over|left_behind": "orphaned",
    "tidy|tidies|tidied|tidy_up|chore|chores": "housekeeping, prune",
    "story|stories": "content",
    "desk": "session",
    "doomed": "to delete",
    "tone|tones": "severity",
    "(?<!in_)places?": "location, step reference",
    "told|said": "message, reply",
    "broken_off": "no response",
    "at_work": "running",
}
# Phrases, and what to write instead.
IN_TEXTS = {
    r"hand-?overs?": "chain run",
    r"(un)?settle[sd]?|settling": "finish, finished, terminal",
    r"g[ia]ven? back|gave back|gives back|lets? go of": "release",
    r"in doubt": "outcome unknown",
    r"patiently": "retry while unavailable",
    r"left[- ]?overs?|left[- ]behind": "orphaned, left",
    r"frozen cop(y|ies)": "scheduled copy",
    r"tid(y|ies|ied|ying)( \w+)? up|chores?": "housekeeping, prune",
    r"doomed": "to delete",
    r"broken? off|broke [\w' ]+ off": "no response, cut off",
    r"at work": "running",
    r"but for|for want of": "except for, without",
    r"(?<!there )(?<!that )\b(is|are) no (valid |known )?(id|job|batch|cycle|status|notebook|path|"
    r"number|schedule|time zone|object|type)\b": "is not a valid …",
    r"which is no \w+": "which is not …",
    r"(None|True|False|empty|raises|error|nothing) where": "if",
    r"where (it|they|there|nobody|nothing|none) (is|are|was|has|have|had|can|cannot|does|do)"
    r"(?! (served|cut|written|kept|found|needed|shown|caught))": "if",
    r"took no \w+|has taken (it|the (job|card|message))|takes? no (login|job|card)": (
        "accept, reject"
    ),
}
NAMES = [(re.compile(rf"(?:^|_)({word})(?:_|$)"), better) for word, better in IN_NAMES.items()]
TEXTS = [(re.compile(rf"\b(?:{t})\b", re.IGNORECASE), better) for t, better in IN_TEXTS.items()]

# Columns of a released table.
ALLOWED_NAMES = {"batches_settled", "tidied_ts"}
FOLDERS = ["helpers", "sandbox", "sql", "docs", "workflows/_Tools", "workflows/_Template", "tests"]
ENDINGS = {".py", ".sql", ".html", ".txt", ".md", ".ipynb", ".jinja"}
# What was released stays as it is; this file names the words.
LEFT_OUT = re.compile(r"sql/migrations/000\d_|tests/unit/test_words\.py|tests/support/.*\.sql")


def files() -> list[Path]:
    found = [PROJECT_DIR / name for name in ("README.md", "CONTRIBUTING.md")]
    for folder in FOLDERS:
        found += [p for p in (PROJECT_DIR / folder).rglob("*") if p.suffix in ENDINGS]
    return [path for path in found if not LEFT_OUT.search(known_as(path))]


def known_as(path: Path) -> str:
    return path.relative_to(PROJECT_DIR).as_posix()


def problems(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    found = [
        f"{known_as(path)}:{line}: {name}: rather {better}"
        for line, name in (names_of(text) if path.suffix == ".py" else [])
        for pattern, better in NAMES
        if pattern.search(snake(name)) and name not in ALLOWED_NAMES
    ]
    found += [
        f"{known_as(path)}:{line}: “{match[0]}”: rather {better}"
        for line, part in texts_of(path, text)
        for pattern, better in TEXTS
        for match in [pattern.search(part.replace("WHERE", ""))]  # SQL's own
        if match
    ]
    return sorted(set(found))


def names_of(source: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.lineno, node.name
            case ast.arg() | ast.keyword():
                yield node.lineno, node.arg or ""
            case ast.Name():
                yield node.lineno, node.id
            case ast.Attribute():
                yield node.lineno, node.attr


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def texts_of(path: Path, text: str) -> Iterator[tuple[int, str]]:
    """Yield what people read; of code its strings and comments."""
    if path.suffix == ".py":
        kinds = {tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", -1)}
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type in kinds:
                yield token.start[0], " ".join(token.string.split())
    elif path.suffix == ".ipynb":
        for number, cell in enumerate(json.loads(text)["cells"]):
            yield number, " ".join("".join(cell["source"]).split())
    else:
        for number, line in enumerate(text.splitlines(), 1):
            yield number, line


@pytest.mark.parametrize("path", files(), ids=known_as)
def test_the_words_are_the_fields(path):
    assert problems(path) == []

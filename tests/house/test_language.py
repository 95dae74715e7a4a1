"""Plain language: what users read has none of the excluded words and phrases.

Strings of the program, the documentation, the examples and the Makefile are read; docstrings are not.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from house import tree

PHRASES = {
    r"nobody told us": "say what is missing",
    r"\btold (us|about|of)\b": "says, reports, lists",
    r"\bto be rid of\b": "remove, cancel, delete",
    r"\banew\b": "again",
    r"\bgoes? on (where|as|with|by itself|ringing)\b": "resumes, continues",
    r"\bkeeps? ringing\b": "runs on its schedule",
    r"\bring(s|ing)\b": "runs on its schedule",
    r"\bthe bell\b": "CronJob, schedule",
    r"\bof ours\b": "of Penstock",
    r"\bleft to kubectl\b": "skipped",
    r"\bNo fault in\b": "OK",
    r"\bneeds you\b": "needs attention",
    r"[●✓] well\b": "healthy",
    r"\bwhile all is well\b": "if it is healthy",
    r"\brun asked for\b": "requested run",
    r"\bis asked for\b": "is requested",
    r"\bwas asked for\b": "was requested",
    r"\bmend(s|ed|ing)?\b": "fix, correct, restore",
    r"\bhangs? together\b": "are connected",
    r"\bhow (it|they|things|this) stands?\b": "state, status",
    r"\bbe it a\b": "which may be a",
    r"\bwhence\b|\bwhereof\b|\bthereof\b|\blest\b|\bhath\b": "modern English",
    r"\bwithout a word\b": "silently, or: without a message",
    r"\bno length of time\b": "is not a duration",
    r"\bis no (type|date|time|cron|number|JSON|decimal)\b": "is not a …",
    r"\btells (more|the rest|who)\b": "see …",
    r"\bwhat is kept where\b": "where data is stored",
    r"\bget(s|ting)? its (labels|label) back\b": "restored",
}
"""What is not to be written, with what to write instead; matched without regard to case."""

PAGES = ("README.md", "Makefile", "Dockerfile")
FOLDERS = (("docs", "*.md"), ("examples", "*.md"), ("examples", "*.yaml"), ("deploy", "*.yaml"))


def _pages() -> list[Path]:
    found = [tree.ROOT / name for name in PAGES]
    found += [path for folder, pattern in FOLDERS for path in sorted((tree.ROOT / folder).rglob(pattern))]
    return found


def _strings(module: Path) -> Iterator[tuple[int, str]]:
    """The strings of a module that are no docstrings, with their lines."""
    parsed = ast.parse(module.read_text(encoding="utf-8"))
    docstrings = {
        id(statement.value)
        for node in ast.walk(parsed)
        for statement in (getattr(node, "body", None) if isinstance(getattr(node, "body", None), list) else []) or []
        if isinstance(statement, ast.Expr)
    }
    commands = {
        id(node.body[0].value)  # what --help prints
        for node in ast.walk(parsed)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and any("click.command" in ast.unparse(decorator) for decorator in node.decorator_list)
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(parsed):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            printed = id(node) not in docstrings or id(node) in commands
            yield from [(node.lineno, node.value)] if printed else []


def excluded(text: str) -> list[str]:
    """The phrases in a text that are excluded, each with what to write instead."""
    words = " ".join(text.split())
    return [
        f'"{found.group()}": write {instead}'
        for phrase, instead in PHRASES.items()
        if (found := re.search(phrase, words, flags=re.IGNORECASE))
    ]


@pytest.mark.parametrize("page", _pages(), ids=lambda path: str(path.relative_to(tree.ROOT)))
def test_pages_are_in_plain_language(page: Path) -> None:
    assert excluded(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "module", sorted(tree.PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(tree.PACKAGE))
)
def test_messages_are_in_plain_language(module: Path) -> None:
    found = [f"line {line}: {phrase}" for line, text in _strings(module) for phrase in excluded(text)]
    assert found == []


def test_an_excluded_phrase_is_found_over_a_line_end() -> None:
    assert excluded("It goes\non where it was.")
    assert not excluded("It resumes.")

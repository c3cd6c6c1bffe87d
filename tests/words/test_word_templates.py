"""Sentences that take data get what they name, wherever the product says them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from string import Formatter
from types import ModuleType
from typing import Any

import pytest

import edgebench
from edgebench.words import (
    fact_words,
    note_words,
    quality_words,
    state_words,
    unknown_words,
    verdict_words,
)

ROOT = Path(edgebench.__file__).parent
_MODULES = (fact_words, note_words, quality_words, state_words, unknown_words, verdict_words)
ROOMS = {module.__name__.rpartition(".")[2]: module for module in _MODULES}


def templates(module: ModuleType) -> dict[str, str]:
    """Name -> sentence, of what is the `format` of a sentence."""
    bound = {name: getattr(value, "__self__", None) for name, value in vars(module).items()}
    return {name: text for name, text in bound.items() if isinstance(text, str)}


def calls(tree: ast.AST, room: str) -> Iterator[tuple[str, ast.Call]]:
    """Calls of the templates of a room, by the name under which the module knows it."""
    names = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "edgebench.words"
        for alias in node.names
        if alias.name == room
    }
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=template)) if (
                name in names
            ):
                yield template, node


@pytest.mark.parametrize("room", ROOMS)
def test_every_template_is_said_with_the_data_that_it_names(room: str) -> None:
    known, said = templates(ROOMS[room]), dict[str, Any]()
    for path in ROOT.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if room not in text:
            continue
        for template, call in calls(ast.parse(text), room):
            if template in known:
                wanted = {name for _, name, _, _ in Formatter().parse(known[template]) if name}
                assert not call.args, f"{path.name}:{call.lineno}"
                assert {each.arg for each in call.keywords} == wanted, f"{path.name}:{call.lineno}"
                said[template] = call
    assert said.keys() == known.keys(), "sentences that nobody says"

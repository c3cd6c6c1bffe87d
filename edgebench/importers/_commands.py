"""Commands as a shell, a CI system or `set -x` echoed them into a log, and their options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

_MAX_LINE = 20_000  # no command is longer


def options_of(line: str, program: str) -> dict[str, list[str]] | None:
    """Options of a program with their values, in the line that started it; None where it starts it not.

    `-m a.onnx`, `--model a.onnx` and `--model=a.onnx` are all told; a flag has the value "".
    """
    if program not in line or len(line) > _MAX_LINE:
        return None
    found = re.search(rf"(?<![\w-]){program}(?:\.py|\.exe)?[\"']?\s+(?=-)(.*)", line)
    if found is None:
        return None
    options: dict[str, list[str]] = {}
    name = ""
    for word in _words(found[1]):
        if re.match(r"--?[A-Za-z]", word):
            name, _, value = word.lstrip("-").partition("=")
            options.setdefault(name, []).append(value)
        elif name and not options[name][-1]:
            options[name][-1] = word
    return options


def _words(text: str) -> list[str]:
    """The words of one command: what is piped or redirected ends it."""
    try:
        lexer = shlex.shlex(text, posix=True, punctuation_chars="|&;<>`")
        lexer.whitespace_split = True
        lexer.commenters = ""
        lexer.escape = ""  # paths of Windows
        words = list(lexer)
    except ValueError:  # a quote that is not closed
        words = text.split()
    ends = [n for n, word in enumerate(words) if word and set(word) <= set("|&;<>`")]
    return words[: ends[0]] if ends else words


def one_model(echoes: Sequence[dict[str, list[str]]], *names: str) -> str | None:
    """The model that all commands name by one of these options; None where none does, or they differ."""
    models = {value for options in echoes for name in names for value in options.get(name, [])}
    return next(iter(models)) if len(models) == 1 else None

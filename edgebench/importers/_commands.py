"""Commands as a shell, a CI system or `set -x` echoed them into a log, and their options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

_MAX_LINE = 20_000  # no command is longer
_MAX_CONTINUATIONS = 50
#: What a shell replaces before it runs a command: the echo of a script does not tell by what.
_VARIABLE = re.compile(r"[$*?`]|%\w+%|\{\{")


@dataclass(frozen=True)
class Echo:
    """A command that a log shows."""

    options: Mapping[str, list[str]]  # by their names without dashes; a flag has the value ""
    traced: bool  # by `set -x`, as it ran; else it may be the text of a script


def echoes(lines: Sequence[str], program: str) -> dict[int, Echo]:
    """The commands that start a program, by the number of their first line from 0. Lines that a
    backslash, a backtick or a caret continues are one."""
    commands = {}
    for number, line in enumerate(lines):
        if program in line and (options := options_of(_whole(lines, number), program)) is not None:
            commands[number] = Echo(options, line.lstrip().startswith("+"))
    return commands


def _whole(lines: Sequence[str], number: int) -> str:
    parts = []
    for line in lines[number : number + _MAX_CONTINUATIONS]:
        text = line.rstrip()
        parts.append(text.rstrip("\\`^"))
        if not text.endswith(("\\", "`", "^")):
            break
    return " ".join(parts)


def options_of(line: str, program: str) -> dict[str, list[str]] | None:
    """Options of a program with their values, in the line that started it; None where it starts it not.

    `-m a.onnx`, `--model a.onnx` and `--model=a.onnx` are all told.
    """
    if len(line) > _MAX_LINE:
        return None
    command = re.search(rf"(?<![\w-]){program}(?:\.py|\.exe)?[\"']?\s+(?=-)(.*)", line)
    if command is None:
        return None
    options: dict[str, list[str]] = {}
    name = ""
    for word in _words(command[1]):
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


def one_model(shown: Sequence[Echo], *names: str) -> str | None:
    """The model of the run that followed these commands, by one of these options.

    That is the one that the last traced command names, else the one that all of them name; None where they
    differ, or leave it to a variable.
    """
    traced = [echo for echo in shown if echo.traced]
    models = set(_values(traced[-1:] or shown, names))
    return (
        next(iter(models)) if len(models) == 1 and not any(map(_VARIABLE.search, models)) else None
    )


def _values(shown: Iterable[Echo], names: Sequence[str]) -> Iterable[str]:
    return (value for echo in shown for name in names for value in echo.options.get(name, []))

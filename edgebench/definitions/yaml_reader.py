"""YAML text -> plain values, with the line and column of everything.

A value that YAML 1.1 (which PyYAML speaks) and YAML 1.2 (which editors speak) read differently is
refused: `no`, `010`, `1:30`, `1_000`, `1e-3`, a bare date. So are duplicate keys, keys that are not
text, tags and merge keys. Aliases are followed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from edgebench.errors import SpecError, UsageError
from edgebench.files.number_bounds import MAX_INTEGER
from edgebench.files.regular_file import read_regular
from edgebench.text.plain_text import shortened

KeyPath = tuple[str | int, ...]
Place = tuple[int, int]  # line and column, from 1

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_MAX_VALUES = 100_000  # aliases of aliases multiply: nothing we read comes near this
MAX_FILE_BYTES = 1 << 20  # looked at before anything is read; the largest file we know has 7 kB
_MAX_SHOWN = 60  # characters of a value in a message

# What both versions of YAML read alike.
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULL = {"", "~", "null", "Null", "NULL"}
# What ends a C string, steers a terminal or cannot be written as UTF-8.
_STRANGE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
# What YAML 1.2 takes for a number and PyYAML for text.
_NUMBER_IN_1_2 = re.compile(rf"{_FLOAT.pattern}|0o[0-7]+")


class SpecErrors(SpecError):
    """Several errors in one file; the place is that of the first."""

    def __init__(self, errors: Sequence[SpecError]) -> None:
        first = errors[0]
        super().__init__(first.file, first.line, first.column, first.key, "")
        self.errors = tuple(errors)
        self.message = "\n".join(str(error) for error in errors)


def raise_errors(errors: Sequence[SpecError]) -> None:
    """Raises one SpecError for all of them, in the order of the file; returns where there are none."""
    if not errors:
        return
    in_order = sorted(errors, key=lambda error: (error.line, error.column))
    raise in_order[0] if len(in_order) == 1 else SpecErrors(in_order)


def key_text(path: KeyPath) -> str:
    """`matrix.axes.threads[1]`."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text


@dataclass(frozen=True)
class Document:
    """A file's values, and where each value and each key stands."""

    file: str
    value: Any
    values_at: dict[KeyPath, Place] = field(default_factory=dict)
    keys_at: dict[KeyPath, Place] = field(default_factory=dict)

    def error(
        self, path: KeyPath, message: str, fix: str = "", *, at_key: bool = False
    ) -> SpecError:
        """An error about the value at `path`, or about its key. A path that the file does not have
        stands for the nearest one above it."""
        places = self.keys_at if at_key else self.values_at
        above = path
        while above not in places and above:
            above = above[:-1]
        line, column = places.get(above, (1, 1))
        return SpecError(self.file, line, column, key_text(path), message, fix)


def read_yaml(path: Path) -> Document:
    """Reads one file. Raises SpecError for what the YAML itself gets wrong, UsageError where the
    file cannot be read."""
    try:
        content = read_regular(path, MAX_FILE_BYTES)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - (content.rfind(b"\n", 0, error.start) + 1) + 1
        raise SpecError(str(path), line, column, "", "not UTF-8", "save it as UTF-8") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, file: str) -> Document:
    """Like `read_yaml`, of text; `file` is for messages."""
    reader = _Reader(file)
    try:
        root = _compose(text, file)
        if root is None:
            raise SpecError(file, 1, 1, "", "the file is empty")
        value = reader.value(root, ())
    except RecursionError:
        raise SpecError(file, 1, 1, "", "nested too deep") from None
    raise_errors(reader.errors)
    return Document(file, value, reader.values_at, reader.keys_at)


def _compose(text: str, file: str) -> yaml.Node | None:
    try:
        loader = _LOADER(text)
        try:
            node: yaml.Node | None = loader.get_single_node()
            return node
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        message = ", ".join(part for part in (error.context, error.problem) if part)
        if "maximum nesting depth" in message:  # PyYAML's own limit, since 6.0.4
            raise SpecError(file, line, column, "", "nested too deep") from None
        tab = _is_indented_by_tab(text, line) or "\\t" in message or "'\t'" in message
        fix = "indent with spaces" if tab else ""
        raise SpecError(file, line, column, "", f"not YAML: {message}", fix) from None
    except yaml.reader.ReaderError as error:
        position = error.position if isinstance(error.position, int) else 0
        line = text.count("\n", 0, position) + 1
        message = f"not YAML: the character {error.character!r} is not allowed in a file"
        raise SpecError(file, line, 1, "", message) from None


class _Reader:
    """Reads the nodes of a document, and collects all errors instead of stopping at the first."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.values_at: dict[KeyPath, Place] = {}
        self.keys_at: dict[KeyPath, Place] = {}
        self.errors: list[SpecError] = []
        self._open: list[yaml.Node] = []

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        self.values_at[path] = _place(node)
        if len(self.values_at) > _MAX_VALUES:
            raise self._error(node, path, f"more than {_MAX_VALUES} values")
        if any(node is outer for outer in self._open):
            raise self._error(node, path, "an alias to something that contains it")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if node.tag not in (f"{_TAG}map", f"{_TAG}seq"):
            return self._refuse(node, path, f"the tag {_short(node.tag)} is not allowed")
        self._open.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return dict(self._items(node, path))
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        finally:
            self._open.pop()

    def _items(self, node: yaml.MappingNode, path: KeyPath) -> Iterator[tuple[str, Any]]:
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            if key is None:
                continue
            first = self.keys_at.get((*path, key))
            if first is not None and first != _place(key_node):
                self._refuse(
                    key_node, (*path, key), f"a second {key!r}; the first is on line {first[0]}"
                )
                continue
            self.keys_at[(*path, key)] = _place(key_node)
            yield key, self.value(value_node, (*path, key))

    def _key(self, node: yaml.Node, path: KeyPath) -> Any:
        if isinstance(node, yaml.ScalarNode) and node.tag == f"{_TAG}str":
            return self._text(node, path)
        if isinstance(node, yaml.ScalarNode) and node.tag == f"{_TAG}merge":
            return self._refuse(node, path, "merge keys (<<) are not allowed", "write the keys out")
        if isinstance(node, yaml.ScalarNode) and node.tag.startswith(_TAG):
            key = shortened(node.value, _MAX_SHOWN)
            message = f"the key {key!r} is read as {_short(node.tag)}"
            return self._refuse(node, path, message, f'quote it: "{key}"')
        return self._refuse(node, path, "a key must be text")

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        text, kind = node.value, node.tag.removeprefix(_TAG)
        if kind == "str":
            if not node.style and _NUMBER_IN_1_2.fullmatch(text):
                return self._ambiguous(node, path, "text", "a number")
            return self._text(node, path)
        if kind == "bool":
            if text in _BOOL:
                return _BOOL[text]
            meaning = "true" if text.lower() in ("yes", "on") else "false"
            return self._ambiguous(node, path, f"the boolean {meaning}", "text")
        if kind == "null" and text in _NULL:
            return None
        if kind == "int":
            if _INT.fullmatch(text):
                return self._int(node, path)
            return self._ambiguous(
                node, path, "an octal, binary or grouped number", "something else"
            )
        if kind == "float":
            return self._float(node, path)
        if kind == "timestamp":
            return self._ambiguous(node, path, "a date", "text")
        return self._refuse(node, path, f"the tag {_short(node.tag)} is not allowed")

    def _text(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        """The text, without characters that no name, path or sentence has."""
        strange = _STRANGE.search(node.value)
        if strange is None:
            return node.value
        code = f"U+{ord(strange[0]):04X}"
        return self._refuse(node, path, f"the character {code} is not allowed in a text")

    def _int(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        # Python itself refuses to read more digits than 4300.
        number = int(node.value, 0) if len(node.value) <= _MAX_SHOWN else None
        if number is not None and abs(number) <= MAX_INTEGER:
            return number
        return self._refuse(node, path, f"{shortened(node.value, _MAX_SHOWN)} is too large")

    def _float(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        if _FLOAT.fullmatch(node.value):
            number = float(node.value)
            if math.isfinite(number):
                return number
            return self._refuse(node, path, f"{shortened(node.value, _MAX_SHOWN)} is too large")
        if node.value.lower().lstrip("+-") in (".inf", ".nan"):
            return self._refuse(node, path, f"{node.value} is not a finite number")
        return self._ambiguous(node, path, "a grouped number", "text")

    def _ambiguous(self, node: yaml.ScalarNode, path: KeyPath, one: str, other: str) -> Any:
        text = shortened(node.value, _MAX_SHOWN)
        message = f"YAML 1.1 reads {text} as {one} and YAML 1.2 as {other}"
        return self._refuse(node, path, message, f'write "{text}" for text{_plainly(text)}')

    def _refuse(self, node: yaml.Node, path: KeyPath, message: str, fix: str = "") -> Any:
        """Notes an error; the None it returns stands for the value until the errors are raised."""
        self.errors.append(self._error(node, path, message, fix))

    def _error(self, node: yaml.Node, path: KeyPath, message: str, fix: str = "") -> SpecError:
        return SpecError(self.file, *_place(node), key_text(path), message, fix)


def _is_indented_by_tab(text: str, line: int) -> bool:
    """PyYAML says it in four ways, and in two of them not at all."""
    lines = text.splitlines()
    here = lines[line - 1] if line <= len(lines) else ""
    return "\t" in here[: len(here) - len(here.lstrip())]


def _place(node: yaml.Node) -> Place:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _short(tag: str) -> str:
    return shortened(tag.replace(_TAG, "!!"), _MAX_SHOWN)


def _plainly(text: str) -> str:
    """How to write what was probably meant so that there is no doubt, as the rest of a sentence."""
    lower = text.lower()
    if lower in ("yes", "on", "no", "off"):
        return f", {'true' if lower in ('yes', 'on') else 'false'} for a boolean"
    if re.fullmatch(r"[-+]?0[0-7]+", text) and len(text) <= _MAX_SHOWN:
        return f", {int(text)} or {hex(int(text, 8))} for a number"
    plain = text.replace("_", "")
    if _FLOAT.fullmatch(plain) and math.isfinite(float(plain)):
        return f", {_float_text(float(plain))} for a number"
    return ""


def _float_text(number: float) -> str:
    """Formats a float as Python does, but so that YAML 1.1 reads a float: 1e-05 -> 1.0e-05."""
    text = repr(number)
    return text if "." in text or "e" not in text else text.replace("e", ".0e", 1)

"""Reads and writes JSON as frozen types, line by line or a file whole; errors name file, line, field and value."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any, TextIO, TypeVar

import msgspec

from edgebench.errors import StoreError
from edgebench.files.regular_file import read_regular
from edgebench.text.plain_text import plain, plain_json, shortened, utf8

T = TypeVar("T")

_MAX_SHOWN = 60
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")


def read_answer(path: Path, kind: type[T], schema: str, max_bytes: int, fix: str) -> T:
    """A file of one answer, of that schema. Raises StoreError where it is missing or is none, naming the field."""
    try:
        content = read_regular(path, max_bytes)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}", fix) from None
    decode = msgspec.json.Decoder(kind).decode
    return decoded(content, decode, str(path), f"not a {schema} file", fix)


def decoded(line: bytes, decode: Callable[[bytes], T], place: str, what: str, fix: str) -> T:
    """The line as what `decode` makes of it. Raises StoreError: `place`: `what`: field, value, reason."""
    try:
        return decode(line)
    except msgspec.MsgspecError as error:
        raise StoreError(f"{place}: {what}: {_field_message(line, str(error))}", fix) from None
    except RecursionError:
        raise StoreError(f"{place}: {what}: it is nested too deep", fix) from None


def _field_message(line: bytes, message: str) -> str:
    """msgspec's message as `field: value: reason`, where it names a field."""
    reason, at, path = message.rpartition(" - at `$")
    if not at:
        return message
    path = path.rstrip("`")
    value = _value_at(line, path)
    shown = "" if value is None else f"{value}: "
    return f"{path.lstrip('.')}: {shown}{reason.replace('`', '')}"


def _value_at(line: bytes, path: str) -> str | None:
    """Returns what stands at a path of msgspec's, shortened; None where the path does not lead to one value."""
    steps = [match[1] or int(match[2]) for match in _STEP.finditer(path)]
    if "".join(match[0] for match in _STEP.finditer(path)) != path:
        return None
    try:
        value = reduce(lambda part, step: part[step], steps, msgspec.json.decode(line))
        return plain(shortened(msgspec.json.encode(value).decode(), _MAX_SHOWN))
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def encoded(value: Any) -> bytes:
    """One line, newline included. Bytes of a name that are not UTF-8 are written as `\\xff`: a path
    must not cost what was measured."""
    try:
        return msgspec.json.encode(value) + b"\n"
    except UnicodeEncodeError:
        return msgspec.json.encode(_writable(msgspec.to_builtins(value))) + b"\n"


def _writable(value: Any) -> Any:
    """Plain values with texts that can be written as UTF-8."""
    if isinstance(value, str):
        return utf8(value)
    if isinstance(value, dict):
        return {_writable(key): _writable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_writable(item) for item in value]
    return value


def write_json(value: Any, out: TextIO, indent: int = 0) -> None:
    """Writes any of our types as JSON, on one line where nothing is indented."""
    line = encoded(value)
    text = msgspec.json.format(line, indent=indent) + b"\n" if indent else line
    out.write(plain_json(text.decode()))

"""Converts plain values to frozen types; each mismatch becomes an error with its place in the file."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from edgebench.definitions.yaml_reader import Document, KeyPath, raise_errors
from edgebench.errors import SpecError
from edgebench.text.did_you_mean import did_you_mean
from edgebench.text.plain_text import shortened

T = TypeVar("T")

_MAX_SHOWN = 60  # characters of a value in a message
#: Keys whose pattern says nothing to people.
_FIXES = {"sha256": "64 digits and letters a to f, as `sha256sum FILE` prints them"}
_NAMES = {dict: "a mapping", list: "a list", type(None): "nothing"}


def convert(document: Document, kind: type[T]) -> T:
    """The document as `kind`. Raises SpecError for all unknown keys, missing keys, wrong types and
    values out of bounds at once."""
    try:
        return msgspec.convert(document.value, kind)
    except msgspec.ValidationError as error:
        # msgspec stops at the first mismatch and does not name keys of mappings: look again.
        raise_errors(list(_errors(document, kind, document.value, ())))
        raise document.error((), str(error)) from None


def _errors(document: Document, kind: Any, value: Any, path: KeyPath) -> Iterator[SpecError]:
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if isinstance(value, dict | list) and (member := _optional(bare)) is not None:
        yield from _errors(document, member, value, path)
        return
    if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
        yield from _struct_errors(document, bare, value, path)
    elif get_origin(bare) is dict and isinstance(value, dict):
        key_kind, item_kind = get_args(bare)
        for key, item in value.items():
            message = _mismatch(key_kind, key)
            if message:
                yield document.error((*path, key), f"as a key: {message}", at_key=True)
            yield from _errors(document, item_kind, item, (*path, key))
    elif get_origin(bare) is list and isinstance(value, list):
        (item_kind,) = get_args(bare)
        for index, item in enumerate(value):
            yield from _errors(document, item_kind, item, (*path, index))
    else:
        message = _mismatch(kind, value)
        if message:
            yield document.error(path, message, _FIXES.get(str(path[-1]), "") if path else "")


def _optional(kind: Any) -> Any:
    """The type that a value has where it may be left out; None: it is no such type."""
    members = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else ()
    others = [member for member in members if member is not types.NoneType]
    return others[0] if len(others) == 1 else None


def _struct_errors(
    document: Document, kind: type[msgspec.Struct], value: Any, path: KeyPath
) -> Iterator[SpecError]:
    if not isinstance(value, dict):
        yield document.error(path, f"expected a mapping, got {_describe_value(value)}")
        return
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for key in value:
        if key not in fields:
            message = f"unknown key{did_you_mean(key, fields)}"
            yield document.error((*path, key), message, at_key=True)
    for name, field in fields.items():
        if name in value:
            yield from _errors(document, field.type, value[name], (*path, name))
        elif field.required:
            yield document.error(path, f"the key {name!r} is missing")


def _mismatch(kind: Any, value: Any) -> str:
    """Why `value` is not of a type without members, or ""."""
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        choices = _choices(kind)
        if choices and isinstance(value, str):
            shown = shortened(repr(value), _MAX_SHOWN)
            return f"{shown} is not one of the choices{did_you_mean(value, choices)}"
        expected = str(error).partition(", got ")[0].partition(" - at ")[0].replace("`", "")
        if expected.startswith("Expected"):
            expected = expected.replace("Expected", "expected", 1)
            expected = expected.replace("object", "mapping").replace("array", "list")
            return f"{expected.replace('| null', 'or nothing')}, got {_describe_value(value)}"
        return f"{expected}: {_describe_value(value)}"
    return ""


def _choices(kind: Any) -> list[str]:
    if get_origin(kind) is Literal:
        return [str(choice) for choice in get_args(kind)]
    if get_origin(kind) in (Union, types.UnionType):
        return [choice for member in get_args(kind) for choice in _choices(member)]
    return []


def _describe_value(value: Any) -> str:
    known = _NAMES.get(type(value))
    return known or f"{type(value).__name__} {shortened(repr(value), _MAX_SHOWN)}"

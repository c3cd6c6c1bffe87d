"""Files of a model's outputs: an .npz with an array of each output of each item.

Arrays are named "<item>/<output name>". Every value is kept exactly. Text, which numpy would pickle, is kept as JSON: nothing is
unpickled, and two texts are the same only where every character is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebench.files.atomic_write import replacing

Outputs = dict[str, NDArray[Any]]

_TEXT = "text:"  # begins the names of arrays that hold text
_TEXT_KINDS = "OUS"


def save_outputs(path: str | Path, outputs: Sequence[Mapping[str, NDArray[Any]]]) -> None:
    """Writes what `load_outputs` reads, all or nothing."""
    arrays: dict[str, Any] = {}
    for index, item in enumerate(outputs):
        for name, array in item.items():
            if is_text(array):
                arrays[f"{_TEXT}{index}/{name}"] = np.frombuffer(text_bytes(array), np.uint8)
            else:
                arrays[f"{index}/{name}"] = _as_builtin(array)
    with replacing(Path(path)) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)


def load_outputs(path: str | Path, count: int) -> list[Outputs]:
    """Outputs of items 0..count-1."""
    items: dict[int, Outputs] = {}
    with np.load(path) as archive:
        for key in archive.files:
            index, _, name = key.removeprefix(_TEXT).partition("/")
            if int(index) < count:
                array = archive[key]
                read = _text_array(array.tobytes()) if key.startswith(_TEXT) else array
                items.setdefault(int(index), {})[name] = read
    return [items[index] for index in sorted(items)]


def _as_builtin(array: Any) -> NDArray[Any]:
    """The values in a type of numpy's own: of another package's (bfloat16), npz would keep bare bytes."""
    values = np.asarray(array)
    if values.dtype.kind != "V":
        return values
    return values.astype(np.int32 if "int" in values.dtype.name else np.float32)


def is_text(array: Any) -> bool:
    """Whether an array holds text (or Python objects, which stand for it) and no numbers."""
    return np.asarray(array).dtype.kind in _TEXT_KINDS


def text_bytes(array: Any) -> bytes:
    """The shape and every character of an array of text."""
    wide = np.asarray(array)
    return json.dumps([wide.shape, [_as_str(entry) for entry in wide.reshape(-1)]]).encode()


def _as_str(entry: Any) -> str:
    return entry.decode("utf-8", "surrogateescape") if isinstance(entry, bytes) else str(entry)


def _text_array(content: bytes) -> NDArray[Any]:
    shape, entries = json.loads(content)
    array = np.empty(len(entries), dtype=object)
    array[:] = entries
    return array.reshape(shape)

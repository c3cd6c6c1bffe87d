"""Reads a PyTorch state dict (zip and legacy layout) with numpy alone, running none of its code.

A `.pth` file is a pickle, and unpickling runs whatever the pickle names. Here only the few names a
state dict needs are known: they build plain descriptions, and any other name is refused.
Layouts: `torch/serialization.py` (`_legacy_save`, `_save`).
"""

from __future__ import annotations

import io
import math
import mmap
import pickle
import struct
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgebench.errors import EdgebenchError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STORAGE_DTYPES = {
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "DoubleStorage": "<f8",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


@dataclass(frozen=True)
class _Storage:
    """A run of elements in the file; tensors are views of it."""

    key: str
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class _Tensor:
    """A view of a storage; offset and strides count elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild_tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(data: _Tensor, *_: Any) -> _Tensor:
    return data


_ALLOWED: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    **{("torch", name): np.dtype(dtype) for name, dtype in _STORAGE_DTYPES.items()},
}


#: Tensors may share and repeat what a file holds; more than so many times its size is no model.
MAX_GROWTH = 16

#: What a broken or hostile file makes pickle, zipfile and numpy raise.
_DAMAGE = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    OverflowError,
    MemoryError,
    RuntimeError,  # nested too deep; an encrypted or unknown kind of archive
)


class _Unpickler(pickle._Unpickler):
    """Knows the names in _ALLOWED and collects the storages the pickle refers to.

    Of the library's two unpicklers the one in Python: the other one allocates what a damaged number tells
    it to, before it looks whether the file has as much.
    """

    def __init__(self, file: Any, storages: dict[str, _Storage]) -> None:
        super().__init__(file)
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it names {module}.{name}, which no weights file needs"
            ) from None

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key = pid[0], pid[1], str(pid[2])
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise pickle.UnpicklingError("it refers to something other than a tensor's storage")
        return self._storages.setdefault(key, _Storage(key, dtype))


def load_state_dict(path: Path) -> dict[str, NDArray[Any]]:
    """Tensors by name. Raises EdgebenchError for a file that is no plain state dict."""
    try:
        read = _read_zip if zipfile.is_zipfile(path) else _read_legacy
        entries, data = read(path)
        tensors = {str(name): t for name, t in entries.items() if isinstance(t, _Tensor)}
        _check_growth(sum(map(_bytes_of, tensors.values())), path)
        return {name: _array(tensor, data) for name, tensor in tensors.items()}
    except _DAMAGE as error:
        raise EdgebenchError(
            f"{path} cannot be read as PyTorch weights: {str(error) or type(error).__name__}",
            "check that the file arrived whole, and that it holds a state dict: torch.save(m.state_dict(), f)",
        ) from None


def _check_growth(size: int, path: Path) -> None:
    """Asked before memory is allocated. Raises ValueError for more than a file can stand for."""
    if size > MAX_GROWTH * path.stat().st_size:
        raise ValueError(f"it would grow to {size} bytes")


def _bytes_of(tensor: _Tensor) -> int:
    return math.prod(tensor.shape) * tensor.storage.dtype.itemsize


Entries = Mapping[str, Any]
Data = Mapping[str, "NDArray[Any]"]


def _read_zip(path: Path) -> tuple[Entries, Data]:
    storages: dict[str, _Storage] = {}
    with zipfile.ZipFile(path) as archive:
        _check_growth(sum(member.file_size for member in archive.infolist()), path)
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise pickle.UnpicklingError("it has no data.pkl")
        root = pickles[0].removesuffix("data.pkl")
        entries = _entries(_Unpickler(io.BytesIO(archive.read(pickles[0])), storages).load())
        data = {
            key: np.frombuffer(archive.read(f"{root}data/{key}"), storage.dtype)
            for key, storage in storages.items()
        }
    return entries, data


def _read_legacy(path: Path) -> tuple[Entries, Data]:
    storages: dict[str, _Storage] = {}
    with path.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as file:

        def load() -> Any:
            return _Unpickler(file, storages).load()

        for _magic_version_platform in range(3):
            load()
        entries = _entries(load())
        data = {}
        for key in load():
            storage = storages[str(key)]
            (elements,) = struct.unpack("<q", file.read(8))
            size = elements * storage.dtype.itemsize
            if not 0 <= size <= len(file) - file.tell():
                raise EOFError("it ends too early")
            data[storage.key] = np.frombuffer(file.read(size), storage.dtype)
    return entries, data


def _entries(loaded: Any) -> Entries:
    if not isinstance(loaded, Mapping):
        raise pickle.UnpicklingError("it holds no state dict")
    return loaded


def _array(tensor: _Tensor, data: Data) -> NDArray[Any]:
    """The tensor as an array of its own. Raises ValueError where it reaches outside its storage."""
    storage = data[tensor.storage.key]
    if min((*tensor.shape, *tensor.strides, tensor.offset), default=0) < 0:
        raise ValueError("a tensor has a negative size")
    last = tensor.offset + sum(
        (size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True)
    )
    if 0 not in tensor.shape and last >= storage.size:
        raise ValueError("a tensor reaches outside its storage")
    view = np.lib.stride_tricks.as_strided(
        storage[tensor.offset :],
        tensor.shape,
        tuple(stride * storage.itemsize for stride in tensor.strides),
    )
    return view.copy()

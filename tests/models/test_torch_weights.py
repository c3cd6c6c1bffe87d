"""PyTorch weights are read without running anything the file says."""

from __future__ import annotations

import io
import os
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebench.errors import EdgebenchError
from edgebench.models.torch_weights import load_state_dict

Weights = dict[str, Any]


class FakeStorage:
    """What torch pickles as a persistent id."""

    def __init__(self, key: str, array: Any) -> None:
        self.key, self.array = key, array


class FakeTensor:
    """Pickles as torch's tensors do: a call of `_rebuild_tensor_v2`."""

    def __init__(self, storage: FakeStorage, offset: int, shape: Any, strides: Any) -> None:
        self.arguments: Any = (storage, offset, shape, strides, False, OrderedDict())

    def __reduce__(self) -> Any:
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.arguments


@pytest.fixture
def torch_names(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Just enough of torch's names to write a pickle that refers to them."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def _rebuild_tensor_v2(*_: Any) -> None:
        raise AssertionError("never called")

    class FloatStorage:
        pass

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = (
        utils.__name__,
        "_rebuild_tensor_v2",
    )
    FloatStorage.__module__, FloatStorage.__qualname__ = "torch", "FloatStorage"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2  # type: ignore[attr-defined]
    torch.FloatStorage = FloatStorage  # type: ignore[attr-defined]
    torch._utils = utils  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return torch


def dump(value: Any, torch: types.ModuleType) -> bytes:
    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            if isinstance(obj, FakeStorage):
                return ("storage", torch.FloatStorage, obj.key, "cpu", obj.array.size)
            return None

    buffer = io.BytesIO()
    Pickler(buffer, protocol=2).dump(value)
    return buffer.getvalue()


def write_legacy(path: Path, value: Any, arrays: Weights, torch: types.ModuleType) -> None:
    parts = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little": True})]
    parts += [dump(value, torch), pickle.dumps(list(arrays), 2)]
    parts += [struct.pack("<q", a.size) + a.tobytes() for a in arrays.values()]
    path.write_bytes(b"".join(parts))


def write_zip(path: Path, value: Any, arrays: Weights, torch: types.ModuleType) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", dump(value, torch))
        for key, array in arrays.items():
            archive.writestr(f"archive/data/{key}", array.tobytes())


@pytest.mark.parametrize("write", [write_legacy, write_zip])
def test_both_layouts_give_the_tensors(tmp_path: Path, torch_names: Any, write: Any) -> None:
    array = np.arange(12, dtype="<f4")
    storage = FakeStorage("7", array)
    state = OrderedDict(
        whole=FakeTensor(storage, 0, (3, 4), (4, 1)),
        turned=FakeTensor(storage, 0, (4, 3), (1, 4)),
        tail=FakeTensor(storage, 9, (3,), (1,)),
        scalar=FakeTensor(storage, 5, (), ()),
    )
    write(tmp_path / "w.pth", state, {"7": array}, torch_names)
    weights = load_state_dict(tmp_path / "w.pth")
    assert np.array_equal(weights["whole"], array.reshape(3, 4))
    assert np.array_equal(weights["turned"], array.reshape(3, 4).T)
    assert np.array_equal(weights["tail"], [9, 10, 11])
    assert weights["scalar"] == 5


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(10, (3,), (1,)), (0, (3, 4), (8, 1)), (-1, (2,), (1,)), (4, (3,), (-1,))],
)
def test_a_tensor_outside_its_storage_is_refused(
    tmp_path: Path, torch_names: Any, offset: int, shape: Any, strides: Any
) -> None:
    array = np.arange(12, dtype="<f4")
    state = {"a": FakeTensor(FakeStorage("0", array), offset, shape, strides)}
    write_zip(tmp_path / "w.pth", state, {"0": array}, torch_names)
    with pytest.raises(EdgebenchError, match="a tensor"):
        load_state_dict(tmp_path / "w.pth")


class Hostile:
    """Writes a file when unpickled by a trusting reader."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("write", [write_legacy, write_zip])
def test_a_pickle_that_runs_code_is_refused(tmp_path: Path, torch_names: Any, write: Any) -> None:
    mark = tmp_path / "mark"
    for hostile in (
        Hostile(os.system, f"touch {mark}"),
        Hostile(os.mkdir, str(mark)),
        Hostile(eval, f"open({str(mark)!r}, 'w')"),
    ):
        write(tmp_path / "w.pth", {"a": hostile}, {}, torch_names)
        with pytest.raises(EdgebenchError, match="which no weights file needs"):
            load_state_dict(tmp_path / "w.pth")
        assert not mark.exists()


def test_names_reached_through_an_allowed_module_are_refused(tmp_path: Path) -> None:
    # Protocol 4 looks dotted names up by attribute, which can lead anywhere.
    evil = b"\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.fromkeys\x93."
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        archive.writestr("archive/data.pkl", evil)
    with pytest.raises(EdgebenchError, match=r"OrderedDict\.fromkeys, which no weights"):
        load_state_dict(tmp_path / "w.pth")


@pytest.mark.parametrize("content", [b"", b"\x80", b"PK\x03\x04", pickle.dumps([1, 2])])
def test_a_file_that_is_not_a_state_dict_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(EdgebenchError, match="cannot be read as PyTorch weights"):
        load_state_dict(path)


def test_a_tensor_that_repeats_its_storage_without_end_is_refused(
    tmp_path: Path, torch_names: Any
) -> None:
    """A stride of 0 takes no room in the file: what it would allocate is asked first."""
    array = np.arange(12, dtype="<f4")
    state = {"a": FakeTensor(FakeStorage("0", array), 0, (2**30, 2**10), (0, 0))}
    write_zip(tmp_path / "w.pth", state, {"0": array}, torch_names)
    with pytest.raises(EdgebenchError, match=r"it would grow to \d+ bytes"):
        load_state_dict(tmp_path / "w.pth")


def test_an_archive_that_unpacks_without_end_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(2**22))
    with pytest.raises(EdgebenchError, match="it would grow to 4194304 bytes"):
        load_state_dict(tmp_path / "w.pth")


@pytest.mark.parametrize("elements", [2**40, -1])
def test_a_storage_that_claims_more_than_the_file_has_is_refused(
    tmp_path: Path, torch_names: Any, elements: int
) -> None:
    array = np.arange(12, dtype="<f4")
    state = {"a": FakeTensor(FakeStorage("0", array), 0, (12,), (1,))}
    path = tmp_path / "w.pth"
    write_legacy(path, state, {"0": array}, torch_names)
    path.write_bytes(path.read_bytes()[: -8 - array.nbytes] + struct.pack("<q", elements))
    with pytest.raises(EdgebenchError, match="ends too early"):
        load_state_dict(path)

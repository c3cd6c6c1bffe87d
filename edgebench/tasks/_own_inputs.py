"""A user's own inputs: an .npz file with an entry for each input of the model."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgebench.backend import TensorInfo
from edgebench.errors import UsageError
from edgebench.files.regular_file import open_regular
from edgebench.text.did_you_mean import did_you_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgebench.task import Feeds


def read(path: Path, inputs: Sequence[TensorInfo]) -> list[Feeds]:
    """The samples of the file, each with every input. Raises UsageError with the entry that does not fit.

    An entry is one sample, in the input's shape, or n of them along a leading axis; an input of one
    sample is the same in all.
    """
    arrays = _arrays(path)
    names = [info.name for info in inputs]
    for name in arrays:
        if name not in names:
            raise UsageError(f"{path}: no input {name!r} in the model{did_you_mean(name, names)}")
    missing = [info for info in inputs if info.name not in arrays]
    if missing:
        listed = ", ".join(f"{info.name!r} ({_describe_input(info)})" for info in missing)
        raise UsageError(f"{path}: no entry for {listed}", f"np.savez(file, {missing[0].name}=...)")
    samples = {info.name: _samples(path, info, arrays[info.name]) for info in inputs}
    count = max(len(each) for each in samples.values())
    for name, each in samples.items():
        if len(each) not in (1, count):
            raise UsageError(
                f"{path}: {name!r} has {len(each)} samples, another entry {count}",
                "give every entry as many samples, or one for all",
            )
    return [
        {n: np.asarray(each[number % len(each)], order="C") for n, each in samples.items()}
        for number in range(count)
    ]


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    fix = "write it with numpy: np.savez(file, NAME=array)"
    try:
        with open_regular(path) as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, Mapping):
                raise UsageError(f"{path}: one array, and no .npz file of inputs by name", fix)
            return dict(archive)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path}: not an .npz file of plain arrays: {error}", fix) from None


def _samples(path: Path, info: TensorInfo, array: NDArray[Any]) -> NDArray[Any]:
    """Reshapes to a leading axis of samples, whatever other axes the shape has in front."""
    if info.dtype == "object" and array.dtype.kind == "U":  # text, which files hold in no other way
        array = array.astype(object)
    if array.dtype != np.dtype(info.dtype):
        fix = f'{info.name}={info.name}.astype("{info.dtype}")'
        raise UsageError(
            f"{path}: {info.name!r} is {array.dtype} and the model takes {_describe_input(info)}",
            f"np.array([...], str) for {info.name}" if info.dtype == "object" else fix,
        )
    shape = info.sizes
    if shape is None:
        raise UsageError(
            f"input {info.name!r} has open axes: {_describe_input(info)}",
            f"--shape {info.name}=...",
        )
    if array.shape == shape:
        return array[None]
    if array.shape[1:] == shape and len(array):
        return array
    if (
        shape[:1] == (1,)
        and array.shape[1:] == shape[1:]
        and array.ndim == len(shape)
        and len(array)
    ):
        return array[:, None]
    raise UsageError(
        f"{path}: {info.name!r} has the shape {list(array.shape)} and the model takes {_describe_input(info)}",
        f"give one sample of shape {list(shape)}, or n of them: [n, ...]",
    )


def _describe_input(info: TensorInfo) -> str:
    return f"{info.dtype} {'of any shape' if info.shape is None else list(info.shape)}"

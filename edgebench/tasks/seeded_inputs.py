"""Seeded random inputs for a model without a task: no labels, so parity with a reference is the check.

What an input is drawn from is, in this order: what the option `ranges` says; ones, where its name has "mask"
in it; what the model's graph allows of whole numbers (rows of a table, a K, a shape); 0 or 1 for other whole
numbers. Floats are standard normal, and bytes take all values, but for those of an image's form (four axes,
1 or 3 channels): these are smooth pictures, in [0, 1] or in bytes, since networks for pictures amplify noise
beyond what a right answer may be off. A scalar is the same in all items.

Option `ranges`: {input: [low, high]}, both included, or {input: {choices: [1, 2, 4]}}. A picture is scaled to
its range. Data `inputs`: an .npz file of inputs by name, in the place of all drawing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import numpy as np

from edgebench.backend import TensorInfo
from edgebench.errors import UnsupportedError, UsageError
from edgebench.task import InputRange, Metric, Task, TaskContext
from edgebench.tasks import _own_inputs, _pictures
from edgebench.text.did_you_mean import did_you_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgebench.task import Feeds, Outputs

_ITEMS = 64
_CALIBRATION_ITEMS = 32
_FLAG = InputRange(low=0, high=1, why="nothing in the graph tells")
_MASK = InputRange(values=[1], why="a mask by its name")
_BYTE = InputRange(low=0, high=255, why="bytes")


class SeededInputs(Task):
    option_names: ClassVar = ("ranges",)
    #: Computed by the worker from the outputs themselves; there is nothing to score.
    metrics: ClassVar = {
        "parity_error": Metric(
            "1", "lower", "largest relative error of an output against the reference"
        )
    }

    def __init__(self, context: TaskContext) -> None:
        super().__init__(context)
        asked = _ranges(context.options.get("ranges", {}), context.inputs)
        self._sources = {info.name: _source(info, asked, context) for info in context.inputs}
        file = context.data.get("inputs")
        self._own = None if file is None else _own_inputs.read(file, context.inputs)

    def __len__(self) -> int:
        return _ITEMS if self._own is None else len(self._own)

    def raw(self, index: int) -> int:
        return index

    def preprocess(self, raw: int) -> Feeds:
        if self._own is not None:
            return dict(self._own[raw % len(self._own)])
        rng = np.random.RandomState([self.context.seed, raw])
        always = np.random.RandomState([self.context.seed])
        return {
            info.name: _values(info, rng if info.shape else always, self._sources[info.name])
            for info in self.context.inputs
        }

    def drawn(self) -> str:
        if self._own is not None:
            return ""
        told = (
            f"{info.name!r} ({info.dtype}) from {source}"
            for info in self.context.inputs
            if (source := self._sources[info.name]) is not None
        )
        listed = ", ".join(told)
        return f"; inputs were drawn: {listed}" if listed else ""

    def calibration(self) -> Iterator[Feeds]:
        """Inputs beyond the evaluation items; a user's own where there are no others."""
        return (self.preprocess(_ITEMS + index) for index in range(_CALIBRATION_ITEMS))

    def postprocess(self, outputs: Outputs, raw: Any) -> Outputs:
        return outputs

    def score(self, predictions: Sequence[Outputs]) -> dict[str, float]:
        return {}


TASK = SeededInputs


def _ranges(option: Any, inputs: Sequence[TensorInfo]) -> dict[str, InputRange]:
    """Returns what the option says, by input. Raises UsageError for what cannot be."""
    infos = {info.name: info for info in inputs}
    asked = {}
    for name, limits in dict(option).items():
        if name not in infos:
            raise UsageError(f"ranges: no input {name!r}{did_you_mean(name, infos)}")
        asked[name] = _range(name, limits)
        _check_type(infos[name], asked[name])
    return asked


def _range(name: str, limits: Any) -> InputRange:
    choices = limits.get("choices") if isinstance(limits, dict) else None
    if _are_numbers(choices) and choices:
        return InputRange(choices=choices, why="asked for")
    if isinstance(limits, list | tuple) and _are_numbers(limits) and len(limits) == 2:
        low, high = limits
        if low <= high:
            return InputRange(low=low, high=high, why="asked for")
    raise UsageError(f"ranges: {name} needs [low, high] or {{choices: [...]}}, not {limits}")


def _are_numbers(values: Any) -> bool:
    return isinstance(values, list | tuple) and all(
        isinstance(value, int | float) and np.isfinite(value) for value in values
    )


def _dtype(name: str) -> np.dtype[Any]:
    """The type by its name; numpy knows those that it lacks (bfloat16) once their package is imported."""
    try:
        return np.dtype(name)
    except TypeError:
        import ml_dtypes

        dtype: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
        return dtype


def _check_type(info: TensorInfo, asked: InputRange) -> None:
    """Whole numbers that the input's type has, where it has no others."""
    dtype = _dtype(info.dtype)
    if dtype.kind not in "iub":
        return
    least, most = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    values = asked.choices or [value for value in (asked.low, asked.high) if value is not None]
    for value in values:
        if value != int(value) or not least <= value <= most:
            raise UsageError(
                f"ranges: {info.name!r} is {info.dtype}, which has no {value:g}",
                f"whole numbers from {least} to {most}",
            )


def _source(
    info: TensorInfo, asked: dict[str, InputRange], context: TaskContext
) -> InputRange | None:
    """Returns what an input is drawn from; None: floats as they come."""
    if info.name in asked:
        return asked[info.name]
    if _dtype(info.dtype).kind not in "iub":
        return None
    if "mask" in info.name.lower():
        return _MASK
    known = context.input_ranges.get(info.name)
    return known or (_BYTE if info.dtype == "uint8" else _FLAG)


def _values(
    info: TensorInfo, rng: np.random.RandomState, source: InputRange | None
) -> NDArray[Any]:
    shape = info.sizes
    if shape is None:
        known = "no known shape" if info.shape is None else f"an open axis: {list(info.shape)}"
        raise UsageError(
            f"input {info.name!r} has {known}", fix=f"--shape {info.name}=... with every size"
        )
    dtype = _dtype(info.dtype)
    if dtype.kind not in "fiub" and info.dtype != "bfloat16":
        raise UnsupportedError(
            f"no random values for input {info.name!r} of type {info.dtype}",
            "--inputs FILE.npz with values of yours"
            if dtype.kind in "cOSU"
            else "inputs of a task of yours: --task my_task.py:Class",
        )
    return np.array(_draw_input(info, shape, rng, source), dtype=dtype, order="C")


def _draw_input(
    info: TensorInfo, shape: tuple[int, ...], rng: np.random.RandomState, source: InputRange | None
) -> Any:
    whole = _dtype(info.dtype).kind in "iub"
    picture = _pictures.is_picture(shape) and (not whole or info.dtype == "uint8")
    if source is None:
        return _pictures.picture(shape, rng) if picture else rng.standard_normal(shape)
    if source.choices:
        return np.asarray(source.choices)[rng.randint(len(source.choices), size=shape)]
    if source.values:
        return _exactly(info, shape, source)
    low, high = source.low or 0, source.high or 0
    if picture:
        return low + (high - low) * _pictures.picture(shape, rng)
    if whole:
        # Drawn as the widest type: a count of rows may not fit the default one.
        return rng.randint(int(low), int(high) + 1, size=shape, dtype=np.int64)
    return rng.uniform(low, high, shape)


def _exactly(info: TensorInfo, shape: tuple[int, ...], source: InputRange) -> NDArray[Any]:
    values = np.asarray(source.values)
    try:
        return np.broadcast_to(values.reshape(shape if values.size > 1 else ()), shape)
    except ValueError:
        raise UsageError(
            f"input {info.name!r} of shape {list(shape)} does not take {msgspec.to_builtins(source.values)}",
            f"--range {info.name}=low,high",
        ) from None

"""Seeded random inputs for a model without a task: no labels, so parity with fp32 is the check.

Floats are standard normal. Integers are 0 or 1, which every index and flag accepts; bytes (uint8)
take all values, as pixels do. An input with "mask" in its name is all ones.
Option `ranges`: {input: [low, high]}, inclusive, for inputs that need other values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgebench.backend import TensorInfo
from edgebench.errors import UnsupportedError, UsageError
from edgebench.suggest import did_you_mean
from edgebench.task import Metric, Task, TaskContext

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgebench.task import Feeds, Outputs

_ITEMS = 64
_CALIBRATION_ITEMS = 32


class SeededInputs(Task):
    option_names: ClassVar = ("ranges",)
    #: Computed by the worker from the outputs themselves; there is nothing to score.
    metrics: ClassVar = {
        "parity_error": Metric(
            "1", "lower", "largest relative error of an output against the fp32 reference"
        )
    }

    def __init__(self, context: TaskContext) -> None:
        super().__init__(context)
        self._ranges = dict(context.options.get("ranges", {}))
        names = [info.name for info in context.inputs]
        for name, limits in self._ranges.items():
            if name not in names:
                raise UsageError(f"ranges: no input {name!r}{did_you_mean(name, names)}")
            if not _is_range(limits):
                raise UsageError(f"ranges: {name} needs [low, high], not {limits}")

    def __len__(self) -> int:
        return _ITEMS

    def raw(self, index: int) -> int:
        return index

    def preprocess(self, raw: int) -> Feeds:
        rng = np.random.RandomState([self.context.seed, raw])
        return {
            info.name: _values(info, rng, self._ranges.get(info.name))
            for info in self.context.inputs
        }

    def calibration(self) -> Iterator[Feeds]:
        """Inputs beyond the evaluation items."""
        return (self.preprocess(_ITEMS + index) for index in range(_CALIBRATION_ITEMS))

    def postprocess(self, outputs: Outputs, raw: Any) -> Outputs:
        return outputs

    def score(self, predictions: Sequence[Outputs]) -> dict[str, float]:
        return {}


TASK = SeededInputs


def _is_range(limits: object) -> bool:
    return (
        isinstance(limits, list | tuple)
        and len(limits) == 2
        and all(isinstance(limit, int | float) for limit in limits)
        and limits[0] <= limits[1]
    )


def _values(
    info: TensorInfo, rng: np.random.RandomState, limits: Sequence[float] | None
) -> NDArray[Any]:
    shape = info.sizes
    if shape is None:
        known = "no known shape" if info.shape is None else f"an open axis: {list(info.shape)}"
        raise UsageError(
            f"input {info.name!r} has {known}", fix=f"--shape {info.name}=... with every size"
        )
    kind = np.dtype(info.dtype).kind
    drawn: Any
    if kind == "f" or info.dtype == "bfloat16":
        drawn = (
            rng.standard_normal(shape)
            if limits is None
            else rng.uniform(limits[0], limits[1], shape)
        )
    elif kind in "iub":
        low, high = _integer_limits(info) if limits is None else limits
        drawn = rng.randint(int(low), int(high) + 1, size=shape)
    else:
        raise UnsupportedError(f"no random values for input {info.name!r} of type {info.dtype}")
    return np.asarray(drawn, dtype=np.dtype(info.dtype), order="C")


def _integer_limits(info: TensorInfo) -> tuple[int, int]:
    if "mask" in info.name.lower():
        return 1, 1
    return (0, 255) if info.dtype == "uint8" else (0, 1)

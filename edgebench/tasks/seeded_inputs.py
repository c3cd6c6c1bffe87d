"""Seeded random inputs for a model of the user's own, which brings no data and no labels.

Quality is its parity with the fp32 reference, which the worker computes; the task scores nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgebench.backend import TensorInfo
from edgebench.errors import UnsupportedError
from edgebench.task import Metric, Task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgebench.task import Feeds, Outputs

ITEMS = 64
CALIBRATION_ITEMS = 32
#: Integers are indices more often than not (tokens, classes): small ones are valid in most tables.
INTEGERS_BELOW = 100


class SeededInputs(Task):
    """Floats from a standard normal distribution, integers from 0 to 99, booleans at random.

    Item `i` depends on the seed and on `i` alone.
    """

    metrics: ClassVar[Mapping[str, Metric]] = {}

    def __len__(self) -> int:
        return ITEMS

    def raw(self, index: int) -> Feeds:
        return self._inputs(0, index)

    def preprocess(self, raw: Any) -> Feeds:
        feeds: Feeds = raw
        return feeds

    def postprocess(self, outputs: Outputs) -> Outputs:
        return outputs

    def score(self, predictions: Sequence[Any]) -> dict[str, float]:
        return {}

    def calibration(self) -> Iterator[Feeds]:
        return (self._inputs(1, index) for index in range(CALIBRATION_ITEMS))

    def _inputs(self, purpose: int, index: int) -> Feeds:
        rng = np.random.default_rng((self.context.seed, purpose, index))
        return {info.name: _random(rng, info) for info in self.context.inputs}


def _random(rng: np.random.Generator, info: TensorInfo) -> Any:
    shape = [axis if axis is not None else 1 for axis in info.shape]
    try:
        dtype = np.dtype(info.dtype)
    except TypeError:
        dtype = np.dtype(object)
    if dtype.kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    if dtype.kind in "iu":
        return rng.integers(0, INTEGERS_BELOW, shape).astype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    raise UnsupportedError(
        f"input {info.name!r} takes {info.dtype}: there are no seeded inputs of that type",
        "give inputs by a task of your own: --task my_task.py:Class",
    )


TASK = SeededInputs

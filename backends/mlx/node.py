"""Holds what an operator function sees of its node."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import mlx.core as mx
import numpy as np

from .arrays import MLX_DTYPES, dtype_name, to_mlx
from .unsupported import UnsupportedOperator

if TYPE_CHECKING:
    from .arrays import Array
    from .planner import Planner


class WantsPlain(Exception):
    """An operator with layout "axes" that cannot do this node with channels last."""


class Node:
    """One leaf operator of a graph, with its attributes resolved. Lives as long as the plan."""

    def __init__(
        self,
        tracer: Planner,
        operator: str,
        name: str,
        version: int,
        attributes: Mapping[str, Any],
        outputs: int,
    ) -> None:
        self.tracer = tracer
        self.operator = operator
        self.name = name
        self.version = version  # since_version of the operator
        self.outputs = outputs  # number of outputs wanted, trailing unused ones left out
        self.last = False  # inputs come, and outputs go, with channels last
        self.flat = False  # results are in ONNX's order although inputs came with channels last
        self.packed = False  # its weight is quantised
        # Where an output may be written over an input, in the first forms of operators: it changes no answer.
        self.used = {"consumed_inputs"} if version < 6 else set()
        self._attributes = attributes
        self._memory: dict[str, Any] = {}

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute's value. What no operator function reads, the tracer refuses."""
        self.used.add(name)
        return self._attributes.get(name, default)

    def unread(self) -> dict[str, Any]:
        """Attributes that were given and never read."""
        return {k: v for k, v in self._attributes.items() if k not in self.used}

    def refuse(self, why: str, reason: str = "attribute") -> NoReturn:
        raise UnsupportedOperator(self.name, self.operator, reason, why)

    def static(self, value: Any) -> Array:
        """The value of a shape-like operand, known while the graph is planned."""
        known: Array = self.tracer.static(self, value)
        return known

    def integers(self, value: Any) -> list[int]:
        """The same of integers."""
        return [int(number) for number in self.static(value).reshape(-1)]

    def number(self, value: Any) -> Any:
        """The same of a single number."""
        return self.static(value).reshape(-1)[0].item()

    def mx(self, value: Any) -> Any:
        """An operand as an MLX array; constants are converted once."""
        if not isinstance(value, np.ndarray):
            return value
        return self.tracer.constant(self, value)

    def memo(self, key: str, make: Callable[[], Any]) -> Any:
        """A value derived from attributes and constants, made once for all runs of the plan."""
        if key not in self._memory:
            made = make()
            mx.eval(made)  # a constant of the plan, and no work of its runs
            self._memory[key] = made
        return self._memory[key]

    def moved(self, value: Array, order: Sequence[int]) -> Any:
        """A constant with its axes in another order, in the type that is computed in."""
        array = to_mlx(np.ascontiguousarray(np.transpose(value, order)))
        return array.astype(self.dtype(value.dtype.name))

    def made(self) -> list[Any]:
        """MLX arrays that the operator made of its constants."""
        found: list[Any] = []
        for value in self._memory.values():
            found += value if isinstance(value, tuple) else [value]
        return [value for value in found if hasattr(value, "nbytes")]

    def array(self, values: Any, dtype: str | None = None) -> Any:
        """A constant of the operator's own as an MLX array of `dtype`."""
        made = np.asarray(values)
        return to_mlx(made if dtype is None else made.astype(_numpy_dtype(dtype)))

    def dtype(self, name: str) -> Any:
        """MLX's data type by numpy's name; refuses what MLX lacks or would compute inexactly."""
        if name not in MLX_DTYPES:
            self.refuse(f"MLX has no type {name}", "type")
        if name == "float64" and self.tracer.device != "cpu":
            self.refuse("float64 runs on MLX's CPU device only", "type")
        return MLX_DTYPES[self.tracer.policy_name(name)]

    def floats(self, value: Any) -> None:
        """Refuses the node unless the operand is floating point."""
        if "float" not in dtype_name(value):
            self.refuse(f"{dtype_name(value)} operands", "type")

    def axis(self, axis: int, rank: int) -> int:
        """Where an axis of ONNX's order lies in the arrays the operator got."""
        axis = int(axis)
        if not -rank <= axis < max(rank, 1):
            self.refuse(f"axis {axis} of {rank}")
        axis %= max(rank, 1)
        if not self.last or axis == 0:
            return axis
        return rank - 1 if axis == 1 else axis - 1

    def plain(self) -> None:
        """Asks for ONNX's order of axes."""
        if self.last:
            raise WantsPlain


def _numpy_dtype(name: str) -> Any:
    if name == "bfloat16":
        import ml_dtypes

        return ml_dtypes.bfloat16
    return np.dtype(name)

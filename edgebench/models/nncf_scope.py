"""Asks NNCF's accuracy control which operators can run in int8: a second opinion beside the search's own cuts.

NNCF quantises everything, and takes operators back to floating point until a metric has dropped by no more than was allowed.
Only its choice is used: maps are built by edgebench's own quantiser, and measured and tested like any other.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

from edgebench.errors import UsageError
from edgebench.installed_packages import installed_version
from edgebench.processes.telemetry import NNCF_SWITCH

if TYPE_CHECKING:
    from onnx import ModelProto

    from edgebench.task import Feeds

NAME = "nncf"


def require_nncf() -> None:
    """Raises UsageError where NNCF is not installed."""
    if installed_version(NAME) is None:
        raise UsageError("--via nncf: NNCF is not installed", "pip install 'edgebench[nncf]'")


def nncf_scope(
    model: ModelProto,
    calibration: Sequence[Feeds],
    quality: Callable[[ModelProto], float],
    max_drop: float,
) -> set[str]:
    """Names of the operators with weights that NNCF leaves in int8, of a model whose nodes have names.

    `quality` is a number of which more is better; `max_drop` is how much of it may be lost. What `quality` raises
    ends NNCF's search.
    """
    os.environ[NNCF_SWITCH] = "1"
    import nncf

    def judged(candidate: ModelProto, _: Iterable[int]) -> tuple[float, list[float]]:
        found = quality(candidate)
        return found, [found]

    nncf.set_log_level(logging.ERROR)
    with redirect_stdout(sys.stderr):
        found = nncf.quantize_with_accuracy_control(
            model,
            calibration_dataset=nncf.Dataset([dict(feeds) for feeds in calibration]),
            validation_dataset=nncf.Dataset([0]),  # one for all: `quality` has items of its own
            validation_fn=judged,
            max_drop=max_drop,
            subset_size=len(calibration),
        )
    return quantized_operators(found)


def quantized_operators(model: ModelProto) -> set[str]:
    """Names of operators that take dequantised weights, folded or not: their activations may be dequantised further
    up."""
    constant = {tensor.name for tensor in model.graph.initializer}
    weights: set[str] = set()
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] in constant:
            constant.update(node.output)
        if node.op_type == "DequantizeLinear" and node.input[0] in constant:
            weights.update(node.output)
    return {node.name for node in model.graph.node if weights.intersection(node.input[:2])}

"""Constants: nodes that depend on no input, computed once by ONNX's reference implementation."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def fold(node: Any, inputs: Sequence[Any], opsets: Mapping[str, int]) -> list[Any] | None:
    """The outputs of a node for constant inputs; None where the reference cannot tell."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    names = [f"i{i}" if value is not None else "" for i, value in enumerate(inputs)]
    outputs = [f"o{i}" if name else "" for i, name in enumerate(node.output)]
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    del copy.input[:], copy.output[:]
    copy.input.extend(names)
    copy.output.extend(outputs)
    graph = onnx.helper.make_graph(
        [copy],
        "fold",
        [onnx.ValueInfoProto(name=name) for name in names if name],
        [onnx.ValueInfoProto(name=name) for name in outputs if name],
    )
    opset_imports = [onnx.helper.make_opsetid(domain, v) for domain, v in opsets.items()]
    model = onnx.helper.make_model(graph, opset_imports=opset_imports)
    feeds = {name: value for name, value in zip(names, inputs, strict=True) if name}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results = iter(ReferenceEvaluator(model).run(None, feeds))
    except Exception:  # noqa: BLE001 - the reference raises whatever numpy does; MLX is tried instead
        return None
    folded = [next(results) if name else None for name in outputs]
    if any(value is not None and not isinstance(value, np.ndarray) for value in folded):
        folded = [np.asarray(v) if isinstance(v, np.generic) else v for v in folded]
    return folded

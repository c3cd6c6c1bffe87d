"""What a .tflite file's operators compute in: for both of LiteRT's interfaces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

#: Operators that do the arithmetic.
COMPUTE = frozenset(
    {
        *("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "CONV_3D", "FULLY_CONNECTED"),
        *("BATCH_MATMUL", "SVDF", "LSTM", "UNIDIRECTIONAL_SEQUENCE_LSTM"),
    }
)
_PRECISIONS = {
    "float64": "fp64",
    "float32": "fp32",
    "float16": "fp16",
    "int16": "int16",
    "int8": "int8",
    "uint8": "int8",
}


def operators_in(path: Path) -> list[Any]:
    """The operators of a file, none of them delegated."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kind = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(str(path), experimental_op_resolver_type=kind)
    return list(interpreter._get_ops_details())  # the only place that tells


def census(operators: Sequence[Any]) -> dict[str, int]:
    """Compute-heavy operators by the type they compute in: that of their weights where the kernel
    turns its input into it (8-bit weights under float inputs), else of what they write."""
    import numpy as np

    counts: Counter[str] = Counter()
    for detail in operators:
        if detail["op_name"] not in COMPUTE:
            continue
        kinds = [np.dtype(kind).name for kind in detail["operand_types"]]
        written = np.dtype(detail["result_types"][0]).name
        weight = kinds[1] if len(kinds) > 1 else written
        kind = weight if weight in ("int8", "uint8") else written
        counts[_PRECISIONS.get(kind, kind)] += 1
    return dict(counts)

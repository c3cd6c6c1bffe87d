"""ONNX files: everything that is made of them ahead of a measurement, ONNX Runtime's part included."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from edgebench.preparation.preparation_messages import PrepareJob
from edgebench.preparation.prepare import prepare
from tests import onnx_models as models


def _with_sizes(model: Any) -> Any:
    """Leaves the leading axis open alone: the others would need shapes."""
    for value in model.graph.input:
        for dim in list(value.type.tensor_type.shape.dim)[1:]:
            dim.dim_value = dim.dim_value or 8
    return model


SEEDS: list[bytes] = [
    _with_sizes(model).SerializeToString()
    for model in (
        models.convolution(),
        models.shape_arithmetic(),
        models.two_sequences(),
        models.sparse_weight(),
        models.model([("Relu", ["x"], "y", {})], {"x": [1, 4]}, {"y": [1, 4]}, {}),
    )
]


def read(data: bytes, folder: Path) -> None:
    source = folder / "model.onnx"
    source.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    precision = "int8-dynamic" if digest[0] in "01" else "as-is"
    prepare(
        PrepareJob(
            task="seeded_inputs",
            source=str(source),
            source_sha256=digest,
            precision=precision,
            cache=str(folder / "cache"),
        )
    )

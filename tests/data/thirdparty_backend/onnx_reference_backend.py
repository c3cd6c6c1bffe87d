"""A backend in a package of its own: the evaluator that comes with ONNX, in numpy.

Try it: `pip install .` here, then `pytest --pyargs edgebench.testing --backend onnx-reference`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgebench.backend import (
    Backend,
    Capabilities,
    Effective,
    ModelFile,
    Option,
    Ready,
    Scalar,
    Session,
    TensorInfo,
    Unavailable,
    availability_of,
)
from edgebench.errors import UnsupportedError


class OnnxReferenceBackend(Backend):
    name = "onnx-reference"
    summary = "the evaluator that comes with ONNX: slow, and right"
    # All that others need to know without importing the runtime.
    capabilities = Capabilities(
        formats=("onnx",),
        precisions=("fp32", "int8-static", "as-is"),
        options=(Option("verbose", "int", 0, "what the evaluator prints", minimum=0),),
    )

    def availability(self) -> Ready | Unavailable:
        # By metadata alone: importing is for `import_runtime`, in a worker process.
        return availability_of("onnx", "onnx", "pip install onnx")

    def import_runtime(self) -> str:
        import onnx.reference

        return str(onnx.__version__)

    def open(self, model: ModelFile, options: Mapping[str, Scalar]) -> Session:
        self.capabilities.check(model, options)
        return _Session(_load(model), int(options.get("verbose", 0)))


def _load(model: ModelFile) -> Any:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        loaded = onnx.load(str(model.path))
        onnx.checker.check_model(loaded)
    except (DecodeError, onnx.checker.ValidationError) as error:
        raise UnsupportedError(f"{model.path.name} is no ONNX model: {error}") from None
    return loaded


class _Session(Session):
    def __init__(self, model: Any, verbose: int) -> None:
        from onnx.reference import ReferenceEvaluator

        self._evaluator = ReferenceEvaluator(model, verbose=verbose)
        weights = {tensor.name for tensor in model.graph.initializer}
        self.inputs = tuple(_tensor(v) for v in model.graph.input if v.name not in weights)
        self.outputs = tuple(_tensor(v) for v in model.graph.output)
        self.run = self._run

    def prepare(self, feeds: Any) -> Any:
        return dict(feeds)

    def _run(self, prepared: Any) -> Any:
        return self._evaluator.run(None, prepared)

    def outputs_of(self, prepared: Any, raw: Any) -> Any:
        return {info.name: array for info, array in zip(self.outputs, raw, strict=True)}

    def effective(self) -> Effective:
        import onnx

        return Effective(
            device="cpu",
            precision=None,  # of the nodes: the evaluator does not tell
            inputs=self.inputs,
            outputs=self.outputs,
            runtime=f"onnx reference evaluator {onnx.__version__}",
            options={"verbose": self._evaluator.verbose},  # read back, not copied
        )


def _tensor(value: Any) -> TensorInfo:
    import onnx

    tensor = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    axes = (axis.dim_value if axis.HasField("dim_value") else None for axis in tensor.shape.dim)
    return TensorInfo(value.name, str(dtype), tuple(axes))

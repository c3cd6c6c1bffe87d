"""OpenVINO: precision always set and read back from the compiled graph, node by node."""

from __future__ import annotations

import functools
import importlib.util
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    named_by_place,
)
from edgebench.errors import UnsupportedError
from edgebench.installed_packages import installed_version
from edgebench.processes.telemetry import keep_openvino_silent, openvino_telemetry

from ._kept_conversions import converted, kept_file
from ._session_facts import closed, listed, one_precision

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgebench.backend import Feeds, Outputs
    from edgebench.operator_times import Profiler

_FIX = "pip install 'edgebench[openvino]'"

keep_openvino_silent()

#: What a requested precision means for OpenVINO. Without a hint it chooses bfloat16 or float16 where
#: the processor has them, whatever the file says: hence one is always given. The layers of an int8
#: model that stay in floating point stay in fp32.
_HINTS = {
    "fp32": "f32",
    "bf16": "bf16",
    "fp16": "f16",
    "int8-static": "f32",
    "int8-dynamic": "f32",
    "mixed": "f32",
    "as-is": "f32",
}
#: Names of precisions by the names in OpenVINO's runtime graph.
_PRECISIONS = {
    "f64": "fp64",
    "f32": "fp32",
    "f16": "fp16",
    "bf16": "bf16",
    "i8": "int8",
    "u8": "int8",
    "i4": "int4",
    "u4": "int4",
}
#: Layers of the runtime graph (`layerType`) that do the arithmetic.
_COMPUTE = frozenset(
    {
        *("Convolution", "Deconvolution", "FullyConnected", "MatMul", "GatherMatmul"),
        *("RNNCell", "RNNSeq", "ScaledDotProductAttention", "MHA", "LLMMLP", "QKVProjection"),
    }
)
#: Of a message that lists operators one per line, so many lines are enough.
_QUOTED_LINES = 6
_NOT_EXECUTED = frozenset({"Const", "Input", "Output", "Reorder", "Convert", "Reshape"})

_OPTIONS = (
    Option("threads", "int", None, "threads of an inference (INFERENCE_NUM_THREADS)", minimum=1),
    Option("streams", "int", None, "inferences side by side (NUM_STREAMS)", minimum=1),
    Option(
        "performance_hint",
        "str",
        "latency",
        "what to tune for (PERFORMANCE_HINT)",
        ("latency", "throughput"),
    ),
    Option(
        "execution_mode",
        "str",
        "performance",
        "accuracy forbids tricks that change results (EXECUTION_MODE_HINT)",
        ("performance", "accuracy"),
    ),
    Option(
        "inference_precision",
        "str",
        None,
        "of what an int8 or as-is model leaves in floating point (INFERENCE_PRECISION_HINT); f32 "
        "unless given, and what `precision` says where that is fp32, bf16 or fp16",
        ("f32", "bf16", "f16"),
    ),
    Option(
        "pinning",
        "bool",
        False,
        "bind threads to cores (ENABLE_CPU_PINNING); off unless asked, as in other runtimes",
    ),
    Option("device", "str", "CPU", "OpenVINO device", ("CPU", "GPU", "NPU")),
    Option("precompiled", "bool", False, "load a blob that was compiled ahead of time"),
)


class OpenVinoBackend(Backend):
    name = "openvino"
    summary = "OpenVINO (Intel and Arm processors; Intel GPU and NPU where their drivers are)"
    capabilities = Capabilities(
        formats=("onnx", "blob"),
        precisions=tuple(_HINTS),
        options=_OPTIONS,
        device_kinds=("cpu", "gpu", "npu"),
    )

    def availability(self) -> Ready | Unavailable:
        version = installed_version("openvino")
        if version is None:
            return Unavailable("not_installed", "OpenVINO is not installed", _FIX)
        if importlib.util.find_spec("openvino") is None:
            return Unavailable(
                "broken",
                f"the distribution openvino {version} is installed, its module is missing",
                "pip install --force-reinstall openvino",
            )
        return Ready(version)

    def import_runtime(self) -> str:
        import openvino

        return str(openvino.__version__)

    def converts(self, model: ModelFile, options: Mapping[str, Scalar]) -> bool:
        return bool(options.get("precompiled")) and model.format == "onnx"

    def convert(self, model: ModelFile, options: Mapping[str, Scalar], cache: Path) -> ModelFile:
        """The compiled model as a blob, where `precompiled` asks for it. It fits this OpenVINO and
        this processor only, so both are part of its name."""
        import openvino

        self.capabilities.check(model, options)
        core = openvino.Core()
        settings = _settings(model, options)
        device = _device(core, options)
        made_for = [openvino.__version__, core.get_property(device, "FULL_DEVICE_NAME"), device]
        made_from = [model.sha256, model.precision, settings, made_for]

        def write(path: Path) -> None:
            compiled = _compile(core, model, device, settings)
            path.write_bytes(compiled.export_model().getbuffer())

        return converted(model, kept_file(cache, made_from, ".blob", write), "blob")

    def open(self, model: ModelFile, options: Mapping[str, Scalar]) -> OpenVinoSession:
        self.capabilities.check(model, options)
        if options.get("precompiled") and model.format != "blob":
            raise UnsupportedError(f"precompiled was asked for, {model.path.name} is not compiled")
        return OpenVinoSession(model, options)


class OpenVinoSession(Session):
    """One `openvino.InferRequest`; `run` is its own method `infer`, without copies of ours.

    Inputs share the caller's memory and outputs are views of OpenVINO's, copied by `outputs_of`.
    """

    def __init__(self, model: ModelFile, options: Mapping[str, Scalar]) -> None:
        import openvino

        self._model, self._options = model, dict(options)
        core = openvino.Core()
        device = _device(core, options)
        self._compiled: Any = _compile(core, model, device, _settings(model, options))
        self._check_taken(options)
        inputs = [_tensor_info(port) for port in self._compiled.inputs]
        outputs = [_tensor_info(port) for port in self._compiled.outputs]
        self.inputs = named_by_place(inputs, model.inputs, "input")
        self.outputs = named_by_place(outputs, model.outputs)
        request = self._compiled.create_infer_request()
        self.run = functools.partial(request.infer, share_inputs=True, share_outputs=True)

    def device(self) -> str:
        return "+".join(self._devices()).lower() or "unknown"

    def _devices(self) -> list[str]:
        return [str(name) for name in self._property("EXECUTION_DEVICES") or ()]

    def _read_back(self) -> dict[str, Scalar | None]:
        """Returns what the options became; None where this device does not tell."""
        hint = self._property("INFERENCE_PRECISION_HINT")
        return {
            "threads": self._integer("INFERENCE_NUM_THREADS"),
            "streams": self._integer("NUM_STREAMS"),
            "performance_hint": self._name("PERFORMANCE_HINT"),
            "execution_mode": self._name("EXECUTION_MODE_HINT"),
            "inference_precision": None if hint is None else hint.to_string(),
            "pinning": self._property("ENABLE_CPU_PINNING"),
        }

    def _check_taken(self, options: Mapping[str, Scalar]) -> None:
        """OpenVINO takes fewer threads and streams than asked for where it sees fewer cores, and another
        precision where the processor has not the one asked for."""
        for name, used in self._read_back().items():
            if used is not None and options.get(name, used) != used:
                raise UnsupportedError(
                    f"{name}={options[name]} was asked for, OpenVINO uses {used}",
                    "ask for no more than there are cores"
                    if name in ("threads", "streams")
                    else "",
                )

    def prepare(self, feeds: Feeds) -> Any:
        return {index: _tensor(feeds[info.name]) for index, info in enumerate(self.inputs)}

    def outputs_of(self, prepared: Any, raw: Any) -> Outputs:
        return {
            info.name: _array(raw[index], info.dtype) for index, info in enumerate(self.outputs)
        }

    def effective(self) -> Effective:
        import openvino

        layers = executed_layers(self._compiled)
        compute = compute_census(layers)
        # A model without any heavy layer is named by the other layers it executes.
        precision = one_precision(compute) or one_precision(
            {
                name: count
                for name, count in _census(layers, lambda k: k not in _NOT_EXECUTED).items()
                if name.startswith(("fp", "bf"))
            }
        )
        self._demand_precision(compute, precision)
        read_back = self._read_back()
        threads = read_back.pop("threads")
        return Effective(
            device=self.device(),
            precision=precision,
            providers=dict(Counter(primitive for _, _, primitive in layers if primitive)),
            compute_nodes=compute,
            threads=int(threads) if threads else None,
            inputs=self.inputs,
            outputs=self.outputs,
            runtime=f"openvino {openvino.__version__}",
            telemetry=openvino_telemetry(),
            options={
                **read_back,
                "device": "+".join(self._devices()) or None,
                "precompiled": self._model.format == "blob",
                "hyper_threading": self._property("ENABLE_HYPER_THREADING"),
            },
        )

    def profiler(self) -> Profiler:
        import openvino

        from ._openvino_profiler import OpenVinoProfiler

        if self._model.format == "blob":
            raise UnsupportedError(
                "a model that was compiled ahead of time has no counters", "leave precompiled out"
            )
        core = openvino.Core()
        device = _device(core, self._options)
        settings = {**_settings(self._model, self._options), "PERF_COUNT": "YES"}
        compiled = _compile(core, self._model, device, settings)
        return OpenVinoProfiler(
            self, compiled, self._model, self.device(), lambda name: _PRECISIONS.get(name, name)
        )

    def close(self) -> None:
        self.run = closed
        self._compiled = None

    def _demand_precision(self, compute: Mapping[str, int], precision: str | None) -> None:
        """Raises UnsupportedError where another precision runs than was asked for.

        fp32 means every layer; of a lower one, layers that cannot have it stay in fp32 ("mixed").
        """
        wanted = self._model.precision
        if wanted == "fp32" and precision not in ("fp32", None):
            raise UnsupportedError(
                f"fp32 was asked for, but OpenVINO runs {listed(compute, 'layers') or precision}"
            )
        lower = "int8" if wanted.startswith("mixed") else wanted.partition("-")[0]
        if lower in ("bf16", "fp16", "int8") and not compute.get(lower) and precision != lower:
            raise UnsupportedError(
                f"{wanted} was asked for, but no compute-heavy layer runs in {lower} "
                f"({listed(compute, 'layers') or 'there is none'})"
            )

    def _property(self, name: str) -> Any:
        """A property of the compiled model; None where this device has none of that name."""
        if name not in self._compiled.get_property("SUPPORTED_PROPERTIES"):
            return None
        return self._compiled.get_property(name)

    def _integer(self, name: str) -> int | None:
        value = self._property(name)
        return None if value is None else int(value)

    def _name(self, name: str) -> str | None:
        value = self._property(name)
        return None if value is None else str(value).rpartition(".")[2].lower()


def _device(core: Any, options: Mapping[str, Scalar]) -> str:
    """The device that is asked for; UnsupportedError where this machine has none."""
    device = str(options.get("device", "CPU"))
    present = [str(name) for name in core.available_devices]
    if not any(name.split(".")[0] == device for name in present):
        raise UnsupportedError(
            f"OpenVINO finds no {device} here, only {', '.join(present)}",
            "install the driver of that device (OpenVINO's guide, Additional Configurations)",
        )
    return device


def _settings(model: ModelFile, options: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """OpenVINO's properties for a variant."""
    settings: dict[str, Scalar] = {
        "INFERENCE_PRECISION_HINT": _precision_hint(model, options),
        "PERFORMANCE_HINT": str(options.get("performance_hint", "latency")).upper(),
        "EXECUTION_MODE_HINT": str(options.get("execution_mode", "performance")).upper(),
    }
    if "threads" in options:
        settings["INFERENCE_NUM_THREADS"] = options["threads"]
    if "streams" in options:
        settings["NUM_STREAMS"] = options["streams"]
    if options.get("device", "CPU") == "CPU":
        settings["ENABLE_CPU_PINNING"] = bool(options.get("pinning", False))
    elif "pinning" in options:
        raise UnsupportedError("pinning is an option of the CPU device only")
    return settings


def _precision_hint(model: ModelFile, options: Mapping[str, Scalar]) -> str:
    hint = _HINTS[model.precision.partition(":")[0]]
    chosen = str(options.get("inference_precision", hint))
    if chosen != hint and model.precision in ("fp32", "bf16", "fp16"):
        raise UnsupportedError(
            f"precision {model.precision} and inference_precision={chosen} contradict each other",
            "leave inference_precision out, or ask for another precision",
        )
    return chosen


def _compile(core: Any, model: ModelFile, device: str, settings: Mapping[str, Scalar]) -> Any:
    """The compiled model. Raises UnsupportedError with OpenVINO's own message."""
    try:
        if model.format == "blob":
            return core.import_model(model.path.read_bytes(), device, dict(settings))
        return core.compile_model(core.read_model(str(model.path)), device, dict(settings))
    except (RuntimeError, TypeError, ValueError) as error:
        raise UnsupportedError(f"OpenVINO refuses {model.path.name}: {reason(error)}") from None


def reason(error: Exception) -> str:
    """The telling lines of OpenVINO's message: the others say where in its source it was thrown."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("Exception from ", "Check "))]
    return " ".join((telling or lines or [type(error).__name__])[:_QUOTED_LINES])


def _tensor_info(port: Any) -> TensorInfo:
    shape = port.get_partial_shape()
    sizes = (
        None
        if shape.rank.is_dynamic
        else tuple(None if axis.is_dynamic else int(axis.get_length()) for axis in shape)
    )
    return TensorInfo(_port_name(port), _dtype_name(port.get_element_type()), sizes)


#: OpenVINO's Python hands bf16 out as numpy's float16: the same bits, other numbers.
_BF16, _BFLOAT16 = "bf16", "bfloat16"


def _dtype_name(element: Any) -> str:
    return _BFLOAT16 if element.get_type_name() == _BF16 else str(element.to_dtype().name)


def _tensor(array: NDArray[Any]) -> Any:
    """A tensor over the array's own memory, which it keeps alive; for bf16 a copy."""
    import numpy as np
    import openvino

    whole = np.asarray(array, order="C")
    if whole.dtype.name != _BFLOAT16:
        return openvino.Tensor(whole, True)
    tensor = openvino.Tensor(openvino.Type.bf16, list(array.shape))
    tensor.data.view(np.uint16)[...] = whole.view(np.uint16)
    return tensor


def _array(raw: Any, dtype: str) -> NDArray[Any]:
    import numpy as np

    array: NDArray[Any] = np.array(raw)
    if dtype != _BFLOAT16:
        return array
    import ml_dtypes

    return array.view(ml_dtypes.bfloat16)


def _port_name(port: Any) -> str:
    """OpenVINO's name of an input or output, one of several where optimisation added some; "" where it
    has none."""
    names = port.get_names()
    friendly = str(port.get_node().get_friendly_name()).removesuffix("/sink_port_0")
    return friendly if friendly in names else min(names, default="")


def executed_layers(compiled: Any) -> list[tuple[str, str, str]]:
    """(layerType, runtimePrecision, primitiveType) of every layer of the graph that runs."""
    keys = ("layerType", "runtimePrecision", "primitiveType")
    return [
        (facts[0], facts[1], facts[2] if facts[0] not in _NOT_EXECUTED else "")
        for node in compiled.get_runtime_model().get_ordered_ops()
        for info in [node.get_rt_info()]
        for facts in [[info[key].astype(str) if key in info else "" for key in keys]]
    ]


def compute_census(layers: list[tuple[str, str, str]]) -> dict[str, int]:
    """Precision -> layers that do the arithmetic in it."""
    return _census(layers, lambda kind: kind in _COMPUTE)


def _census(layers: list[tuple[str, str, str]], counts: Any) -> dict[str, int]:
    counts_of = Counter(_PRECISIONS.get(kind, kind) for layer, kind, _ in layers if counts(layer))
    return dict(counts_of)


BACKEND = OpenVinoBackend

"""Holds what the fakes of TensorRT 10 and 11 share: building, loading and running, with ONNX Runtime inside.

They hold the documented interface, not the speed: a method that a version lacks does not exist, a
call in the wrong order is refused as TensorRT refuses it, and answers are computed, so that parity is
real. `lay_out` writes a folder that, on PYTHONPATH, is a machine with TensorRT, cuda-python, a driver
and a GPU. Names are TensorRT's own; tests hold them against the real bindings.
"""

from __future__ import annotations

import ctypes
import json
import pickle
import time
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any, ClassVar

from edgebench.testing import fake_tensorrt_cuda as cuda

#: What both versions have alike.
__all__ = [
    "DataType",
    "DeviceType",
    "Dims",
    "EngineInspector",
    "IBuilderConfig",
    "ICudaEngine",
    "IExecutionContext",
    "IHostMemory",
    "ILogger",
    "INetworkDefinition",
    "IOptimizationProfile",
    "IProfiler",
    "ITimingCache",
    "LayerInformationFormat",
    "MemoryPoolType",
    "OnnxParser",
    "ProfilingVerbosity",
    "Runtime",
    "TensorIOMode",
    "nptype",
]

_CUDA_VERSION = "12.9.4"


def lay_out(folder: Path, major: int, version: str | None = None) -> Path:
    """Writes packages `tensorrt` and `cuda` of the fakes, their metadata and a driver into `folder`."""
    version = version or {10: "10.13.0", 11: "11.4.1"}.get(major, f"{major}.0.0")
    texts = {
        "tensorrt/__init__.py": f"from edgebench.testing.fake_tensorrt{major} import *\n"
        f'__version__ = Runtime.version = "{version}"\n',
        f"tensorrt-{version}.dist-info/METADATA": _metadata("tensorrt", version),
        "cuda/__init__.py": "",
        "cuda/bindings/__init__.py": "",
        "cuda/bindings/runtime.py": "import sys\n"
        "from edgebench.testing import fake_tensorrt_cuda\n"
        "sys.modules[__name__] = fake_tensorrt_cuda\n",
        f"cuda_python-{_CUDA_VERSION}.dist-info/METADATA": _metadata("cuda-python", _CUDA_VERSION),
        # Python imports it at its start: the only way to play a system's library.
        "sitecustomize.py": "import ctypes\n"
        "class Driver:\n"
        "    def cuInit(self, flags): return 0\n"
        "    def cuDeviceGetCount(self, count): count._obj.value = 1; return 0\n"
        "class CDLL(ctypes.CDLL):\n"
        "    def __new__(cls, name=None, *args, **kwargs):\n"
        "        return Driver() if name == 'libcuda.so.1' else super().__new__(cls)\n"
        "ctypes.CDLL = CDLL\n",
    }
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def _metadata(name: str, version: str) -> str:
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"


class _NoConstructor:
    """Most of TensorRT's objects come from another object's method, never from their class."""

    @classmethod
    def _made(cls, **attributes: Any) -> Any:
        made = cls.__new__(cls)
        vars(made).update(attributes)
        return made


class ILogger:
    Severity = IntEnum(
        "Severity", ["INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"], start=0
    )

    def __init__(self) -> None:
        self._ready = True


def _fail(logger: Any, message: str) -> None:
    logger.log(ILogger.Severity.ERROR, message)


def _checked_logger(logger: Any) -> Any:
    if not getattr(logger, "_ready", False):
        raise TypeError("ILogger.__init__() must be called when overriding __init__")
    return logger


class IProfiler:
    def __init__(self) -> None:
        self._ready = True


DataType = IntEnum(
    "DataType", ["FLOAT", "HALF", "INT8", "INT32", "BOOL", "UINT8", "FP8", "BF16", "INT64"], start=0
)
_NUMPY = {
    DataType.FLOAT: "float32",
    DataType.HALF: "float16",
    DataType.INT8: "int8",
    DataType.INT32: "int32",
    DataType.BOOL: "bool",
    DataType.UINT8: "uint8",
    DataType.INT64: "int64",
}


def nptype(trt_type: DataType) -> Any:
    import numpy as np

    if trt_type not in _NUMPY:
        raise TypeError("Could not resolve TensorRT datatype to an equivalent numpy datatype.")
    return np.dtype(_NUMPY[trt_type]).type


TensorIOMode = IntEnum("TensorIOMode", ["NONE", "INPUT", "OUTPUT"], start=0)
ProfilingVerbosity = IntEnum(
    "ProfilingVerbosity", ["LAYER_NAMES_ONLY", "NONE", "DETAILED"], start=0
)
LayerInformationFormat = IntEnum("LayerInformationFormat", ["ONELINE", "JSON"], start=0)
MemoryPoolType = IntEnum("MemoryPoolType", ["WORKSPACE"], start=0)
DeviceType = IntEnum("DeviceType", ["GPU", "DLA"], start=0)


class Dims(tuple[int, ...]):
    """Made of one list of sizes."""


class IHostMemory(bytes):
    @property
    def nbytes(self) -> int:
        return len(self)


# --- building -----------------------------------------------------------------------------------


class ITensor(_NoConstructor):
    name: str
    shape: Dims


class ILayer(_NoConstructor):
    name: str
    _op: str


class INetworkDefinition(_NoConstructor):
    """Holds the ONNX model it was parsed from."""

    _model: Any = None
    _strong = False

    @property
    def num_inputs(self) -> int:
        return len(self._inputs())

    @property
    def num_layers(self) -> int:
        return 0 if self._model is None else len(self._model.graph.node)

    def get_input(self, index: int) -> ITensor | None:
        if not 0 <= index < self.num_inputs:
            return None
        value = self._inputs()[index]
        sizes = value.type.tensor_type.shape.dim
        shape = Dims([d.dim_value if d.HasField("dim_value") else -1 for d in sizes])
        tensor: ITensor = ITensor._made(name=value.name, shape=shape)
        return tensor

    def get_layer(self, index: int) -> ILayer | None:
        if not 0 <= index < self.num_layers:
            return None
        node = self._model.graph.node[index]
        layer: ILayer = ILayer._made(name=_layer_name(node, index), _op=node.op_type)
        return layer

    def _inputs(self) -> list[Any]:
        from edgebench.models.onnx_file import graph_inputs

        return [] if self._model is None else graph_inputs(self._model)


def _layer_name(node: Any, index: int) -> str:
    return node.name or f"{node.op_type}_{index}"


class ParserError(_NoConstructor):
    _node: Any
    _text: str

    def desc(self) -> str:
        return self._text

    def node_name(self) -> str:
        return self._node.name if self._node is not None else ""

    def node_operator(self) -> str:
        return self._node.op_type if self._node is not None else ""


class OnnxParser:
    def __init__(self, network: INetworkDefinition, logger: Any) -> None:
        self._network = network
        self._logger = _checked_logger(logger)
        self._errors: list[ParserError] = []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]

    def parse_from_file(self, model: str) -> bool:
        import onnx

        if self._network._model is not None:
            return self._refuse(None, "the network is not empty")
        try:
            loaded = onnx.load(model)
        except Exception as error:  # noqa: BLE001 - protobuf's own, which nobody need import
            return self._refuse(None, f"failed to parse the ONNX model: {error}")
        for node in loaded.graph.node:
            problem = _unreadable(loaded, node)
            if problem:
                return self._refuse(node, problem)
        self._network._model = onnx.shape_inference.infer_shapes(loaded)
        return True

    def _refuse(self, node: Any, text: str) -> bool:
        self._errors.append(ParserError._made(_node=node, _text=text))
        _fail(self._logger, text)
        return False


def _unreadable(model: Any, node: Any) -> str:
    """Why TensorRT's parser refuses a node: the rules the backend's rewriting must keep."""
    from onnx import TensorProto, numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    if node.op_type == "DynamicQuantizeLinear":
        return "no importer registered for op: DynamicQuantizeLinear"
    if any(constants[n].data_type == TensorProto.DOUBLE for n in node.input if n in constants):
        return "DOUBLE weights are not supported"
    if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
        return ""
    zero = constants.get(node.input[2]) if len(node.input) > 2 else None
    if zero is None or zero.data_type != TensorProto.INT8:
        return "quantisation to another type than INT8"
    if numpy_helper.to_array(zero).any():
        return "zero points must be all zeros: quantisation is symmetric only"
    source = constants.get(node.input[0])
    if source is not None and source.data_type == TensorProto.INT32:
        return "INT32 cannot be dequantised"
    return ""


class IOptimizationProfile(_NoConstructor):
    _shapes: dict[str, tuple[Dims, Dims, Dims]]

    def set_shape(self, input: str, min: Dims, opt: Dims, max: Dims) -> None:
        """Judges nothing, as the library does: a profile is refused where it is added."""
        self._shapes[input] = (Dims(min), Dims(opt), Dims(max))

    def _grows(self) -> bool:
        return all(
            len(least) == len(usual) == len(most)
            and all(a <= b <= c for a, b, c in zip(least, usual, most, strict=True))
            for least, usual, most in self._shapes.values()
        )


class ITimingCache(_NoConstructor):
    _content: bytes

    def serialize(self) -> IHostMemory:
        return IHostMemory(self._content or b"fake timings")


class IBuilderConfig(_NoConstructor):
    _flags: set[Any]
    _tf32: Any
    _pools: dict[MemoryPoolType, int]
    _profiles: list[IOptimizationProfile]
    _timings: ITimingCache | None = None
    profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY
    builder_optimization_level = 3
    default_device_type = DeviceType.GPU
    DLA_core = -1

    def set_flag(self, flag: Any) -> None:
        self._flags.add(flag)

    def clear_flag(self, flag: Any) -> None:
        self._flags.discard(flag)

    def get_flag(self, flag: Any) -> bool:
        return flag in self._flags

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        self._pools[pool] = pool_size

    def get_memory_pool_limit(self, pool: MemoryPoolType) -> int:
        return self._pools.get(pool, cuda.TOTAL_BYTES)

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache:
        cache: ITimingCache = ITimingCache._made(_content=bytes(serialized_timing_cache))
        return cache

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        self._timings = cache
        return True

    def get_timing_cache(self) -> ITimingCache | None:
        return self._timings

    @property
    def num_optimization_profiles(self) -> int:
        return len(self._profiles)

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        if not profile._grows():
            return -1
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def can_run_on_DLA(self, layer: ILayer) -> bool:
        return layer._op in ("Conv", "Relu", "Cast", "Flatten")


class Builder:
    """The versions' modules say which flags there are."""

    num_DLA_cores = 0
    _flag_type: ClassVar[Any]
    _version: ClassVar[str]
    _strong_bit: ClassVar[int | None]  # of create_network; None: always strong

    def __init__(self, logger: Any) -> None:
        self._logger = _checked_logger(logger)

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        strong = self._strong_bit is None or bool(flags >> self._strong_bit & 1)
        network: INetworkDefinition = INetworkDefinition._made(_strong=strong)
        return network

    def create_builder_config(self) -> IBuilderConfig:
        tf32 = self._flag_type.TF32
        config: IBuilderConfig = IBuilderConfig._made(
            _tf32=tf32, _flags={tf32}, _pools={}, _profiles=[]
        )
        return config

    def create_optimization_profile(self) -> IOptimizationProfile:
        profile: IOptimizationProfile = IOptimizationProfile._made(_shapes={})
        return profile

    def build_serialized_network(
        self, network: INetworkDefinition, config: IBuilderConfig
    ) -> IHostMemory | None:
        if network._model is None:
            return self._refuse("the network has no outputs")
        weak = {name for name in ("FP16", "INT8") if self._has(config, name)}
        if weak and network._strong:
            return self._refuse("precision flags are not allowed in a strongly typed network")
        missing = set() if network._strong else _flags_needed(network._model) - weak
        if missing:
            return self._refuse(f"a weakly typed network of these types needs {sorted(missing)}")
        open_inputs = [t.name for t in _tensors_of(network) if -1 in t.shape]
        shapes = config._profiles[0]._shapes if config._profiles else {}
        if set(open_inputs) != set(shapes):
            return self._refuse(f"no optimisation profile for {open_inputs}")
        ranks = {tensor.name: len(tensor.shape) for tensor in _tensors_of(network)}
        if any(len(dims) != ranks[name] for name, three in shapes.items() for dims in three):
            return self._refuse("a profile's shapes have another rank than the input")
        if config.default_device_type == DeviceType.DLA and config.DLA_core >= self.num_DLA_cores:
            return self._refuse("no such DLA core")
        engine = {
            "version": Runtime.version,
            "model": network._model.SerializeToString(),
            "half": "FP16" in weak,
            "tf32": config.get_flag(config._tf32),
            "detailed": config.profiling_verbosity == ProfilingVerbosity.DETAILED,
            "profile": {name: [tuple(dims) for dims in three] for name, three in shapes.items()},
        }
        return IHostMemory(pickle.dumps(engine))

    def _has(self, config: IBuilderConfig, flag: str) -> bool:
        return hasattr(self._flag_type, flag) and config.get_flag(getattr(self._flag_type, flag))

    def _refuse(self, text: str) -> IHostMemory | None:
        _fail(self._logger, text)
        return None


def _flags_needed(model: Any) -> set[str]:
    """The precision flags without which a weakly typed network of these types is refused."""
    from onnx import TensorProto

    needed = {"INT8"} if any(n.op_type == "QuantizeLinear" for n in model.graph.node) else set()
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    return needed | ({"FP16"} if TensorProto.FLOAT16 in kinds else set())


def _tensors_of(network: INetworkDefinition) -> list[ITensor]:
    tensors = map(network.get_input, range(network.num_inputs))
    return [tensor for tensor in tensors if tensor is not None]


# --- running ------------------------------------------------------------------------------------


class Runtime:
    version = "0"
    DLA_core = -1

    def __init__(self, logger: Any) -> None:
        self._logger = _checked_logger(logger)

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        try:
            content = pickle.loads(serialized_engine)
        except Exception:  # noqa: BLE001 - pickle raises anything for what is no pickle
            content = None
        if not isinstance(content, dict) or "model" not in content:
            _fail(self._logger, "magicTag mismatch: this is no serialized engine")
            return None
        if content["version"] != self.version:
            other = f"the engine is of version {content['version']}, this is {self.version}"
            _fail(self._logger, other)
            return None
        engine: ICudaEngine = ICudaEngine._made()
        engine._load(content)
        return engine


class ICudaEngine(_NoConstructor):
    _content: dict[str, Any]
    _names: list[str]

    def _load(self, content: dict[str, Any]) -> None:
        import onnx
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        self._content = content
        self._model = onnx.load_from_string(content["model"])
        self._session = onnxruntime.InferenceSession(
            content["model"], options, providers=["CPUExecutionProvider"]
        )
        self._inputs = {node.name: node for node in self._session.get_inputs()}
        self._outputs = {node.name: node for node in self._session.get_outputs()}
        self._names = [*self._inputs, *self._outputs]

    @property
    def num_io_tensors(self) -> int:
        return len(self._names)

    def get_tensor_name(self, index: int) -> str:
        return self._names[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self._inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        kind = (self._inputs | self._outputs)[name].type.removeprefix("tensor(").removesuffix(")")
        numpy_name = {"float": "float32"}.get(kind, kind)
        return next(key for key, value in _NUMPY.items() if value == numpy_name)

    def get_tensor_shape(self, name: str) -> Dims:
        shape = (self._inputs | self._outputs)[name].shape
        return Dims([size if isinstance(size, int) else -1 for size in shape])

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Dims]:
        return [Dims(list(shape)) for shape in self._content["profile"][name]]

    def create_execution_context(self) -> IExecutionContext:
        context: IExecutionContext = IExecutionContext._made()
        context._start(self)
        return context

    def create_engine_inspector(self) -> EngineInspector:
        inspector: EngineInspector = EngineInspector._made(_engine=self)
        return inspector


class IExecutionContext(_NoConstructor):
    profiler: Any = None

    def _start(self, engine: ICudaEngine) -> None:
        self._engine = engine
        self._addresses: dict[str, int] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        _, self._scratch = cuda.cudaMalloc(cuda.CONTEXT_BYTES)

    def __del__(self, free: Any = cuda.cudaFree) -> None:
        free(self._scratch)  # bound early: at exit, modules are emptied first

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if name not in self._engine._names or memory not in cuda.device:
            return False
        self._addresses[name] = memory
        return True

    def set_input_shape(self, name: str, shape: Sequence[int]) -> bool:
        least, _, most = self._engine.get_tensor_profile_shape(name, 0)
        if any(not a <= b <= c for a, b, c in zip(least, shape, most, strict=True)):
            return False
        self._shapes[name] = tuple(shape)
        return True

    def get_tensor_shape(self, name: str) -> Dims:
        if name in self._shapes:
            return Dims(list(self._shapes[name]))
        shape = self._engine.get_tensor_shape(name)
        if -1 not in shape or name in self._engine._inputs or not self._shapes:
            return shape
        given = next(iter(self._shapes.values()))  # the fake's open axis is the leading one
        return Dims([given[0], *shape[1:]])

    def execute_async_v3(self, stream_handle: int) -> bool:
        known = all(-1 not in self.get_tensor_shape(name) for name in self._engine._names)
        ready = set(self._addresses) == set(self._engine._names)
        stream = cuda.streams.get(stream_handle)
        if not known or not ready or stream is None:
            return False
        shapes = {name: self.get_tensor_shape(name) for name in self._engine._names}
        stream.add(lambda: self._compute(shapes))
        return True

    def _compute(self, shapes: dict[str, Dims]) -> None:
        import numpy as np

        start_ns = time.perf_counter_ns()
        feeds = {name: self._view(name, shapes[name]) for name in self._engine._inputs}
        answers = self._engine._session.run(list(self._engine._outputs), feeds)
        for name, answer in zip(self._engine._outputs, answers, strict=True):
            np.copyto(self._view(name, shapes[name]), answer)
        if self.profiler is not None:
            layers = self._engine._model.graph.node
            each_ms = (time.perf_counter_ns() - start_ns) / 1e6 / len(layers)
            for index, node in enumerate(layers):
                self.profiler.report_layer_time(_layer_name(node, index), each_ms)

    def _view(self, name: str, shape: Dims) -> Any:
        import numpy as np

        dtype = np.dtype(nptype(self._engine.get_tensor_dtype(name)))
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        memory = (ctypes.c_uint8 * size).from_address(self._addresses[name])
        return np.frombuffer(memory, dtype).reshape(tuple(shape))


class EngineInspector(_NoConstructor):
    """One layer for each node; real engines fuse them."""

    execution_context: IExecutionContext | None = None
    _engine: ICudaEngine

    @property
    def _apart(self) -> bool:
        """How a tensor's type is written: apart from its layout, or, before 11, in one text."""
        return not Runtime.version.startswith("10.")

    def get_engine_information(self, format: LayerInformationFormat) -> str:
        if format != LayerInformationFormat.JSON:
            raise ValueError("the fake writes JSON only")
        graph = self._engine._model.graph
        types = _element_types(graph)
        makers = {output: node for node in graph.node for output in node.output}
        layers = [self._layer(node, i, types, makers) for i, node in enumerate(graph.node)]
        names = list(self._engine._names)
        ends = {"I/O Tensors": [{"Name": n} for n in names]} if self._apart else {"Bindings": names}
        return json.dumps({"Layers": layers, **ends})

    def _layer(self, node: Any, index: int, types: dict[str, str], makers: dict[str, Any]) -> Any:
        name = _layer_name(node, index)
        content = self._engine._content
        if not content["detailed"]:
            return name
        kinds = {"Conv": "CaskConvolution", "MatMul": "gemm", "Gemm": "gemm", "Cast": "Reformat"}
        kind = kinds.get(node.op_type, node.op_type)
        element = types.get(node.input[0], "Float")
        maker = makers.get(node.input[0])
        if node.op_type in kinds and maker is not None and maker.op_type == "DequantizeLinear":
            element = "Int8"
        if element == "Float" and content["half"] and node.op_type in kinds:
            element = "Half"
        tf32 = element == "Float" and content["tf32"] and node.op_type in kinds
        return {
            "Name": name,
            "LayerType": kind,
            "Inputs": [self._tensor(node.input[0], element)],
            "Outputs": [self._tensor(node.output[0], element)],
            "TacticName": "sm80_xmma_tf32f32_tf32f32" if tf32 else "sm80_xmma",
        }

    def _tensor(self, name: str, element: str) -> dict[str, Any]:
        if self._apart:
            return {"Name": name, "DataType": element, "Format": "Row major linear"}
        spoken = {"Float": "FP32", "Half": "FP16"}.get(element, element)
        return {"Name": name, "Format/Datatype": f"Row major linear {spoken} format"}


def _element_types(graph: Any) -> dict[str, str]:
    from onnx import TensorProto

    names = {TensorProto.FLOAT: "Float", TensorProto.FLOAT16: "Half", TensorProto.INT8: "Int8"}
    types = {v.name: v.type.tensor_type.elem_type for v in (*graph.input, *graph.value_info)}
    return {name: names.get(kind, "Int64") for name, kind in types.items()}

"""An engine with its buffers: copy in, compute, copy out, wait; nothing else is in the measured call."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebench.backend import DeviceTimes, Effective, ModelFile, Scalar, Session, TensorInfo
from edgebench.errors import UnsupportedError

from .._session_facts import closed
from . import library
from .build_engine import BUILD_OPTIONS, driver_text, read_facts, sizes_of
from .cuda import Cuda, CudaError, Pinned
from .layers import Layers, read_layers
from .log import make_logger

if TYPE_CHECKING:
    import numpy as np
    import tensorrt as trt

    from edgebench.backend import Feeds, Outputs
    from edgebench.operator_times import Profiler

#: Runs with the profiler attached: it slows them, so that few are enough for a share of each layer.
PROFILED_RUNS = 5
_ASKED = {"fp16": "fp16", "int8-static": "int8"}


@dataclass(frozen=True)
class Tensor:
    """An input or output of the engine and its place in device memory."""

    info: TensorInfo
    dtype: np.dtype[Any]
    device: int  # pointer
    size_bytes: int  # allocated: of the largest shape


@dataclass(frozen=True)
class Copy:
    """Bytes between a page-locked host buffer and the device."""

    device: int
    host: int
    size_bytes: int


class Prepared:
    """One query's inputs in page-locked memory. Gives its buffers back when it is dropped."""

    def __init__(
        self,
        buffers: dict[str, Pinned],
        copies: list[Copy],
        shapes: dict[str, tuple[int, ...]],
        give_back: Callable[[dict[str, Pinned]], None],
    ) -> None:
        self.copies = copies
        self.shapes = shapes
        self._buffers = buffers
        self._give_back = give_back

    def __del__(self) -> None:
        self._give_back(self._buffers)


class TrtSession(Session):
    """A deserialised engine with one execution context and one stream."""

    def __init__(self, model: ModelFile, options: Mapping[str, Scalar]) -> None:
        trt = library.load()

        self._model = model
        self._options = options
        self._facts = read_facts(model.path)
        if self._facts is None:
            _refuse_build_options(model.path, options)
        try:
            self._cuda = Cuda(spin_wait=bool(options.get("spin_wait")))
            self._gpu = self._cuda.gpu()
            self._logger = make_logger()
            self._runtime = trt.Runtime(self._logger)
            self._engine = self._deserialized()
            self._context = _context(self._engine)
            self._allocate()
            self._graph = self._captured() if options.get("cuda_graph") else None
        except CudaError as error:
            raise UnsupportedError(f"{model.path.name} does not load: {error}") from None
        self.run = self._bound()

    def _deserialized(self) -> Any:
        """The engine in the file. Raises UnsupportedError for another TensorRT's, GPU's, or none."""
        trt = library.load()

        path, facts = self._model.path, self._facts
        if "dla_core" in self._options:
            self._runtime.DLA_core = int(self._options["dla_core"])
        engine: Any = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if engine is None:
            built = f" It was built by TensorRT {facts.tensorrt} for {facts.gpu}." if facts else ""
            raise UnsupportedError(
                f"TensorRT {trt.__version__} does not load {path.name}: {self._logger.why()}.{built}",
                "build the engine with this TensorRT on this GPU, or give the ONNX model instead",
            )
        return engine

    # Buffers

    def _allocate(self) -> None:
        """Device memory for every input and output, and host memory for the outputs."""
        trt = library.load()

        engine = self._engine
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        inputs = [n for n in names if engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
        self._dynamic = any(-1 in sizes_of(engine.get_tensor_shape(name)) for name in inputs)
        for name in inputs:
            if -1 in sizes_of(engine.get_tensor_shape(name)):
                largest = engine.get_tensor_profile_shape(name, 0)[2]
                self._context.set_input_shape(name, sizes_of(largest))
        self._inputs = [self._tensor(name) for name in inputs]
        self._outputs = [self._tensor(name) for name in names if name not in inputs]
        self.inputs = tuple(tensor.info for tensor in self._inputs)
        self.outputs = tuple(tensor.info for tensor in self._outputs)
        self._answers = {t.info.name: Pinned(self._cuda, t.size_bytes) for t in self._outputs}
        self._copies_out = [
            Copy(t.device, self._answers[t.info.name].pointer, t.size_bytes) for t in self._outputs
        ]
        self._spare: list[dict[str, Pinned]] = []
        self._shapes: dict[str, tuple[int, ...]] = {}

    def _tensor(self, name: str) -> Tensor:
        import numpy as np

        trt = library.load()

        try:
            nptype: Callable[[Any], Any] = trt.nptype
            dtype = np.dtype(nptype(self._engine.get_tensor_dtype(name)))
        except TypeError:
            raise UnsupportedError(f"{name!r} has a type that numpy has not") from None
        shape = sizes_of(self._context.get_tensor_shape(name))
        if -1 in shape:
            raise UnsupportedError(f"the shape of {name!r} depends on data: {shape}")
        size_bytes = math.prod(shape) * dtype.itemsize
        device = int(self._cuda.call("cudaMalloc", max(size_bytes, 1)))
        # The run before a graph is captured reads this: what lay there is no index of anything.
        self._cuda.call("cudaMemset", device, 0, max(size_bytes, 1))
        if not self._context.set_tensor_address(name, device):
            raise UnsupportedError(f"TensorRT takes no buffer for {name!r}")
        told = tuple(None if d == -1 else d for d in sizes_of(self._engine.get_tensor_shape(name)))
        return Tensor(TensorInfo(name, dtype.name, told), dtype, device, size_bytes)

    def _set_shapes(self, prepared: Prepared) -> None:
        """Tells the context the shapes of a query, where they differ from those before."""
        if prepared.shapes == self._shapes:
            return
        for name, shape in prepared.shapes.items():
            if not self._context.set_input_shape(name, shape):
                raise UnsupportedError(f"shape {shape} of {name!r} is outside the engine's profile")
        self._shapes = prepared.shapes

    # The measured call

    def _bound(self) -> Callable[[Prepared], None]:
        """The measured call, with all it needs in its own scope."""
        api, stream = self._cuda.api, self._cuda.stream
        memcpy, synchronize, success = (
            api.cudaMemcpyAsync,
            api.cudaStreamSynchronize,
            api.cudaError_t.cudaSuccess,
        )
        to_device = api.cudaMemcpyKind.cudaMemcpyHostToDevice
        to_host = api.cudaMemcpyKind.cudaMemcpyDeviceToHost
        enqueue, copies_out = self._enqueue(), self._copies_out
        set_shapes = self._set_shapes if self._dynamic else None
        text = self._cuda.error_text

        def run(prepared: Prepared) -> None:
            if set_shapes is not None:
                set_shapes(prepared)
            for copy in prepared.copies:
                (code,) = memcpy(copy.device, copy.host, copy.size_bytes, to_device, stream)
                if code != success:
                    raise CudaError(f"copy to the device: {text(code)}")
            enqueue()
            for copy in copies_out:
                (code,) = memcpy(copy.host, copy.device, copy.size_bytes, to_host, stream)
                if code != success:
                    raise CudaError(f"copy from the device: {text(code)}")
            (code,) = synchronize(stream)
            if code != success:
                raise CudaError(f"inference: {text(code)}")

        return run

    def _enqueue(self) -> Callable[[], None]:
        """Starts the computation on the stream: the captured graph, or every kernel anew."""
        if self._graph is not None:
            launch, graph, stream = self._cuda.call, self._graph, self._cuda.stream
            return lambda: launch("cudaGraphLaunch", graph, stream)
        execute, handle = self._context.execute_async_v3, int(self._cuda.stream)

        def enqueue() -> None:
            if not execute(handle):
                raise RuntimeError("TensorRT refused to start the inference")

        return enqueue

    def _captured(self) -> Any:
        """The computation as a CUDA graph. TensorRT asks for one ordinary run before."""
        if self._dynamic:
            raise UnsupportedError("a CUDA graph holds one shape, and this engine has open axes")
        handle, stream = int(self._cuda.stream), self._cuda.stream
        mode = self._cuda.api.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._context.execute_async_v3(handle)
        self._cuda.synchronize()
        self._cuda.call("cudaStreamBeginCapture", stream, mode)
        started = self._context.execute_async_v3(handle)
        captured = self._cuda.call("cudaStreamEndCapture", stream)
        if not started:
            raise UnsupportedError("this engine cannot be captured as a CUDA graph")
        return self._cuda.call("cudaGraphInstantiate", captured, 0)

    # Inputs and outputs

    def prepare(self, feeds: Feeds) -> Prepared:
        """Inputs in page-locked memory, in the engine's own types."""
        import numpy as np

        names = {tensor.info.name for tensor in self._inputs}
        if names != set(feeds):
            raise UnsupportedError(
                f"the engine's inputs are {', '.join(sorted(names))}, not {', '.join(sorted(feeds))}"
            )
        buffers = self._spare.pop() if self._spare else self._input_buffers()
        copies, shapes = [], {}
        for tensor in self._inputs:
            name = tensor.info.name
            array = np.asarray(feeds[name], tensor.dtype, order="C")
            _refuse_shape(tensor.info, array.shape, array.nbytes > tensor.size_bytes)
            buffers[name].array[: array.nbytes] = array.reshape(-1).view(np.uint8)
            copies.append(Copy(tensor.device, buffers[name].pointer, array.nbytes))
            if tensor.info.sizes is None:
                shapes[name] = tuple(array.shape)
        return Prepared(buffers, copies, shapes, self._take_back)

    def _input_buffers(self) -> dict[str, Pinned]:
        return {t.info.name: Pinned(self._cuda, t.size_bytes) for t in self._inputs}

    def _take_back(self, buffers: dict[str, Pinned]) -> None:
        if self.run is not closed:
            self._spare.append(buffers)
            return
        for buffer in buffers.values():
            buffer.free()

    def outputs_of(self, prepared: Prepared, raw: None) -> Outputs:
        """Copies of what the last run left in page-locked memory."""
        outputs = {}
        for tensor in self._outputs:
            shape = sizes_of(self._context.get_tensor_shape(tensor.info.name))
            size_bytes = math.prod(shape) * tensor.dtype.itemsize
            bytes_ = self._answers[tensor.info.name].array[:size_bytes]
            outputs[tensor.info.name] = bytes_.view(tensor.dtype).reshape(shape).copy()
        return outputs

    # What is told of it

    def device_times(self, prepared: Sequence[Prepared]) -> DeviceTimes:
        """Copies and computation apart, between CUDA events; layers by TensorRT's own profiler."""
        call, api, stream = self._cuda.call, self._cuda.api, self._cuda.stream
        enqueue = self._enqueue()
        to_device = api.cudaMemcpyKind.cudaMemcpyHostToDevice
        to_host = api.cudaMemcpyKind.cudaMemcpyDeviceToHost
        events = [call("cudaEventCreateWithFlags", api.cudaEventDefault) for _ in range(4)]
        parts: list[list[int]] = [[], [], []]
        for query in prepared:
            self._set_shapes(query)
            call("cudaEventRecord", events[0], stream)
            for copy in query.copies:
                call("cudaMemcpyAsync", copy.device, copy.host, copy.size_bytes, to_device, stream)
            call("cudaEventRecord", events[1], stream)
            enqueue()
            call("cudaEventRecord", events[2], stream)
            for copy in self._copies_out:
                call("cudaMemcpyAsync", copy.host, copy.device, copy.size_bytes, to_host, stream)
            call("cudaEventRecord", events[3], stream)
            call("cudaEventSynchronize", events[3])
            for part, first, second in zip(parts, events, events[1:], strict=False):
                part.append(round(call("cudaEventElapsedTime", first, second) * 1e6))
        for event in events:
            call("cudaEventDestroy", event)
        return DeviceTimes(
            host_to_device_ns=parts[0],
            compute_ns=parts[1],
            device_to_host_ns=parts[2],
            layers_ns=self._profiled(prepared[0]) if prepared else {},
            source="CUDA events; layers: TensorRT's profiler",
        )

    def profiler(self) -> Profiler:
        from .layer_profiler import LayerProfiler

        return LayerProfiler(self, self._layer_times, self.device())

    def _profiled(self, query: Prepared) -> dict[str, int]:
        """Mean nanoseconds of each layer."""
        _, times_ns = self._layer_times(query, PROFILED_RUNS)
        return {name: round(sum(ns) / len(ns)) for name, ns in times_ns.items()}

    def _layer_times(self, query: Prepared, runs: int) -> tuple[list[int], dict[str, list[int]]]:
        """Nanoseconds of each run, and of each layer in it, in a context of its own: a profiler cannot be taken
        off."""
        trt = library.load()

        times_ms: dict[str, list[float]] = {}

        base: Any = trt.IProfiler

        class Profiler(base):
            def __init__(self) -> None:
                trt.IProfiler.__init__(self)

            def report_layer_time(self, layer_name: str, ms: float) -> None:
                times_ms.setdefault(layer_name, []).append(ms)

        profiler = Profiler()
        context = _context(self._engine)
        context.profiler = profiler
        for name, shape in query.shapes.items():
            context.set_input_shape(name, shape)
        for tensor in (*self._inputs, *self._outputs):
            context.set_tensor_address(tensor.info.name, tensor.device)
        runs_ns = []
        for _ in range(runs):
            start_ns = time.perf_counter_ns()
            context.execute_async_v3(int(self._cuda.stream))
            self._cuda.synchronize()
            runs_ns.append(time.perf_counter_ns() - start_ns)
        return runs_ns, {name: [round(each * 1e6) for each in ms] for name, ms in times_ms.items()}

    def device_memory(self) -> tuple[int | None, str]:
        """How far the device's free memory fell since the session began; see docs/hardware.md."""
        fallen = self._cuda.free_at_start_bytes - self._cuda.free_bytes()
        if fallen <= 0:
            return None, "cudaMemGetInfo: free memory did not fall; another process freed some"
        if self._gpu.integrated:
            return (
                fallen,
                "cudaMemGetInfo, fall of free memory (shared with the CPU: an upper bound)",
            )
        return fallen, "cudaMemGetInfo, fall of free memory since the CUDA context was made"

    def device(self) -> str:
        dla_core = self._told("dla_core")
        return "cuda:0" if dla_core is None else f"dla:{dla_core}"

    def effective(self) -> Effective:
        trt = library.load()

        inspector = self._engine.create_engine_inspector()
        inspector.execution_context = self._context
        layers = read_layers(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
        precision = self._precision(layers)
        return Effective(
            device=self.device(),
            precision=precision,
            providers=self._placement(layers),
            compute_nodes=layers.compute or None,
            inputs=self.inputs,
            outputs=self.outputs,
            runtime=f"tensorrt {trt.__version__}",
            notes=tuple(self._notes(layers)),
            options={
                **{name: self._told(name) for name in BUILD_OPTIONS},
                "cuda_graph": self._graph is not None,
                "spin_wait": self._cuda.spins(),
                "gpu": f"{self._gpu.name} (compute capability {self._gpu.compute_capability})",
                "driver": driver_text(self._cuda),
            },
        )

    def _told(self, option: str) -> Scalar | None:
        """A build option as the builder had it; unknown of an engine built elsewhere."""
        return None if self._facts is None else self._facts.options.get(option)

    def _precision(self, layers: Layers) -> str | None:
        """Returns what the compute-heavy layers multiply in. Raises UnsupportedError for another than asked."""
        asked, precision = self._model.precision, layers.precision
        tf32 = self._told("tf32")
        others = {kind for kind in layers.compute if kind not in ("fp32", "unknown")}
        if self._options.get("tf32"):
            others.discard("tf32")
        if asked == "fp32" and others:
            raise UnsupportedError(f"fp32 was asked for, and layers run in {', '.join(others)}")
        wanted = _ASKED.get(asked)
        if wanted and precision is not None and wanted not in layers.compute and layers.compute:
            raise UnsupportedError(f"{asked} was asked for, and no layer that computes runs in it")
        if precision == "fp32" and tf32 is None:
            return None  # an engine from elsewhere does not tell whether TF32 was allowed
        return "tf32" if precision == "fp32" and tf32 else precision

    def _placement(self, layers: Layers) -> dict[str, int]:
        if self._facts is None or not self._facts.layers_on_dla:
            return {"GPU": layers.total}
        return {"DLA": self._facts.layers_on_dla, "GPU": self._facts.layers_on_gpu}

    def _notes(self, layers: Layers) -> list[str]:
        notes = ["copies between host and device are part of the latency"]
        wanted = _ASKED.get(self._model.precision)
        for kind, names in layers.names.items():
            if wanted is not None and kind != wanted:
                few = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
                notes.append(f"{len(names)} layers compute in {kind}: {few}")
        if self._facts is None:
            notes.append("built elsewhere: how, and whether TF32 was allowed, is not known")
        elif self._facts.layers_on_dla and self._facts.layers_on_gpu:
            notes.append(f"{self._facts.layers_on_gpu} layers fell back from the DLA to the GPU")
        if not layers.detailed:
            notes.append("built without detailed verbosity: precisions are not known")
        return notes

    def close(self) -> None:
        """Frees engine and buffers; closing twice is fine."""
        if self.run is closed:
            return
        self.run = closed
        self._cuda.synchronize()
        for tensor in (*self._inputs, *self._outputs):
            self._cuda.call("cudaFree", tensor.device)
        for buffers in (self._answers, *self._spare):
            for buffer in buffers.values():
                buffer.free()
        self._spare.clear()
        if self._graph is not None:
            self._cuda.call("cudaGraphExecDestroy", self._graph)
            self._graph = None
        del self._context, self._engine
        self._cuda.close()


def _refuse_build_options(path: Path, options: Mapping[str, Scalar]) -> None:
    late = [name for name in BUILD_OPTIONS if name in options and name != "dla_core"]
    if late:
        raise UnsupportedError(
            f"{path.name} is built already: {', '.join(late)} decides how one is built",
            "leave it out, or give the ONNX model",
        )


def _refuse_shape(info: TensorInfo, shape: tuple[int, ...], too_large: bool) -> None:
    told = shape if info.shape is None else info.shape
    fits = len(shape) == len(told) and all(
        want in (None, have) for want, have in zip(told, shape, strict=True)
    )
    if not fits or too_large:
        raise UnsupportedError(f"{info.name!r} of shape {shape} does not fit {info.shape}")


def _context(engine: trt.ICudaEngine) -> trt.IExecutionContext:
    context = engine.create_execution_context()
    if context is None:
        raise UnsupportedError("TensorRT makes no execution context: is the device's memory full?")
    return context

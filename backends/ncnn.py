"""ncnn: models converted from ONNX by pnnx; precision read back from the blobs that layers wrote."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import math
import os
import re
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

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
)
from edgebench.errors import UnsupportedError
from edgebench.installed_packages import installed_version

from ._kept_conversions import converted, kept_path
from ._session_facts import closed, listed, one_precision

if TYPE_CHECKING:
    from onnx import ModelProto

    from edgebench.backend import Feeds, Outputs
    from edgebench.operator_times import Profiler

#: A converter that is silent for longer hangs.
_TIME_OUT_S = 900.0
#: pnnx writes this for an input or output without a batch axis.
_NO_BATCH_AXIS = 233
#: Raised when what `convert` writes changes.
_LAYOUT = 4

#: Layers that do the arithmetic.
_COMPUTE = frozenset(
    {
        *("Convolution", "ConvolutionDepthWise", "Convolution1D", "ConvolutionDepthWise1D"),
        *("Convolution3D", "ConvolutionDepthWise3D", "Deconvolution", "DeconvolutionDepthWise"),
        *("Deconvolution1D", "InnerProduct", "Gemm", "MatMul", "Einsum"),
        *("GRU", "LSTM", "RNN", "MultiHeadAttention", "SDPA"),
    }
)

_OPTIONS = (
    Option("threads", "int", None, "OpenMP threads, the caller's included", minimum=1),
    Option("fp16_storage", "bool", None, "half-precision blobs and weights; with precision fp16"),
    Option("fp16_arithmetic", "bool", None, "half-precision sums; with precision fp16"),
    Option("packing_layout", "bool", True, "store channels in groups that fit vector registers"),
    Option("winograd", "bool", True, "Winograd convolution for 3 x 3 kernels"),
    Option("sgemm", "bool", True, "convolution as a matrix product"),
    Option("light_mode", "bool", True, "free a blob as soon as it was used for the last time"),
    Option("blocktime_ms", "int", 20, "OpenMP threads wait so long before they sleep", minimum=0),
)
#: The plain ones among them, by the name of the field of `ncnn.Option`.
_FIELDS = {
    "packing_layout": "use_packing_layout",
    "winograd": "use_winograd_convolution",
    "sgemm": "use_sgemm_convolution",
    "light_mode": "lightmode",
    "blocktime_ms": "openmp_blocktime",
}


class _Port(msgspec.Struct, frozen=True):
    """An input or output: its name and form in ONNX, its blob, the batch axis pnnx saw."""

    info: TensorInfo
    blob: str
    batch_axis: int


class _Ports(msgspec.Struct, frozen=True):
    """What a converted model's other files do not tell."""

    inputs: list[_Port]
    outputs: list[_Port]


class NcnnBackend(Backend):
    name = "ncnn"
    summary = "ncnn on the CPU, from ONNX by way of pnnx"
    capabilities = Capabilities(
        formats=("ncnn",),
        precisions=("fp32", "fp16", "bf16", "int8-static", "as-is"),
        options=_OPTIONS,
    )

    def availability(self) -> Ready | Unavailable:
        version = installed_version("ncnn")
        if version is None:
            return Unavailable(
                "not_installed",
                "ncnn is not installed",
                "pip install 'edgebench[ncnn]' && pip install --no-deps pnnx",
            )
        if _pnnx() is None:
            return Unavailable(
                "not_installed",
                "pnnx, which converts models for ncnn, is not installed",
                "pip install --no-deps pnnx (without --no-deps it installs PyTorch, unused here)",
            )
        return Ready(version)

    def import_runtime(self) -> str:
        import ncnn

        return str(ncnn.__version__)

    def converts(self, model: ModelFile, options: Mapping[str, Scalar]) -> bool:
        return model.format == "onnx"

    def convert(self, model: ModelFile, options: Mapping[str, Scalar], cache: Path) -> ModelFile:
        """`<key>.param`, `<key>.bin` and what both do not tell, `<key>.json`."""
        made_from = [model.sha256, installed_version("pnnx"), installed_version("ncnn"), _LAYOUT]
        path = kept_path(cache, made_from, ".param")
        if not path.exists():
            with tempfile.TemporaryDirectory(dir=cache, prefix="pnnx-") as folder:
                _run_and_try(model, Path(folder))
                for suffix in (".json", ".bin", ".param"):  # the one that is looked for comes last
                    (Path(folder) / f"model{suffix}").replace(path.with_suffix(suffix))
        return converted(model, path, "ncnn", [path, path.with_suffix(".bin")])

    def open(self, model: ModelFile, options: Mapping[str, Scalar]) -> NcnnSession:
        self.capabilities.check(model, options)
        return NcnnSession(model, options)


class NcnnSession(Session):
    """An `ncnn.Net`; each run is an extractor of its own, as ncnn wants it."""

    def __init__(self, model: ModelFile, options: Mapping[str, Scalar]) -> None:
        import ncnn

        self._precision = model.precision
        ports = _read_ports(model.path.with_suffix(".json"))
        self._inputs, self._outputs = ports.inputs, ports.outputs
        self.inputs = tuple(port.info for port in self._inputs)
        self.outputs = tuple(port.info for port in self._outputs)
        self._net: Any = ncnn.Net()
        _set_options(self._net.opt, model.precision, options)
        _load(self._net, model.path, model.path.with_suffix(".bin"))
        self.run = functools.partial(
            _infer,
            self._net.create_extractor,
            [port.blob for port in self._inputs],
            [port.blob for port in self._outputs],
        )

    def device(self) -> str:
        return "gpu" if self._net.opt.use_vulkan_compute else "cpu"

    def prepare(self, feeds: Feeds) -> Any:
        import ncnn
        import numpy as np

        # Cloned: ncnn may work in place on memory that is not its own. It has no values without axes:
        # of a scalar, `ascontiguousarray` makes a vector of one.
        return [
            ncnn.Mat(
                np.ascontiguousarray(feeds[port.info.name]), batch_index=port.batch_axis
            ).clone()
            for port in self._inputs
        ]

    def outputs_of(self, prepared: Any, raw: Any) -> Outputs:
        return {
            port.info.name: _output(port, mat) for port, mat in zip(self._outputs, raw, strict=True)
        }

    def effective(self) -> Effective:
        import ncnn

        opt = self._net.opt
        compute = self._compute_layers()
        precision = one_precision(compute)
        self._demand_precision(compute)
        notes: tuple[str, ...] = ()
        if opt.use_fp16_storage and precision == "fp32":
            # Seen on x86: answers move by the rounding of the weights, and blobs stay in fp32.
            precision, notes = "mixed", ("weights may be in fp16, sums are in fp32",)
        return Effective(
            device=self.device(),
            telemetry="none",
            precision=precision,
            providers=dict(Counter(layer.type for layer in self._net.layers())),
            compute_nodes=compute,
            threads=int(opt.num_threads),
            inputs=self.inputs,
            outputs=self.outputs,
            runtime=f"ncnn {ncnn.__version__}",
            notes=notes,
            options={
                **{name: getattr(opt, field) for name, field in _FIELDS.items()},
                "fp16_storage": bool(opt.use_fp16_storage),
                "fp16_arithmetic": bool(opt.use_fp16_arithmetic and compute.get("fp16")),
                "bf16_storage": bool(opt.use_bf16_storage and compute.get("bf16")),
            },
        )

    def profiler(self) -> Profiler:
        raise UnsupportedError(
            "ncnn tells times of layers only where it was built with NCNN_BENCHMARK, which its wheel was not",
            "explain the model on another backend, such as --backend ort",
        )

    def close(self) -> None:
        self.run = closed
        self._net = None

    def _compute_layers(self) -> dict[str, int]:
        """Compute-heavy layers by the element size of the blobs they write in a run on zeros.

        ncnn's options only permit a precision: whether a layer uses it depends on the layer and the
        processor. With type 1, `extract` returns the blob as the layer left it.
        """
        import numpy as np

        zeros = {port.info.name: np.zeros(_shape(port.info), np.float32) for port in self._inputs}
        mats = self.prepare(zeros)
        extractor = self._net.create_extractor()
        extractor.set_light_mode(False)
        for port, mat in zip(self._inputs, mats, strict=True):
            extractor.input(port.blob, mat)
        half = "bf16" if self._net.opt.use_bf16_storage else "fp16"
        names = {32: "fp32", 16: half, 8: "int8"}
        blobs = self._net.blobs()
        counts: Counter[str] = Counter()
        for layer in self._net.layers():
            if layer.type not in _COMPUTE:
                continue
            code, mat = extractor.extract(blobs[layer.tops[0]].name, 1)
            counts[names.get(mat.elembits(), "unknown") if code == 0 else "unknown"] += 1
        return dict(counts)

    def _demand_precision(self, compute: Mapping[str, int]) -> None:
        precision = self._precision
        layers = listed(compute, "layers")
        if precision == "fp32" and set(compute) - {"fp32"}:
            raise UnsupportedError(f"fp32 was asked for, but ncnn runs {layers}")
        if precision in ("fp16", "bf16") and not compute.get(precision):
            raise UnsupportedError(
                f"{precision} was asked for, but on this processor ncnn runs {layers or 'none of it'}",
                ""
                if precision == "bf16"
                else "--set precision=as-is --set fp16_storage=true keeps the "
                "weights in half precision",
            )


def _output(port: _Port, mat: Any) -> Any:
    import numpy as np

    found = np.array(mat.numpy(batch_index=port.batch_axis))
    wanted = _shape(port.info)
    if found.size != math.prod(wanted):
        raise UnsupportedError(
            f"pnnx's model computes an output {port.info.name} of {found.shape} where ONNX has {wanted}",
            "leave ncnn out: pnnx misreads this model",
        )
    return found.reshape(wanted)


def _infer(extractor: Any, inputs: list[str], outputs: list[str], mats: list[Any]) -> list[Any]:
    run = extractor()
    for name, mat in zip(inputs, mats, strict=True):
        run.input(name, mat)
    found = []
    for name in outputs:
        code, mat = run.extract(name)
        if code:
            raise UnsupportedError(
                f"ncnn cannot run the model that pnnx made: {name} ends with code {code}",
                "leave ncnn out: pnnx misreads this model",
            )
        found.append(mat)
    return found


def _shape(info: TensorInfo) -> tuple[int, ...]:
    if info.shape is None:
        raise UnsupportedError(f"the number of axes of {info.name!r} is not known")
    return tuple(size or 1 for size in info.shape)


def _set_options(opt: Any, precision: str, options: Mapping[str, Scalar]) -> None:
    """Precision is what was asked for and nothing else: ncnn would use half precision unasked."""
    half = precision == "fp16"
    storage = bool(options.get("fp16_storage", half))
    arithmetic = bool(options.get("fp16_arithmetic", half))
    if precision not in ("fp16", "as-is") and (storage or arithmetic):
        raise UnsupportedError(
            f"precision {precision} and half precision contradict each other",
            "ask for precision fp16",
        )
    if arithmetic and not storage:
        raise UnsupportedError("fp16_arithmetic needs fp16_storage")
    opt.use_fp16_packed = opt.use_fp16_storage = storage
    opt.use_fp16_arithmetic = arithmetic
    opt.use_bf16_packed = opt.use_bf16_storage = precision == "bf16"
    int8 = precision.startswith("int8")
    opt.use_int8_inference = opt.use_int8_packed = int8
    opt.use_int8_storage = opt.use_int8_arithmetic = int8
    opt.use_vulkan_compute = False
    if "threads" in options:
        opt.num_threads = int(options["threads"])
    for name, field in _FIELDS.items():
        if name in options:
            setattr(opt, field, options[name])


def _load(net: Any, param: Path, weights: Path) -> None:
    """Raises UnsupportedError with what ncnn printed."""
    with _standard_error() as printed:
        code = net.load_param(str(param)) or net.load_model(str(weights))
        text = printed()
    if code:
        raise UnsupportedError(f"ncnn cannot load the model pnnx made: {text or f'code {code}'}")


@contextlib.contextmanager
def _standard_error() -> Iterator[Any]:
    """Yields what native code prints to standard error, first line; file descriptor 2 goes to a file."""
    with tempfile.TemporaryFile() as file:
        saved = os.dup(2)
        os.dup2(file.fileno(), 2)

        def printed() -> str:
            file.seek(0)
            return next(iter(file.read().decode(errors="replace").strip().splitlines()), "")

        try:
            yield printed
        finally:
            os.dup2(saved, 2)
            os.close(saved)


# --- conversion ---------------------------------------------------------------------------------


def _pnnx() -> Path | None:
    """pnnx's executable. Its Python module is not imported: that would need PyTorch."""
    spec = importlib.util.find_spec("pnnx")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).with_name("pnnx")
    return path if path.is_file() else None


def _run_and_try(model: ModelFile, folder: Path) -> None:
    """Runs pnnx in `folder` and tries its result, the files `model.*`. Raises UnsupportedError with pnnx's or ncnn's
    message where either refuses."""
    import ncnn

    from edgebench.models.onnx_file import load_model

    described = _ports_of(load_model(model.path, weights=False))
    _run_pnnx(model.path, folder)
    param, weights = folder / "model.ncnn.param", folder / "model.ncnn.bin"
    if not param.is_file() or not weights.is_file():
        raise UnsupportedError("pnnx wrote no ncnn model, and gave no reason")
    param = param.rename(folder / "model.param")
    weights = weights.rename(folder / "model.bin")
    _load(ncnn.Net(), param, weights)
    axes = _batch_axes((folder / "model_ncnn.py").read_text("utf-8"))
    _demand_all_ports(axes, described)
    inputs, outputs = (
        [_Port(info, f"{kind}{index}", axes[f"{kind}{index}"]) for index, info in enumerate(infos)]
        for kind, infos in zip(("in", "out"), described, strict=True)
    )
    for port in (*inputs, *outputs):
        if port.info.dtype != "float32":
            raise UnsupportedError(
                f"ncnn has float32 tensors only; {port.info.name} is {port.info.dtype}"
            )
    (folder / "model.json").write_bytes(msgspec.json.encode(_Ports(inputs, outputs)))


def _ports_of(model: ModelProto) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
    """Inputs and outputs with their sizes, which ncnn does not keep; an open axis of an output follows from
    the inputs. Raises UnsupportedError where one stays open."""
    from edgebench.models.onnx_file import describe, set_input_shapes

    inputs, outputs = describe(model)
    still_open = [info.name for info in inputs if info.sizes is None]
    if not still_open and any(info.sizes is None for info in outputs):
        set_input_shapes(model, {info.name: info.sizes or () for info in inputs})
        outputs = describe(model)[1]
        still_open = [info.name for info in outputs if info.sizes is None]
    if still_open:
        raise UnsupportedError(
            f"ncnn needs every size ahead of the run; {still_open[0]} has an open axis",
            "export the model with fixed shapes",
        )
    return inputs, outputs


def _demand_all_ports(
    blobs: Collection[str], described: tuple[Sequence[TensorInfo], Sequence[TensorInfo]]
) -> None:
    """pnnx numbers the ports that it keeps: where it drops one, the others would change places."""
    for kind, what, infos in zip(("in", "out"), ("input", "output"), described, strict=True):
        kept = sum(blob.removeprefix(kind).isdecimal() for blob in blobs)
        if kept != len(infos):
            names = ", ".join(info.name for info in infos)
            raise UnsupportedError(
                f"pnnx keeps {kept} of the model's {len(infos)} {what}s ({names}): which, it does not "
                "tell",
                "export the model without inputs that nothing reads and outputs that nothing computes",
            )


def _run_pnnx(source: Path, folder: Path) -> None:
    executable = _pnnx()
    if executable is None:
        raise UnsupportedError("pnnx is not installed", "pip install --no-deps pnnx")
    # It names its files after the model's and writes them beside it.
    _with_weights_inside(source, folder / "model.onnx")
    try:
        done = subprocess.run(
            [str(executable), "model.onnx", "fp16=0"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_TIME_OUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnsupportedError(
            f"pnnx gave no model after {_TIME_OUT_S:g} s", "leave ncnn out"
        ) from None
    if done.returncode:
        lines = [line.strip() for line in done.stdout.decode(errors="replace").splitlines()]
        said = next((line for line in reversed(lines) if line), "nothing")
        raise UnsupportedError(
            f"pnnx cannot convert {source.name}: {_ending(done.returncode)} after printing: {said}",
            "export the model with an operator of its own behind every output and no output twice, or leave "
            "ncnn out: pnnx fails on some sound models",
        )


def _with_weights_inside(source: Path, target: Path) -> None:
    """The model as one file, its padding in numbers: pnnx looks for no weights in another folder, and misreads
    the word SAME_UPPER."""
    from edgebench.models.explicit_pads import has_odd_pads, write_pads
    from edgebench.models.onnx_file import external_files, fits_inline, load_model

    if not external_files(source) and not has_odd_pads(load_model(source, weights=False)):
        target.symlink_to(source.resolve())
        return
    model = load_model(source)
    if not fits_inline(model):
        raise UnsupportedError(f"{source.name} is too large for one file, which pnnx needs")
    write_pads(model)
    target.write_bytes(model.SerializeToString())


def _ending(code: int) -> str:
    return f"it died of {signal.Signals(-code).name}" if code < 0 else f"it ended with code {code}"


def _batch_axes(example: str) -> dict[str, int]:
    """Blob -> batch axis, from the example that pnnx writes: the .param file does not tell."""
    axes = re.findall(r"\b((?:in|out)[0-9]+)\.numpy\(\)?(?:, )?(?:batch_index=([0-9]+))?", example)
    return {blob: int(axis) if axis else _NO_BATCH_AXIS for blob, axis in axes}


def _read_ports(path: Path) -> _Ports:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Ports)
    except (OSError, msgspec.MsgspecError) as error:
        raise UnsupportedError(
            f"{path.name}: not a model that edgebench converted: {error}"
        ) from None


BACKEND = NcnnBackend

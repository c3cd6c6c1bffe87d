"""An engine from an ONNX file, kept with the facts of its making.

The network is strongly typed: it computes in the types that the file states, which `rewrite` has
made those that were asked for. TensorRT 11 knows no other way. On 10.x `typing=weak` gives the older
one, where TensorRT may choose a precision per layer; a DLA under 10.x needs it.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgebench.backend import ModelFile, Scalar
from edgebench.errors import EdgebenchError, UnsupportedError
from edgebench.files.atomic_write import replacing
from edgebench.probes import proc_files
from edgebench.units import format_bytes

from .._kept_conversions import kept_path
from . import library
from .cuda import Cuda, CudaError
from .layers import read_layer_lines
from .log import make_logger
from .supported_platforms import CAPABILITIES, dla_refusal, parse_version, read_board

if TYPE_CHECKING:
    import tensorrt as trt

#: Part of the cache key: another way of building makes other engines.
_RECIPE = 2
_MIB = 1 << 20


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """How an engine was built, read back from TensorRT's builder. Kept beside the engine."""

    tensorrt: str
    driver: str
    gpu: str
    options: dict[str, Scalar | None]  # of the build, as the builder had them
    layers_on_dla: int = 0  # of the network, before fusion
    layers_on_gpu: int = 0
    engine_layers: int | None = None  # after fusion; where the builder tells
    engine_precisions: dict[str, int] = {}  # of the compute-heavy ones: precision -> layers
    size_bytes: int | None = None

    def in_words(self) -> str:
        """The engine in words, for where nothing can load it."""
        parts = [f"for {self.gpu}"]
        if self.size_bytes is not None:
            parts.append(format_bytes(self.size_bytes))
        parts.append(f"{self.layers_on_gpu} layers in the network")
        if self.engine_layers:
            kinds = ", ".join(
                f"{count} in {kind}" for kind, count in self.engine_precisions.items()
            )
            heavy = f", compute-heavy: {kinds}" if kinds else ""
            parts.append(f"{self.engine_layers} in the engine{heavy}")
        return "; ".join(parts)


def facts_path(engine: Path) -> Path:
    """The file of facts that belongs to an engine."""
    return engine.with_suffix(".json")


def read_facts(engine: Path) -> Facts | None:
    """The facts beside an engine; None for one that edgebench did not build."""
    try:
        return msgspec.json.decode(facts_path(engine).read_bytes(), type=Facts)
    except (OSError, msgspec.MsgspecError):
        return None


def engine_for(model: ModelFile, options: Mapping[str, Scalar], cache: Path) -> Path:
    """The engine of an ONNX file, from the cache where the same one was built before.

    Same means: same file, precision, build options, TensorRT, driver and GPU. Raises
    UnsupportedError where TensorRT cannot build what was asked for.
    """
    version = str(library.load().__version__)
    _refuse_combinations(version, model.precision, options, library.is_rtx())
    where = _where(version, options)
    asked = {name: options[name] for name in BUILD_OPTIONS if name in options}
    key = [_RECIPE, model.sha256, model.precision, asked, where]
    engine = kept_path(cache, key, ".engine")
    if engine.exists() and read_facts(engine) is not None:
        return engine
    machine = hashlib.sha256(json.dumps(where, sort_keys=True).encode()).hexdigest()[:16]
    plan, facts = _build(model, options, cache / f"timing-{machine}.cache", where)
    # The engine last: whoever finds it finds its facts.
    _write(facts_path(engine), msgspec.json.encode(facts))
    _write(engine, plan)
    return engine


def _where(version: str, options: Mapping[str, Scalar]) -> dict[str, str]:
    """What an engine is built by and for. TensorRT for RTX builds for a GPU that is named, and needs none."""
    named = options.get("compute_capability")
    if named is not None:
        gpu = f"compute capability {int(named) / 10:.1f}, ahead of time"
        return {"tensorrt": f"for RTX {version}", "driver": "", "gpu": gpu}
    try:
        cuda = Cuda(spin_wait=False)
        device, driver = cuda.gpu(), driver_text(cuda)
    except (CudaError, ImportError) as error:
        fix = (
            f"name the GPU: --set compute_capability={CAPABILITIES[-2]}" if library.is_rtx() else ""
        )
        raise UnsupportedError(f"the GPU cannot be used: {error}", fix) from None
    gpu = f"{device.name} (compute capability {device.compute_capability})"
    return {"tensorrt": version, "driver": driver, "gpu": gpu}


#: Options that decide what is built; the others belong to a session.
BUILD_OPTIONS = (
    *("typing", "tf32", "workspace_mib", "optimization_level", "timing_cache", "profile"),
    *("dla_core", "dla_gpu_fallback", "compute_capability"),
)


def driver_text(cuda: Cuda) -> str:
    """The driver's own version where the kernel tells it, and the newest CUDA it serves."""
    kernel = re.search(r"Module\s.*?([0-9]+\.[0-9.]+)", proc_files.read(_DRIVER) or "")
    served = cuda.driver_version()
    cuda_text = f"CUDA {served // 1000}.{served % 1000 // 10}"
    return f"{kernel[1]}, {cuda_text}" if kernel else cuda_text


_DRIVER = proc_files.LIVE / "proc/driver/nvidia/version"


def _write(path: Path, content: bytes | memoryview) -> None:
    with replacing(path) as partial:
        partial.write_bytes(content)


# What is refused before anything is built


def is_weak(version: str, options: Mapping[str, Scalar]) -> bool:
    """Whether TensorRT chooses precisions itself: asked for, or a DLA under 10.x, which needs it."""
    typing = options.get("typing")
    if typing is None:
        return "dla_core" in options and parse_version(version)[0] == 10
    return typing == "weak"


def _refuse_combinations(
    version: str, precision: str, options: Mapping[str, Scalar], rtx: bool = False
) -> None:
    major = parse_version(version)[0]
    weak = is_weak(version, options)
    if weak and (rtx or major >= 11):
        name = f"TensorRT {'for RTX ' if rtx else ''}{version}"
        raise UnsupportedError(f"{name} has strongly typed networks only", "leave typing out")
    if "compute_capability" in options and not rtx:
        raise UnsupportedError(
            f"TensorRT {version} builds for the GPU that is here, and for no other",
            "leave compute_capability out; TensorRT for RTX builds ahead of time (edgebench[tensorrt-rtx])",
        )
    if "dla_core" not in options:
        if options.get("dla_gpu_fallback"):
            raise UnsupportedError("dla_gpu_fallback goes with dla_core", "--set dla_core=0")
        return
    refused = dla_refusal(version, read_board())
    if refused is not None:
        raise UnsupportedError(*refused)
    if precision not in ("fp16", "int8-static"):
        raise UnsupportedError(f"a DLA computes in fp16 and int8 only, not in {precision}")
    if major == 10 and not weak:
        raise UnsupportedError(
            f"under TensorRT {version} a DLA takes no strongly typed network", "--set typing=weak"
        )
    if major == 10 and precision == "int8-static":
        raise UnsupportedError(
            f"under TensorRT {version} a DLA takes int8 from a calibrator only, not from Q/DQ",
            "--set precision=fp16",
        )


# Building


def _build(
    model: ModelFile, options: Mapping[str, Scalar], timings: Path, where: dict[str, str]
) -> tuple[memoryview, Facts]:
    """The serialized engine and its facts."""
    trt = library.load()

    logger = make_logger()
    builder = trt.Builder(logger)
    weak = is_weak(trt.__version__, options)
    network = builder.create_network(_network_flags(weak))
    _parse(network, logger, model, weak)
    config = builder.create_builder_config()
    _configure(config, model.precision, options, weak)
    _profile(builder, network, config, options.get("profile"))
    on_dla = _place_on_dla(builder, network, config, options)
    # Ahead of time nothing is timed, and TensorRT for RTX keeps no timings at all.
    cached = bool(options.get("timing_cache", True)) and not library.is_rtx()
    if cached:
        _use_timings(config, timings)
    else:
        config.set_flag(trt.BuilderFlag.DISABLE_TIMING_CACHE)
    _target(config, options)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise UnsupportedError(f"TensorRT builds no engine of {model.path.name}: {logger.why()}")
    if cached:
        _keep_timings(config, timings)
    made = read_layer_lines(logger.layers)
    facts = Facts(
        **where,
        options={
            "typing": "weak" if weak else "strong",
            "tf32": config.get_flag(trt.BuilderFlag.TF32),
            "workspace_mib": config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE) // _MIB,
            "optimization_level": config.builder_optimization_level,
            "timing_cache": not config.get_flag(trt.BuilderFlag.DISABLE_TIMING_CACHE),
            "profile": options.get("profile"),
            "dla_core": config.DLA_core if "dla_core" in options else None,
            "dla_gpu_fallback": config.get_flag(trt.BuilderFlag.GPU_FALLBACK),
            "compute_capability": options.get("compute_capability"),
        },
        layers_on_dla=on_dla,
        layers_on_gpu=network.num_layers - on_dla,
        engine_layers=made.total or None,
        engine_precisions=made.compute,
        size_bytes=memoryview(plan).nbytes,
    )
    return memoryview(plan), facts


def _target(config: Any, options: Mapping[str, Scalar]) -> None:
    """Names the GPU that is built for, where one is given; only TensorRT for RTX's config has that."""
    if "compute_capability" not in options:
        return
    trt = library.load()
    config.num_compute_capabilities = 1
    capability = getattr(trt.ComputeCapability, f"SM{options['compute_capability']}")
    config.set_compute_capability(capability, 0)


def _network_flags(weak: bool) -> int:
    """TensorRT 11 knows no weak typing and ignores the flag; the number behind its name changed."""
    trt = library.load()

    return 0 if weak else 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


def _parse(network: trt.INetworkDefinition, logger: Any, model: ModelFile, weak: bool) -> None:
    """Reads the ONNX file, rewritten for its precision, into the network."""
    trt = library.load()

    parser = trt.OnnxParser(network, logger)
    with tempfile.TemporaryDirectory(prefix="edgebench-") as folder:
        path = _rewritten(model, Path(folder), weak)
        read = parser.parse_from_file(str(path))
    if not read:
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        told = [f"{e.node_operator()} {e.node_name()}: {e.desc()}".strip() for e in errors]
        why = "; ".join(told[:3]) or logger.why()
        raise UnsupportedError(f"TensorRT does not read {model.path.name}: {why}")


def _rewritten(model: ModelFile, folder: Path, weak: bool) -> Path:
    """The file that TensorRT reads: the model's own, or one made of it for the precision."""
    from edgebench.models.onnx_file import load_model, save_model

    from . import rewrite

    try:
        onnx = load_model(model.path)  # also for one left as it is: it must be ONNX at all
    except EdgebenchError as error:
        raise UnsupportedError(error.message, error.fix) from None
    if model.precision == "int8-static":
        onnx = rewrite.to_symmetric(onnx)
    elif model.precision == "fp16" and not weak:
        onnx = rewrite.to_fp16(onnx)
    else:
        return model.path
    path = folder / "model.onnx"
    save_model(onnx, path, keep_opset=True)
    return path


def _configure(
    config: trt.IBuilderConfig, precision: str, options: Mapping[str, Scalar], weak: bool
) -> None:
    trt = library.load()

    # Without the details the inspector could not tell what ran.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if options.get("tf32"):
        config.set_flag(trt.BuilderFlag.TF32)
    else:
        config.clear_flag(trt.BuilderFlag.TF32)  # on by default, and no fp32
    if "workspace_mib" in options:
        size_bytes = int(options["workspace_mib"]) * _MIB
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, size_bytes)
    if "optimization_level" in options:
        config.builder_optimization_level = int(options["optimization_level"])
    if weak and precision == "fp16":
        config.set_flag(trt.BuilderFlag.FP16)
    if weak and precision == "int8-static":
        config.set_flag(trt.BuilderFlag.INT8)  # with Q/DQ in the file, no calibrator is asked


def _profile(
    builder: trt.Builder,
    network: trt.INetworkDefinition,
    config: trt.IBuilderConfig,
    text: Scalar | None,
) -> None:
    """The optimisation profile of open axes; none is needed where every shape is fixed."""
    trt = library.load()

    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    open_inputs = {tensor.name for tensor in inputs if -1 in sizes_of(tensor.shape)}
    shapes = parse_profile(str(text)) if text is not None else {}
    if set(shapes) != open_inputs:
        if not open_inputs:
            raise UnsupportedError("the model's shapes are all fixed: no profile has an effect")
        raise UnsupportedError(
            f"these inputs have open axes and need a profile: {', '.join(sorted(open_inputs))}",
            "--set profile=NAME=1x3x224x224:4x3x224x224:8x3x224x224 (least, usual, most), joined by +",
        )
    if not shapes:
        return
    profile = builder.create_optimization_profile()
    for name, (least, usual, most) in shapes.items():
        profile.set_shape(name, trt.Dims(list(least)), trt.Dims(list(usual)), trt.Dims(list(most)))
    if config.add_optimization_profile(profile) < 0:
        raise UnsupportedError(f"TensorRT refuses the profile {text}")


def parse_profile(text: str) -> dict[str, tuple[tuple[int, ...], ...]]:
    """`"x=1x3:4x3:8x3+y=1x2:1x2:1x2"` -> least, usual and most shape of each input.

    Raises UnsupportedError.
    """
    shapes = {}
    for part in text.split("+"):
        match = re.fullmatch(r"(.+)=([0-9x]+):([0-9x]+):([0-9x]+)", part.strip())
        if match is None:
            raise UnsupportedError(
                f"profile {part!r} is no NAME=LEAST:USUAL:MOST",
                "write it like image=1x3x224x224:4x3x224x224:8x3x224x224",
            )
        sizes = [tuple(int(n) for n in match[i].split("x") if n) for i in (2, 3, 4)]
        shapes[match[1]] = tuple(sizes)
    return shapes


def sizes_of(dims: trt.Dims) -> tuple[int, ...]:
    """TensorRT's sizes as a tuple; -1 is an open axis."""
    return tuple(int(dims[index]) for index in range(len(dims)))


def _place_on_dla(
    builder: trt.Builder,
    network: trt.INetworkDefinition,
    config: trt.IBuilderConfig,
    options: Mapping[str, Scalar],
) -> int:
    """Puts the network on a DLA core where that is asked for; the number of layers it can take.

    Raises UnsupportedError where a layer would run on the GPU and that was not asked for.
    """
    trt = library.load()

    if "dla_core" not in options:
        return 0
    core = int(options["dla_core"])
    if core >= builder.num_DLA_cores:
        raise UnsupportedError(
            f"there is no DLA core {core}: TensorRT finds {builder.num_DLA_cores} on this board"
        )
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = core
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    left = [layer.name for layer in layers if not config.can_run_on_DLA(layer)]
    if left and not options.get("dla_gpu_fallback"):
        raise UnsupportedError(
            f"{len(left)} of {len(layers)} layers cannot run on the DLA: {', '.join(left[:5])}",
            "--set dla_gpu_fallback=true lets the GPU run them, and the record counts them",
        )
    if options.get("dla_gpu_fallback"):
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    return len(layers) - len(left)


def _use_timings(config: trt.IBuilderConfig, path: Path) -> None:
    """Timings of kernels that earlier builds on this machine measured."""
    known = path.read_bytes() if path.exists() else b""
    config.set_timing_cache(config.create_timing_cache(known), False)


def _keep_timings(config: trt.IBuilderConfig, path: Path) -> None:
    cache = config.get_timing_cache()
    if cache is not None:
        _write(path, memoryview(cache.serialize()))

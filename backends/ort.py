"""ONNX Runtime: every session option that matters for a deployment, and what really ran, read back."""

from __future__ import annotations

import functools
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
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
    named_by_place,
)
from edgebench.errors import UnsupportedError
from edgebench.installed_packages import installed_version
from edgebench.probes.python_distributions import onnxruntime_owners
from edgebench.processes.telemetry import (
    Telemetry,
    has_database_open,
    ort_environment,
    ort_telemetry,
)

from . import _ort_plugins
from ._kept_conversions import converted, kept_file
from ._session_facts import closed, one_precision, os_threads

if TYPE_CHECKING:
    from edgebench.backend import Feeds, Outputs
    from edgebench.generation import GenerationSession, Room
    from edgebench.operator_times import Profiler

#: Distributions that bring the module `onnxruntime`; only one may be installed at a time. onnxruntime-qnn
#: does so before 2.0; since then it is a provider that stands beside it.
DISTRIBUTIONS = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "onnxruntime-directml",
    "onnxruntime-qnn",
    "onnxruntime-training",
    "ort-nightly",
    "ort-nightly-gpu",
)

_LEVELS = {
    "disable": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "layout": "ORT_ENABLE_LAYOUT",
    "all": "ORT_ENABLE_ALL",
}
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(bfloat16)": "bfloat16",
    "tensor(string)": "object",
}
_CPU = "CPUExecutionProvider"

_OPTIONS = (
    Option(
        "threads",
        "int",
        None,
        "threads inside an operator, the caller's included (intra_op_num_threads)",
        minimum=1,
    ),
    Option(
        "inter_threads",
        "int",
        None,
        "threads across operators (inter_op_num_threads); needs execution_mode=parallel",
        minimum=1,
    ),
    Option("execution_mode", "str", "sequential", "order of operators", ("sequential", "parallel")),
    Option("optimization", "str", "all", "graph optimisation level", tuple(_LEVELS)),
    Option("spinning", "bool", True, "idle pool threads spin instead of sleeping"),
    Option("arena", "bool", True, "CPU memory arena (enable_cpu_mem_arena)"),
    Option("mem_pattern", "bool", True, "plan memory ahead (enable_mem_pattern)"),
    Option("denormals_as_zero", "bool", False, "flush denormal floats to zero"),
    Option(
        "provider",
        "str",
        _CPU,
        "execution providers in order, joined by '+'; openvino-ep, qnn, webgpu and nv-tensorrt-rtx are "
        "packages beside onnxruntime",
    ),
    Option("device", "str", None, "device of such a package's provider", ("cpu", "gpu", "npu")),
    Option("provider_options", "str", "{}", 'JSON: {"CUDAExecutionProvider": {"device_id": "0"}}'),
    Option("io_binding", "bool", False, "bind inputs and outputs ahead of the call"),
    Option("preoptimized", "bool", False, "load a model file that was optimised ahead of time"),
    Option(
        "telemetry", "bool", False, "leave ONNX Runtime's own telemetry on, to see what it costs"
    ),
)
#: Of the options above, those that a decoder has as well: its cache is always bound.
_DECODER_OPTIONS = (
    *("threads", "optimization", "spinning", "arena", "provider", "provider_options", "telemetry"),
)


class OrtBackend(Backend):
    name = "ort"
    summary = "ONNX Runtime (CPU; other execution providers where their build is installed)"
    capabilities = Capabilities(
        formats=("onnx",),
        precisions=("fp32", "int8-dynamic", "int8-static", "mixed", "as-is"),
        options=_OPTIONS,
        device_kinds=("cpu", "gpu", "npu"),
    )
    generation = Capabilities(
        formats=("onnx",),  # GGUF files are converted
        precisions=("as-is", "fp32", "fp16", "w8", "int8-dynamic"),
        options=(
            *(option for option in _OPTIONS if option.name in _DECODER_OPTIONS),
            Option(
                "accuracy_level",
                "int",
                0,
                "of a GGUF file: what MatMulNBits multiplies in, 0 as the input is (fp32), 4 int8",
                (0, 4),
            ),
            Option(
                "graph",
                "str",
                "contrib",
                "of a GGUF file: ONNX Runtime's own operators, or standard ones alone",
                ("contrib", "standard"),
            ),
        ),
        rewinds=True,
    )

    def availability(self) -> Ready | Unavailable:
        versions = {name: installed_version(name) for name in DISTRIBUTIONS}
        installed = [
            (name, version)
            for name, version in versions.items()
            if version is not None and not _is_plugin(name, version)
        ]
        if len(installed) > 1:  # a look at their files, which takes longer
            installed = [(owner.name, owner.version) for owner in onnxruntime_owners()] or installed
        if not installed:
            return Unavailable(
                "not_installed", "ONNX Runtime is not installed", "pip install onnxruntime"
            )
        if len(installed) > 1:
            names = " and ".join(name for name, _ in installed)
            return Unavailable(
                "broken",
                f"{names} both own the module onnxruntime: which one runs is chance",
                f"pip uninstall -y {' '.join(name for name, _ in installed)}, then install one",
            )
        return Ready(installed[0][1])

    def environment(self, options: Mapping[str, Scalar]) -> Mapping[str, str]:
        return ort_environment(wanted=bool(options.get("telemetry")))

    def import_runtime(self) -> str:
        import onnxruntime

        if not hasattr(onnxruntime, "InferenceSession"):
            raise ImportError("the module onnxruntime is empty: its distribution is damaged")
        onnxruntime.set_default_logger_severity(3)
        return str(onnxruntime.__version__)

    def converts(self, model: ModelFile, options: Mapping[str, Scalar]) -> bool:
        return model.format == "gguf" or bool(options.get("preoptimized"))

    def convert(self, model: ModelFile, options: Mapping[str, Scalar], cache: Path) -> ModelFile:
        """A GGUF file as an ONNX graph; the optimised graph as a file of its own, where
        `preoptimized` asks for it."""
        if model.format == "gguf":
            from . import _ort_decoder

            return _ort_decoder.convert(model, options, cache)
        import onnxruntime

        from edgebench.probes import device_facts as device

        # The optimised graph is made for one processor: layouts follow its vector width.
        processor = {k: device.detect().facts.get(k) for k in ("machine", "cpu_model", "isa")}
        settings = {k: v for k, v in options.items() if k in ("optimization", "provider")}
        made_from = [model.sha256, onnxruntime.__version__, processor, settings]

        def write(path: Path) -> None:
            session_options = _session_options({**options, "preoptimized": False})
            session_options.optimized_model_filepath = str(path)
            _inference_session(model, session_options, options)

        return converted(model, kept_file(cache, made_from, ".onnx", write), model.format)

    def open(self, model: ModelFile, options: Mapping[str, Scalar]) -> OrtSession:
        self.capabilities.check(model, options)
        return OrtSession(model, dict(options))

    def open_generation(
        self, model: ModelFile, options: Mapping[str, Scalar], room: Room
    ) -> GenerationSession:
        from . import _ort_decoder

        self.generation.check(model, options)
        before = os_threads()
        inner = _inference_session(model, _session_options(options), options)
        threads = _threads_since(before)
        device = _session_device(inner, options)

        def facts() -> Effective:
            return _facts(inner, model, options, threads)

        return _ort_decoder.open_decoder(inner, options, room, device, facts)


class OrtSession(Session):
    """An `onnxruntime.InferenceSession`; `run` is the runtime's own method, nothing around it."""

    def __init__(self, model: ModelFile, options: dict[str, Scalar]) -> None:
        self._model = model
        self._options = options
        before = os_threads()
        self._inner: Any = _inference_session(model, _session_options(options), options)
        self._threads = _threads_since(before)
        self.inputs = tuple(_tensor_info(node) for node in self._inner.get_inputs())
        self.outputs = named_by_place([_tensor_info(node) for node in self._inner.get_outputs()])
        self._bound = bool(options.get("io_binding"))
        names = {node.name for node in self._inner.get_outputs()}
        if self._bound and len(names) < len(self.outputs):
            raise UnsupportedError(
                f"io_binding goes by names, and {model.path.name} has two outputs of one name",
                "leave io_binding out",
            )
        self.concurrent = not self._bound  # a binding holds the outputs of one call
        if self._bound:
            self.run = self._inner.run_with_iobinding
        else:
            self.run = functools.partial(self._inner.run, None)

    def device(self) -> str:
        return _session_device(self._inner, self._options)

    def prepare(self, feeds: Feeds) -> Any:
        if not self._bound:
            return dict(feeds)
        import onnxruntime

        binding, device = self._inner.io_binding(), self.device()
        for name, array in feeds.items():
            if device == "cpu":
                binding.bind_cpu_input(name, array)
            else:
                value = onnxruntime.OrtValue.ortvalue_from_numpy(array, device, 0)
                binding.bind_ortvalue_input(name, value)
        for node in self._inner.get_outputs():
            binding.bind_output(node.name, device)
        return binding

    def outputs_of(self, prepared: Any, raw: Any) -> Outputs:
        arrays = prepared.copy_outputs_to_cpu() if self._bound else raw
        return {info.name: array for info, array in zip(self.outputs, arrays, strict=True)}

    def effective(self) -> Effective:
        facts = _facts(self._inner, self._model, self._options, self._threads)
        notes = list(facts.notes)
        if facts.device != "cpu" and not self._bound:
            notes.append("copies between host and device are part of the latency")
        session_options = self._inner.get_session_options()
        return msgspec.structs.replace(
            facts,
            inputs=self.inputs,
            outputs=self.outputs,
            notes=tuple(notes),
            options={
                **facts.options,
                "inter_threads": session_options.inter_op_num_threads,
                "execution_mode": session_options.execution_mode.name.removeprefix("ORT_").lower(),
                "mem_pattern": session_options.enable_mem_pattern,
                "denormals_as_zero": _flag(session_options, "session.set_denormal_as_zero"),
                "io_binding": self._bound,
                "device": facts.device if "device" in self._options else None,
                "preoptimized": bool(self._options.get("preoptimized")),
            },
        )

    def profiler(self) -> Profiler:
        from ._ort_profiler import OrtProfiler

        def opened(model: ModelFile, change: Callable[[Any], None]) -> Any:
            session_options = _session_options(self._options)
            change(session_options)
            return _inference_session(model, session_options, self._options)

        first, device = self._inner.get_providers()[0], self.device()

        def device_of(provider: str) -> str:
            return device if provider == first else _device_of(provider)

        return OrtProfiler(self._model, opened, self.outputs, device_of)

    def close(self) -> None:
        self._inner = None
        self.run = closed


def _is_plugin(distribution: str, version: str) -> bool:
    """Whether it stands beside onnxruntime and requires it, as onnxruntime-qnn does since 2.0."""
    return distribution == "onnxruntime-qnn" and int(version.partition(".")[0] or 0) >= 2


def _facts(inner: Any, model: ModelFile, options: Mapping[str, Scalar], threads: int) -> Effective:
    """Returns what is read back alike of every session."""
    import onnxruntime

    providers = list(inner.get_providers())
    asked = str(options.get("provider", _CPU)).split("+")
    graph = _read_graph(model, options)
    session_options = inner.get_session_options()
    used = _used_provider_options(inner)
    hint, told_threads = _told_plugin(inner, options)
    if graph.precision is None and hint is not None:
        graph.notes.append(
            f"{asked[0]} tells no precision; it was told to compute floating point in {hint}"
        )
    telemetry = _telemetry(bool(options.get("telemetry")))
    if telemetry == "on":
        graph.notes.append("ONNX Runtime's telemetry is on: a thread and memory beside the model's")
    return Effective(
        device=_session_device(inner, options),
        precision=graph.precision,
        providers=graph.providers,
        compute_nodes=graph.compute_nodes,
        weight_bytes=graph.weight_bytes,
        threads=threads if _ort_plugins.plugin_of(asked[0]) is None else told_threads,
        graph_optimization=str(session_options.graph_optimization_level).rpartition(".")[2],
        runtime=f"onnxruntime {onnxruntime.__version__}",
        telemetry=telemetry,
        notes=tuple(graph.notes),
        options={
            "provider": "+".join(_ort_plugins.as_asked(providers, asked)),
            "provider_options": json.dumps(used, sort_keys=True),
            "optimization": _level_name(session_options.graph_optimization_level.name),
            "arena": session_options.enable_cpu_mem_arena,
            "spinning": _flag(session_options, "session.intra_op.allow_spinning"),
        },
    )


def _telemetry(wanted: bool) -> Telemetry:
    """Returns the state in this process. Raises UnsupportedError if telemetry was asked for and is not on."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    state_told = ort_telemetry(Path(state.__file__))
    if wanted and state_told == "none":
        raise UnsupportedError("telemetry was asked for, and this ONNX Runtime has none")
    if wanted and (state_told == "off" or has_database_open() is False):
        raise UnsupportedError(
            "telemetry was asked for, and ONNX Runtime has not started it",
            "unset CI, GITHUB_ACTIONS and their like, which switch it off",
        )
    return state_told


def _session_options(options: Mapping[str, Scalar]) -> Any:
    """`onnxruntime.SessionOptions` from a variant's options; absent ones stay the runtime's."""
    import onnxruntime

    chosen = onnxruntime.SessionOptions()
    chosen.log_severity_level = 3
    level = "disable" if options.get("preoptimized") else str(options.get("optimization", "all"))
    if level not in _LEVELS or not hasattr(onnxruntime.GraphOptimizationLevel, _LEVELS[level]):
        raise UnsupportedError(f"this ONNX Runtime has no graph optimisation level {level!r}")
    chosen.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, _LEVELS[level])
    if "threads" in options:
        chosen.intra_op_num_threads = int(options["threads"])
    mode = str(options.get("execution_mode", "sequential"))
    if mode == "parallel":
        chosen.execution_mode = onnxruntime.ExecutionMode.ORT_PARALLEL
    elif mode != "sequential":
        raise UnsupportedError(f"ONNX Runtime has no execution mode {mode!r}")
    if "inter_threads" in options:
        if mode != "parallel":
            raise UnsupportedError(
                "inter_threads has no effect in sequential mode", "--set execution_mode=parallel"
            )
        chosen.inter_op_num_threads = int(options["inter_threads"])
    if "arena" in options:
        chosen.enable_cpu_mem_arena = bool(options["arena"])
    if "mem_pattern" in options:
        chosen.enable_mem_pattern = bool(options["mem_pattern"])
    if "spinning" in options:
        value = "1" if options["spinning"] else "0"
        chosen.add_session_config_entry("session.intra_op.allow_spinning", value)
        chosen.add_session_config_entry("session.inter_op.allow_spinning", value)
    if options.get("denormals_as_zero"):
        chosen.add_session_config_entry("session.set_denormal_as_zero", "1")
    return chosen


def _entry(session_options: Any, key: str) -> str | None:
    """A configuration entry as the session has it; None: never set, the runtime's default."""
    try:
        return str(session_options.get_session_config_entry(key))
    except RuntimeError:
        return None


def _flag(session_options: Any, key: str) -> bool | None:
    """A switch as it was set; None where it was not: ONNX Runtime does not tell its own choice."""
    entry = _entry(session_options, key)
    return None if entry is None else entry == "1"


def _level_name(level: str) -> str:
    return next(name for name, known in _LEVELS.items() if known == level)


def _used_provider_options(session: Any) -> dict[str, dict[str, str]]:
    """Options of the registered providers that have any."""
    return {name: options for name, options in session.get_provider_options().items() if options}


def _told_plugin(session: Any, options: Mapping[str, Scalar]) -> tuple[str | None, int | None]:
    """The precision of floating point and the threads that a plugin was told; None: none of it, or no plugin runs."""
    name = str(options.get("provider", _CPU)).split("+")[0]
    if _ort_plugins.plugin_of(name) is None:
        return None, None
    device = _session_device(session, options)
    return _ort_plugins.told_of(name, _used_provider_options(session), device)


def _providers(options: Mapping[str, Scalar]) -> list[tuple[str, dict[str, str]]]:
    """Requested providers with their options, each known to this build, else UnsupportedError."""
    import onnxruntime

    names = str(options.get("provider", _CPU)).split("+")
    try:
        settings = msgspec.json.decode(
            str(options.get("provider_options", "{}")), type=dict[str, dict[str, Scalar]]
        )
    except msgspec.DecodeError as error:
        raise UnsupportedError(
            f"provider_options is no JSON object of the options of each provider: {error}",
            """--set provider_options='{"CUDAExecutionProvider": {"device_id": "0"}}'""",
        ) from None
    available = onnxruntime.get_available_providers()
    for name in _ort_plugins.registered_names(
        [name for name in names if _ort_plugins.plugin_of(name) is None]
    ):
        if name not in available:
            raise UnsupportedError(
                f"this build of ONNX Runtime has no provider {name!r}; it has {', '.join(available)}",
                "install the build that has it, for example onnxruntime-gpu for CUDA and TensorRT "
                "(on a Jetson: docs/hardware.md)",
            )
    unused = set(settings) - set(names)
    if unused:
        raise UnsupportedError(f"provider_options for unused providers: {', '.join(unused)}")
    if settings.get(_CPU):  # it would take any and heed none
        raise UnsupportedError(f"{_CPU} has no provider_options")
    given = [{str(k): str(v) for k, v in settings.get(name, {}).items()} for name in names]
    return list(zip(names, given, strict=True))


def _with_plugins(
    session_options: Any,
    providers: list[tuple[str, dict[str, str]]],
    options: Mapping[str, Scalar],
) -> list[tuple[str, dict[str, str]]] | None:
    """Adds the providers of plugins to the options of a session. Returns the others, or None where a plugin
    is among them: then all are told by the options alone."""
    plugins = [name for name, _ in providers if _ort_plugins.plugin_of(name) is not None]
    device = options.get("device")
    if device is not None and not plugins:
        raise UnsupportedError(
            "device is an option of providers that are packages of their own",
            f"--set provider={'|'.join(_ort_plugins.PLUGINS)}",
        )
    if not plugins:
        return [(_ort_plugins.BUILT_IN.get(name, name), settings) for name, settings in providers]
    for name, settings in providers:
        if name in plugins:
            _ort_plugins.add_plugin(session_options, name, settings, options)
        elif name != _CPU:
            raise UnsupportedError(f"{name} cannot be used beside {plugins[0]}", "name one of them")
    return None


def _plugin_device(options: Mapping[str, Scalar], provider: str) -> str:
    """Where a plugin's provider computes: what was asked for, else the first kind that it found."""
    import onnxruntime

    if options.get("device") is not None:
        return str(options["device"])
    devices = [each for each in onnxruntime.get_ep_devices() if each.ep_name == provider]
    kinds = [_ort_plugins.kind_of(each) for each in devices]
    return next((kind for kind in _ort_plugins.DEVICES if kind in kinds), "unknown")


def _inference_session(
    model: ModelFile, session_options: Any, options: Mapping[str, Scalar]
) -> Any:
    """A session on exactly the requested providers; UnsupportedError where one fell away."""
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    providers = _providers(options)
    refusals: list[type[Exception]] = [RuntimeError, ValueError]
    refusals += [
        kind
        for kind in vars(state).values()
        if isinstance(kind, type) and issubclass(kind, Exception)
    ]
    built_in = _with_plugins(session_options, providers, options)
    try:
        session = onnxruntime.InferenceSession(
            str(model.path), session_options, providers=built_in, enable_fallback=False
        )
    except tuple(refusals) as error:
        from edgebench.models.onnx_file import refusal

        raise refusal(error, f"ONNX Runtime refuses {model.path.name}") from None
    session.disable_fallback()
    registered = session.get_providers()
    for name in _ort_plugins.registered_names([name for name, _ in providers]):
        if name not in registered:
            raise UnsupportedError(
                f"{name} was asked for, but ONNX Runtime fell back to {', '.join(registered)}",
                "look at the provider's own message: a library or a device is missing",
            )
    return session


class _Graph:
    """Holds what the graph that runs is made of."""

    def __init__(self) -> None:
        self.precision: str | None = None
        self.providers: dict[str, int] | None = None
        self.compute_nodes: dict[str, int] | None = None
        self.weight_bytes: dict[str, int] | None = None
        self.notes: list[str] = []


def _read_graph(model: ModelFile, options: Mapping[str, Scalar]) -> _Graph:
    """Opens the model once more, so that the runtime writes its optimised graph and assignment."""
    import onnx

    from edgebench.models.onnx_file import precision_census

    graph = _Graph()
    with tempfile.TemporaryDirectory(prefix="edgebench-") as folder:
        path = Path(folder) / "optimized.onnx"
        try:
            session = _assigned_session(model, options, path)
        except UnsupportedError as error:
            # Providers that compile the graph cannot write it: say so, and do not guess.
            graph.notes.append(f"optimised graph not readable: {error.message}")
            session = _assigned_session(model, options, None)
        else:
            optimized = onnx.load(str(path), load_external_data=False)
            graph.compute_nodes, graph.weight_bytes = precision_census(optimized)
            graph.precision = one_precision(graph.compute_nodes)
    parts = _ort_plugins.assigned_parts(session)
    if parts is not None:
        graph.providers = dict(Counter(part.provider for part in parts for _ in part.nodes))
    elif session.get_providers() == [_CPU] and graph.compute_nodes is not None:
        graph.providers = {_CPU: len(optimized.graph.node)}
    else:
        graph.notes.append("this ONNX Runtime does not report which provider runs which node")
    _demand_what_was_asked(graph, model, options)
    return graph


def _assigned_session(model: ModelFile, options: Mapping[str, Scalar], written: Path | None) -> Any:
    """A session that records which provider runs which node, and writes the graph that it runs where asked."""
    session_options = _session_options(options)
    _ort_plugins.record_assignment(session_options)
    if written is not None:
        session_options.optimized_model_filepath = str(written)
    return _inference_session(model, session_options, options)


def _demand_what_was_asked(graph: _Graph, model: ModelFile, options: Mapping[str, Scalar]) -> None:
    """Raises UnsupportedError where the first provider runs no node, or none of those that are known is int8."""
    first = str(options.get("provider", _CPU)).split("+")[:1]
    requested = _ort_plugins.registered_names(first)[0]
    if graph.providers is not None and not graph.providers.get(requested):
        raise UnsupportedError(f"{requested} was asked for, but runs no node of {model.path.name}")
    lower = model.precision.startswith(("int8", "mixed"))
    if lower and graph.compute_nodes is not None and not graph.compute_nodes.get("int8"):
        raise UnsupportedError(
            f"{model.precision} was asked for, but no compute-heavy node runs in int8"
        )


def _tensor_info(node: Any) -> TensorInfo:
    element = node.type
    name = _DTYPES.get(element, element.removeprefix("tensor(").removesuffix(")"))
    shape = tuple(axis if isinstance(axis, int) else None for axis in node.shape)
    return TensorInfo(node.name, name, shape)


def _session_device(inner: Any, options: Mapping[str, Scalar]) -> str:
    provider = inner.get_providers()[0]
    first = str(options.get("provider", _CPU)).split("+")[0]
    if _ort_plugins.plugin_of(first) is not None:
        return _plugin_device(options, provider)
    return _device_of(provider)


def _device_of(provider: str) -> str:
    if provider in ("CUDAExecutionProvider", "TensorrtExecutionProvider"):
        return "cuda"
    return "cpu" if provider == _CPU else provider.removesuffix("ExecutionProvider").lower()


def _threads_since(before: int) -> int:
    """Threads that compute, the caller's included, where `before` was the count without a session."""
    return os_threads() - before + 1


BACKEND = OrtBackend

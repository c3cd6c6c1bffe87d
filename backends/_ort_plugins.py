"""Execution providers that ONNX Runtime loads from a package beside it (since 1.23): found, registered, chosen.

Each package has a module with `get_library_path()` and `get_ep_names()`. A provider tells the devices that it can
use; none of them falls back: without a device it is refused.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from edgebench.backend import Scalar
from edgebench.errors import UnsupportedError
from edgebench.text.did_you_mean import did_you_mean

CPU = "CPUExecutionProvider"
#: Kinds of devices, the fastest first: what is taken where none is named.
DEVICES = ("npu", "gpu", "cpu")
#: Settings of OpenVINO, by device, as JSON: an option of its provider.
LOAD_CONFIG = "load_config"
_HINT, _THREADS = "INFERENCE_PRECISION_HINT", "INFERENCE_NUM_THREADS"


@dataclass(frozen=True)
class Plugin:
    """A package that brings an execution provider."""

    distribution: str
    module: str
    provider: str  # its name in ONNX Runtime
    #: The options that it heeds; empty: nobody listed them. ONNX Runtime passes any on, and says nothing of one
    #: that is not known.
    options: frozenset[str] = frozenset()
    #: Options that it takes and does not heed, and what has the effect.
    unheeded: Mapping[str, str] = field(default_factory=dict)


def _set_in_load_config(name: str) -> str:
    settings = json.dumps({"openvino-ep": {LOAD_CONFIG: json.dumps({"CPU": {name: "VALUE"}})}})
    return f"--set provider_options='{settings}'"


PLUGINS: Mapping[str, Plugin] = {
    "openvino-ep": Plugin(
        "onnxruntime-ep-openvino",
        "onnxruntime_ep_openvino",
        "OpenVINOExecutionProvider",
        options=frozenset(
            (
                *("cache_dir", "dump_subgraphs", "enable_causallm", "hint_enable_gqa"),
                *(LOAD_CONFIG, "reshape_input"),
            )
        ),
        unheeded={
            "precision": _set_in_load_config(_HINT),
            "num_of_threads": "--set threads=N",
            "num_streams": _set_in_load_config("NUM_STREAMS"),
            "model_priority": _set_in_load_config("MODEL_PRIORITY"),
            "enable_opencl_throttling": "leave it out",
            "enable_qdq_optimizer": "leave it out",
            "disable_dynamic_shapes": "leave it out",
            "device_type": "--set device=cpu|gpu|npu",
            "device_id": "--set device=cpu|gpu|npu",
            "device_luid": "--set device=cpu|gpu|npu",
        },
    ),
    "qnn": Plugin("onnxruntime-qnn", "onnxruntime_qnn", "QNNExecutionProvider"),
    "webgpu": Plugin("onnxruntime-ep-webgpu", "onnxruntime_ep_webgpu", "WebGpuExecutionProvider"),
    "nv-tensorrt-rtx": Plugin(
        "onnxruntime-ep-nv-tensorrt-rtx",
        "onnxruntime_ep_nv_tensorrt_rtx",
        "NvTensorRTRTXExecutionProvider",
    ),
}
#: Short names of providers that are part of a build of ONNX Runtime.
BUILT_IN = {"coreml": "CoreMLExecutionProvider"}
_registered: set[str] = set()


def plugin_of(name: str) -> Plugin | None:
    """The plugin that a provider's name stands for; None: it is part of the build."""
    return PLUGINS.get(name)


def add_plugin(
    session_options: Any, name: str, given: Mapping[str, str], options: Mapping[str, Scalar]
) -> str:
    """Adds a plugin's provider, with the options that it was given, to the options of a session; returns the
    kind of its device. Of a variant's `options`, `device` and `threads` are heeded.

    Raises UnsupportedError where its package is missing, cannot be loaded, finds no such device, or would not
    heed an option.
    """
    plugin = PLUGINS[name]
    device = None if options.get("device") is None else str(options["device"])
    _demand_heeded(name, plugin, given)
    devices = _devices(name, plugin)
    kinds = [kind_of(each) for each in devices]
    chosen = device or next((kind for kind in DEVICES if kind in kinds), None)
    matching = [each for each, kind in zip(devices, kinds, strict=True) if kind == chosen]
    if not matching:
        found = f"only {', '.join(sorted(set(kinds)))}" if kinds else "none"
        raise UnsupportedError(
            f"{name} finds no {device or 'device'} here ({found})",
            _no_device_fix(name),
        )
    full = {**_defaults(name, chosen), **given}
    if name == "openvino-ep":
        full[LOAD_CONFIG] = _load_config(
            str(chosen), given.get(LOAD_CONFIG), options.get("threads")
        )
    try:
        session_options.add_provider_for_devices(matching[:1], full)
    except Exception as error:  # noqa: BLE001 - the runtime's share no other base class
        raise UnsupportedError(f"{name} refuses its options: {_first_line(error)}") from None
    return str(chosen)


def _demand_heeded(name: str, plugin: Plugin, given: Mapping[str, str]) -> None:
    """Raises UnsupportedError for an option that would change nothing, and nobody would know."""
    for option in given:
        if option in plugin.unheeded:
            raise UnsupportedError(
                f"{name} takes its option {option} and does not heed it", plugin.unheeded[option]
            )
        if plugin.options and option not in plugin.options:
            near = did_you_mean(option, sorted(plugin.options))
            raise UnsupportedError(f"{name} has no option {option!r}{near}")


def _no_device_fix(name: str) -> str:
    fix = "install the device's driver, or choose another provider"
    return f"it computes on devices of Intel alone: {fix}" if name == "openvino-ep" else fix


def _devices(name: str, plugin: Plugin) -> list[Any]:
    """Devices that the plugin tells of, its library registered once in this process."""
    import onnxruntime

    if not hasattr(onnxruntime, "register_execution_provider_library"):
        raise UnsupportedError(
            f"onnxruntime {onnxruntime.__version__} loads no plugins",
            "pip install 'onnxruntime>=1.23'",
        )
    if importlib.util.find_spec(plugin.module) is None:
        raise UnsupportedError(
            f"{name} is not installed", f"pip install {plugin.distribution} (beside onnxruntime)"
        )
    module = importlib.import_module(plugin.module)
    if name not in _registered:
        try:
            onnxruntime.register_execution_provider_library(
                plugin.provider, str(module.get_library_path())
            )
        except Exception as error:  # noqa: BLE001 - the runtime's share no other base class
            raise UnsupportedError(
                f"{name} cannot be loaded: {_first_line(error)}",
                "install what its library needs: a driver, or the version that fits this ONNX Runtime",
            ) from None
        _registered.add(name)
    names = {plugin.provider, *map(str, module.get_ep_names())}
    return [each for each in onnxruntime.get_ep_devices() if each.ep_name in names]


def kind_of(device: Any) -> str:
    """Of a device that a provider tells: one of `DEVICES`."""
    return str(device.device.type).rpartition(".")[2].lower()


def _defaults(name: str, device: str | None) -> dict[str, str]:
    """Options without which a provider computes on another device than was asked for."""
    if name != "qnn":
        return {}
    module = importlib.import_module(PLUGINS[name].module)
    path = {
        "cpu": "get_qnn_cpu_path",
        "gpu": "get_qnn_gpu_path",
        "npu": "get_qnn_htp_path",
    }[str(device)]
    return {"backend_path": str(getattr(module, path)())}


def _load_config(device: str, given: str | None, threads: Scalar | None) -> str:
    """OpenVINO's settings: those that were given, fp32 unless they say otherwise, and the threads asked for.

    Without the hint it computes in less than fp32 where the processor can.
    """
    try:
        settings = msgspec.json.decode(given or "{}", type=dict[str, dict[str, Any]])
    except msgspec.DecodeError as error:
        raise UnsupportedError(
            f"{LOAD_CONFIG} is no JSON object of the settings of each device: {error}",
            _set_in_load_config(_HINT),
        ) from None
    own = settings.setdefault(device.upper(), {})
    own.setdefault(_HINT, "f32")
    if threads is not None and device == "cpu":
        own.setdefault(_THREADS, str(threads))
    return json.dumps(settings, sort_keys=True)


def told_of(
    name: str, used: Mapping[str, Mapping[str, str]], device: str
) -> tuple[str | None, int | None]:
    """The precision that a plugin was told to compute floating point in, and its threads, by the options that the
    session read back; None: it was not told."""
    given = used.get(PLUGINS[name].provider, {}).get(LOAD_CONFIG)
    settings = msgspec.json.decode(given).get(device.upper(), {}) if given else {}
    hint, threads = settings.get(_HINT), settings.get(_THREADS)
    return hint, None if threads is None else int(threads)


@dataclass(frozen=True)
class Part:
    """Nodes that one provider took together: a provider that compiles makes one operator of them."""

    provider: str
    nodes: tuple[str, ...]  # names as in the file, where the file has any


def record_assignment(session_options: Any) -> None:
    """Makes a session note which provider runs which node."""
    session_options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")


def assigned_parts(session: Any) -> list[Part] | None:
    """Which provider runs which nodes, of a session that noted it; None: this ONNX Runtime does not tell."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return None
    return [
        Part(str(part.ep_name), tuple(str(node.name) for node in part.get_nodes()))
        for part in session.get_provider_graph_assignment_info()
    ]


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]


def registered_names(names: Sequence[str]) -> list[str]:
    """Names of providers as ONNX Runtime tells them, by those that a user says."""
    return [PLUGINS[n].provider if n in PLUGINS else BUILT_IN.get(n, n) for n in names]


def as_asked(providers: Sequence[str], asked: Sequence[str]) -> list[str]:
    """Names of providers as a user says them, by those that ONNX Runtime tells."""
    said = dict(zip(registered_names(asked), asked, strict=True))
    return [said.get(name, name) for name in providers]

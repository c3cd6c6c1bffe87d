"""Execution providers that ONNX Runtime loads from a package beside it (since 1.23): found, registered, chosen.

Each package has a module with `get_library_path()` and `get_ep_names()`. A provider tells the devices that it can
use; none of them falls back: without a device it is refused.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgebench.errors import UnsupportedError

CPU = "CPUExecutionProvider"
#: Kinds of devices, the fastest first: what is taken where none is named.
DEVICES = ("npu", "gpu", "cpu")


@dataclass(frozen=True)
class Plugin:
    """A package that brings an execution provider."""

    distribution: str
    module: str
    provider: str  # its name in ONNX Runtime


PLUGINS: Mapping[str, Plugin] = {
    "openvino-ep": Plugin(
        "onnxruntime-ep-openvino", "onnxruntime_ep_openvino", "OpenVINOExecutionProvider"
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
    session_options: Any, name: str, options: Mapping[str, str], device: str | None
) -> str:
    """Adds a plugin's provider to the options of a session; returns the kind of its device.

    Raises UnsupportedError where its package is missing, cannot be loaded, or finds no such device.
    """
    plugin = PLUGINS[name]
    devices = _devices(name, plugin)
    kinds = [_kind(each) for each in devices]
    chosen = device or next((kind for kind in DEVICES if kind in kinds), None)
    matching = [each for each, kind in zip(devices, kinds, strict=True) if kind == chosen]
    if not matching:
        found = f"only {', '.join(sorted(set(kinds)))}" if kinds else "none"
        raise UnsupportedError(
            f"{name} finds no {device or 'device'} here ({found})",
            "install the device's driver, or choose another provider",
        )
    try:
        session_options.add_provider_for_devices(
            matching[:1], {**_defaults(name, chosen), **options}
        )
    except Exception as error:  # noqa: BLE001 - the runtime's share no other base class
        raise UnsupportedError(f"{name} refuses its options: {_first_line(error)}") from None
    return str(chosen)


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


def _kind(device: Any) -> str:
    return str(device.device.type).rpartition(".")[2].lower()


def _defaults(name: str, device: str | None) -> dict[str, str]:
    """Options without which a provider computes less exactly than was asked for, or on another device."""
    if name == "openvino-ep":
        # The option `precision` is taken and not heeded; the hint is.
        hint = '{"INFERENCE_PRECISION_HINT": "f32"}'
        return {"load_config": f'{{"{str(device).upper()}": {hint}}}'}
    if name == "qnn":
        module = importlib.import_module(PLUGINS[name].module)
        path = {
            "cpu": "get_qnn_cpu_path",
            "gpu": "get_qnn_gpu_path",
            "npu": "get_qnn_htp_path",
        }[str(device)]
        return {"backend_path": str(getattr(module, path)())}
    return {}


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

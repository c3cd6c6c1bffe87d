"""ONNX Runtime: what is asked of a provider is given to it, or refused; packages beside it are never silently absent."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgebench import registry
from edgebench.backend import ModelFile, Ready, Unavailable
from edgebench.backends import _ort_plugins as plugins
from edgebench.backends import ort as ort_backend
from edgebench.errors import UnsupportedError
from tests import onnx_models

ort = pytest.importorskip("onnxruntime")


class Options:
    """Session options that note what is added to them."""

    def __init__(self, refusal: str = "") -> None:
        self.added: list[tuple[list[Any], dict[str, str]]] = []
        self._refusal = refusal

    def add_provider_for_devices(self, devices: Sequence[Any], options: Mapping[str, str]) -> None:
        if self._refusal:
            raise RuntimeError(self._refusal)
        self.added.append((list(devices), dict(options)))


def device(kind: str, name: str = "OpenVINOExecutionProvider") -> Any:
    return SimpleNamespace(
        ep_name=name, device=SimpleNamespace(type=f"OrtHardwareDeviceType.{kind.upper()}")
    )


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The package of openvino-ep, whose library tells of the devices in the list."""
    module = tmp_path / "onnxruntime_ep_openvino.py"
    module.write_text(
        "def get_library_path(): return 'plugin.so'\n"
        "def get_ep_names(): return ['OpenVINOExecutionProvider']\n"
    )
    devices = [device("cpu", "CPUExecutionProvider")]
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(plugins, "_registered", set())
    monkeypatch.setattr(
        ort, "register_execution_provider_library", lambda name, path: None, raising=False
    )
    monkeypatch.setattr(ort, "get_ep_devices", lambda: devices, raising=False)
    yield devices
    sys.modules.pop("onnxruntime_ep_openvino", None)


def test_first_kind_of_device_is_taken_where_none_is_named(installed: list[Any]) -> None:
    installed += [device("cpu"), device("gpu")]
    options = Options()
    assert plugins.add_plugin(options, "openvino-ep", {}, {}) == "gpu"
    assert options.added[0][0] == [installed[2]]


def test_named_device_is_taken_and_full_precision_is_asked_for(installed: list[Any]) -> None:
    installed += [device("cpu"), device("gpu")]
    options = Options()
    assert (
        plugins.add_plugin(options, "openvino-ep", {"cache_dir": "x"}, {"device": "cpu"}) == "cpu"
    )
    ((_, given),) = options.added
    assert given["cache_dir"] == "x"
    assert given["load_config"] == '{"CPU": {"INFERENCE_PRECISION_HINT": "f32"}}'


def test_absent_device_is_refused(installed: list[Any]) -> None:
    with pytest.raises(UnsupportedError, match="openvino-ep finds no device here"):
        plugins.add_plugin(Options(), "openvino-ep", {}, {})
    installed.append(device("cpu"))
    with pytest.raises(UnsupportedError, match=r"finds no npu here \(only cpu\)"):
        plugins.add_plugin(Options(), "openvino-ep", {}, {"device": "npu"})


def test_refused_options_are_told(installed: list[Any]) -> None:
    installed.append(device("cpu"))
    with pytest.raises(UnsupportedError, match="openvino-ep refuses its options: no such key"):
        plugins.add_plugin(Options("no such key\nat line 3"), "openvino-ep", {"cache_dir": "b"}, {})


def test_library_that_cannot_be_loaded_is_told(
    installed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str, path: str) -> None:
        raise RuntimeError("libcuda.so.1: cannot open shared object file")

    monkeypatch.setattr(ort, "register_execution_provider_library", fail)
    with pytest.raises(UnsupportedError, match=r"cannot be loaded: libcuda\.so\.1"):
        plugins.add_plugin(Options(), "openvino-ep", {}, {})


def test_absent_package_is_told_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        plugins.PLUGINS, "qnn", plugins.Plugin("onnxruntime-qnn", "no_such_module", "QNN")
    )
    with pytest.raises(UnsupportedError, match="qnn is not installed") as raised:
        plugins.add_plugin(Options(), "qnn", {}, {})
    assert raised.value.fix == "pip install onnxruntime-qnn (beside onnxruntime)"


def test_names_are_those_that_were_asked_for() -> None:
    told = ["OpenVINOExecutionProvider", "CPUExecutionProvider"]
    assert plugins.as_asked(told, ["openvino-ep"]) == ["openvino-ep", "CPUExecutionProvider"]
    assert plugins.registered_names(["qnn", "coreml"]) == [
        "QNNExecutionProvider",
        "CoreMLExecutionProvider",
    ]


def test_device_without_a_plugin_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="packages of their own"):
        ort_backend._with_plugins(Options(), [("CPUExecutionProvider", {})], {"device": "gpu"})


def test_qnn_of_today_stands_beside_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    versions: dict[str, str | None] = {"onnxruntime": "1.32.0", "onnxruntime-qnn": "2.7.0"}
    monkeypatch.setattr(ort_backend, "installed_version", versions.get)
    backend = registry.load("ort")
    assert backend.availability() == Ready("1.32.0")
    del versions["onnxruntime"]
    found = backend.availability()
    assert isinstance(found, Unavailable)
    assert found.kind == "not_installed"
    versions["onnxruntime-qnn"] = "1.22.0"  # brought the module itself
    assert backend.availability() == Ready("1.22.0")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("[]", "no JSON object of the options of each provider"),
        ('{"CPUExecutionProvider": 3}', "no JSON object of the options of each provider"),
        ("{", "no JSON object of the options of each provider"),
        ('{"CPUExecutionProvider": {"threads": "3"}}', "CPUExecutionProvider has no provider_opt"),
        ('{"CUDAExecutionProvider": {"device_id": "0"}}', "unused providers"),
    ],
)
def test_provider_options_of_no_effect_are_refused(tmp_path: Path, given: str, said: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_models.convolution().SerializeToString())
    backend = registry.load("ort")
    backend.import_runtime()
    with pytest.raises(UnsupportedError, match=said):
        backend.open(ModelFile(path, "onnx", "0" * 64), {"provider_options": given})

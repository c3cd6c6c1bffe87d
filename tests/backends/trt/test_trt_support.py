"""Which TensorRT is supported where, and which fix each missing piece has. No TensorRT is needed."""

from __future__ import annotations

import ctypes
import importlib.metadata
import sys
from pathlib import Path
from typing import Any

import pytest

from edgebench import registry
from edgebench.backend import Ready, Unavailable
from edgebench.backends.trt import driver, supported_platforms
from edgebench.backends.trt.supported_platforms import (
    Board,
    dla_refusal,
    parse_version,
    read_board,
    refusal,
)

DESKTOP = Board(jetson=False)
ORIN_6 = Board(True, "NVIDIA Jetson AGX Orin Developer Kit", (36, 4, 3), (6, 2))
ORIN_7 = Board(True, "NVIDIA Jetson AGX Orin Developer Kit", (39, 1, 0), (7, 2, 2))
NANO_7 = Board(True, "NVIDIA Jetson Orin Nano Developer Kit", (39, 1, 0), (7, 2, 2))
THOR_7 = Board(True, "NVIDIA Jetson AGX Thor Developer Kit", (39, 1, 0), (7, 2, 2))
OLD = Board(True, "NVIDIA Jetson AGX Orin Developer Kit", (36, 3, 0))
THOR_70 = Board(True, "NVIDIA Jetson AGX Thor Developer Kit", (38, 2, 0), (7, 0))


@pytest.mark.parametrize(
    ("version", "board", "why"),
    [
        ("10.13.0.35", DESKTOP, None),
        ("11.4.0.106", DESKTOP, None),
        ("8.6.2", DESKTOP, "TensorRT 8.6.2 is not supported"),
        ("12.0.1", DESKTOP, "TensorRT 12.0.1 is not supported"),
        ("unknown", DESKTOP, "TensorRT unknown is not supported"),
        ("10.3.0", ORIN_6, None),
        ("10.3.0", OLD, "with L4T 36.3.0 is not supported"),
        ("10.13.3", THOR_7, None),
        ("11.4.1", ORIN_7, None),
        ("11.4.1", THOR_7, None),
        ("11.4.0", THOR_7, "on a Jetson, 11.x begins with 11.4.1"),
        ("11.4.1", NANO_7, "does not support NVIDIA Jetson Orin Nano"),
        ("11.4.1", ORIN_6, "needs JetPack 7.2.2 or later, and this is JetPack 6.2"),
        ("11.5.0", THOR_70, "needs JetPack 7.2.2 or later, and this is JetPack 7.0"),
        ("11.4.1", OLD, "needs JetPack 7.2.2 or later, and this is L4T 36.3.0"),
    ],
)
def test_combinations_are_refused_by_name(version: str, board: Board, why: str | None) -> None:
    found = refusal(version, board)
    assert (found is None) == (why is None)
    if found is not None and why is not None:
        assert why in found[0]
        assert found[1]


@pytest.mark.parametrize(
    ("version", "board", "why"),
    [
        ("10.3.0", ORIN_6, None),
        ("10.7.0", ORIN_6, None),
        ("10.8.0", ORIN_6, "10.7 was the last 10.x"),
        ("10.13.3", THOR_7, "10.7 was the last 10.x"),
        ("11.4.1", ORIN_7, None),
        ("11.4.1", THOR_7, "on AGX Orin only"),
        ("11.4.0", ORIN_7, "from 11.4.1"),
        ("11.4.1", DESKTOP, "on Jetson boards only"),
    ],
)
def test_a_dla_is_refused_by_name(version: str, board: Board, why: str | None) -> None:
    found = dla_refusal(version, board)
    assert (found is None) == (why is None)
    if found is not None and why is not None:
        assert why in found[0]


def test_a_jetson_is_read_from_its_own_files(tmp_path: Path) -> None:
    assert read_board(tmp_path) == DESKTOP
    texts = {
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic",
        "proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0",
        "var/lib/dpkg/status": "Package: nvidia\nVersion: 1\n\n"
        "Package: nvidia-jetpack\nStatus: install ok installed\nVersion: 6.2+b77\n\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert read_board(tmp_path) == ORIN_6
    assert parse_version("no number") == ()


# --- missing pieces, each with its own fix ------------------------------------------------------


class FakeDriver:
    """libcuda.so.1 as ctypes sees it."""

    def __init__(self, started: int = 0, devices: int = 1) -> None:
        self._started, self._devices = started, devices

    def cuInit(self, flags: int) -> int:
        return self._started

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = self._devices
        return 0


def state(
    monkeypatch: pytest.MonkeyPatch,
    *,
    installed: dict[str, str],
    board: Board = DESKTOP,
    library: FakeDriver | None = None,
) -> Ready | Unavailable:
    """What the backend says with these distributions, on this board, with this driver."""

    def version(name: str) -> str:
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    def load(name: str) -> FakeDriver:
        assert name == "libcuda.so.1"
        if library is None:
            raise OSError("libcuda.so.1: cannot open shared object file")
        return library

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(ctypes, "CDLL", load)
    monkeypatch.setattr(supported_platforms, "read_board", lambda: board)
    return registry.load("trt").availability()


BOTH = {"tensorrt": "10.13.0", "cuda-python": "12.9.4"}
NO_GPU = FakeDriver(devices=0)


@pytest.mark.parametrize(
    ("installed", "board", "library", "kind", "reason", "fix"),
    [
        ({}, DESKTOP, None, "not_installed", "TensorRT's Python module", "pip install tensorrt"),
        ({}, ORIN_6, None, "not_installed", "TensorRT's Python module", "--system-site-packages"),
        (
            {"tensorrt": "10.13.0"},
            DESKTOP,
            None,
            "not_installed",
            "cuda-python is not installed",
            "pip install cuda-python",
        ),
        ({"tensorrt": "10.3.0"}, ORIN_6, None, "not_installed", "cuda-python", "edgebench[jetson]"),
        (BOTH, DESKTOP, None, "broken", "no NVIDIA driver", "install the NVIDIA driver"),
        (BOTH, ORIN_6, None, "broken", "no NVIDIA driver", "part of JetPack"),
        (BOTH, DESKTOP, NO_GPU, "broken", "finds no GPU", "nvidia-smi -L"),
        (BOTH, ORIN_6, FakeDriver(started=100), "broken", "finds no GPU", "groups video"),
        (BOTH, DESKTOP, FakeDriver(started=803), "broken", "CUDA error 803", "nvidia-smi"),
        ({**BOTH, "tensorrt": "9.3.0"}, DESKTOP, None, "broken", "9.3.0", "10.x or 11.x"),
    ],
)
def test_each_missing_piece_has_its_own_fix(
    monkeypatch: pytest.MonkeyPatch,
    installed: dict[str, str],
    board: Board,
    library: FakeDriver | None,
    kind: str,
    reason: str,
    fix: str,
) -> None:
    found = state(monkeypatch, installed=installed, board=board, library=library)
    assert isinstance(found, Unavailable)
    assert found.kind == kind
    assert reason in found.reason
    assert fix in found.fix


def test_availability_is_ready_if_driver_and_packages_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = state(monkeypatch, installed=BOTH, library=FakeDriver())
    assert found == Ready("10.13.0")


def test_a_module_without_metadata_states_its_own_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "tensorrt").mkdir()
    init = tmp_path / "tensorrt/__init__.py"
    init.write_text("raise ImportError('never imported')\n__version__ = '10.3.0'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    installed = {"cuda-python": "12.9.4"}
    assert state(monkeypatch, installed=installed, library=FakeDriver()) == Ready("10.3.0")
    init.unlink()
    (tmp_path / "tensorrt/__init__.pyi").write_text("class Builder: ...\n")  # stubs alone
    sys.path_importer_cache.clear()
    assert isinstance(state(monkeypatch, installed=installed), Unavailable)


def test_this_machine_without_a_driver_says_so() -> None:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        found = driver.problem(jetson=False)
        assert found is not None
        assert found[0].startswith("there is no NVIDIA driver")
    else:
        pytest.skip("an NVIDIA driver is installed here")

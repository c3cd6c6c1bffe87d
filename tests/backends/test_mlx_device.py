"""Which of MLX's devices is a deployment: its own word decides, not the system it runs on."""

from __future__ import annotations

import sys

import pytest

pytest.importorskip("mlx.core")

from edgebench import registry
from edgebench.backend import Ready
from edgebench.backends import mlx
from edgebench.backends.mlx import mlx_device


@pytest.mark.parametrize(
    ("platform", "kind", "deployable"),
    [
        ("linux", "cpu", False),
        ("linux", "gpu", True),  # CUDA
        ("darwin", "gpu", True),
        ("darwin", "cpu", True),
    ],
)
def test_the_gpu_of_a_cuda_build_is_a_deployment(
    monkeypatch: pytest.MonkeyPatch, platform: str, kind: str, deployable: bool
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert (mlx_device.not_deployable(kind) == "") is deployable
    if kind == "gpu":
        assert mlx_device.notes(kind) == []


def test_a_cuda_build_is_no_reference_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(
        mlx,
        "installed_version",
        lambda *names: "0.32.0" if {"mlx", "mlx-cuda-13"} & set(names) else None,
    )
    assert registry.load("mlx").availability() == Ready("0.32.0")

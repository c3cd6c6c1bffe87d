"""The contract kit on the runtimes that are installed here; CI installs those of the extra `test`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgebench import registry
from edgebench.backend import Unavailable


@pytest.mark.parametrize("name", ["litert", "ncnn", "openvino"])
def test_the_contract_is_kept(name: str, tmp_path: Path) -> None:
    _run_kit(name, "edgebench.testing", tmp_path)


@pytest.mark.parametrize("name", ["mlx", "llama_cpp", "openvino_genai", "ort_genai"])
def test_the_contract_of_decoders_is_kept(name: str, tmp_path: Path) -> None:
    _run_kit(name, "edgebench.testing.test_contract_generation", tmp_path)


def _run_kit(name: str, kit: str, tmp_path: Path) -> None:
    state = registry.load(name).availability()
    if isinstance(state, Unavailable):
        pytest.skip(f"{state.reason}: {state.fix}")
    if state.runs_only:
        pytest.skip(f"{state.note}: make test-genai")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--tb=short"),
            *("--pyargs", kit, "--backend", name),
        ],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("litert", "pip install 'edgebench[litert]'"),
        ("ncnn", "pip install --no-deps pnnx"),
        ("openvino", "pip install 'edgebench[openvino]'"),
        ("llama_cpp", "pip install 'edgebench[llama-cpp]'"),
        ("openvino_genai", "pip install 'edgebench[openvino-genai]'"),
        ("ort_genai", "pip install 'edgebench[ort-genai]'"),
    ],
)
def test_a_runtime_that_is_not_there_says_how_to_get_it(
    name: str, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.metadata

    def nothing(distribution: str) -> str:
        raise importlib.metadata.PackageNotFoundError(distribution)

    monkeypatch.setattr(importlib.metadata, "version", nothing)
    state = registry.load(name).availability()
    assert isinstance(state, Unavailable)
    assert state.kind == "not_installed"
    assert fix in state.fix

"""NNCF's accuracy control as a source of maps: its choice is read from the graph that it makes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebench.errors import UsageError
from edgebench.models import nncf_scope
from edgebench.models.onnx_file import load_model, save_model
from tests import onnx_models as models

ITEMS = [
    {"image": np.random.RandomState(seed).normal(0, 1, (1, 3, 8, 8)).astype(np.float32)}
    for seed in range(8)
]


def test_without_nncf_the_option_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nncf_scope, "installed_version", lambda name: None)
    with pytest.raises(UsageError, match="NNCF is not installed") as raised:
        nncf_scope.require_nncf()
    assert raised.value.fix == "pip install 'edgebench[nncf]'"


@pytest.fixture
def network(tmp_path: Path) -> Any:
    pytest.importorskip("nncf", reason="needs the extra nncf (make test-nncf)")
    save_model(models.convolution([1, 3, 8, 8]), tmp_path / "model.onnx")
    model = load_model(tmp_path / "model.onnx")
    for number, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{number}"
    return model


def quality(losses: dict[str, float]) -> Callable[[Any], float]:
    """1 less what each operator loses in int8."""
    return lambda model: (
        1 - sum(losses.get(name, 0.0) for name in nncf_scope.quantized_operators(model))
    )


def test_everything_stays_in_int8_where_nothing_is_lost(network: Any) -> None:
    found = nncf_scope.nncf_scope(network, ITEMS, quality({}), 0.1)
    assert {"Conv_0", "Gemm_4"} <= found
    assert os.environ["NNCF_CI"] == "1", "it reports home else"


def test_the_operator_that_loses_too_much_is_left_out(network: Any) -> None:
    found = nncf_scope.nncf_scope(network, ITEMS, quality({"Gemm_4": 0.5}), 0.1)
    assert "Conv_0" in found
    assert "Gemm_4" not in found


def test_what_the_quality_raises_ends_the_search_of_nncf(network: Any) -> None:
    def late(model: Any) -> float:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        nncf_scope.nncf_scope(network, ITEMS, late, 0.1)

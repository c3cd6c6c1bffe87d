"""What rounding in fp32 moves the outputs of a model by, and what is no rounding."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgebench.preparation.parity_tolerance import fp32_rounding
from edgebench.testing.models import chain


def test_the_same_model_in_another_order_is_off_by_rounding(tmp_path: Path) -> None:
    case = chain(16)
    items = [case.feeds(seed) for seed in range(2)]
    path = str(case.write(tmp_path).path)
    found = fp32_rounding(path, items, [case.reference(feeds) for feeds in items])
    assert found is not None
    assert found < 1e-5


def test_bf16_is_no_rounding_of_fp32(tmp_path: Path) -> None:
    """The distance by which `reduced_precision` tells the two apart."""
    case = chain(16)
    feeds = case.feeds(0)
    narrow = {"x": (feeds["x"].view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)}
    path = str(case.write(tmp_path).path)
    found = fp32_rounding(path, [narrow], [case.reference(feeds)])
    assert found is not None
    assert found > 1e-3


def test_a_model_that_cannot_run_that_way_has_no_known_rounding(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"no model")
    assert fp32_rounding(str(path), [], []) is None

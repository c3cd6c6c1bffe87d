"""The files that a model's weights are in, and a budget of memory that counts them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgebench.measure import launch_worker
from edgebench.models.weight_files import weights_beside
from tests import onnx_models as models


def test_a_budget_counts_weights_of_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages that the preparation left in the page cache would be the row's for nothing."""
    import onnx

    onnx.save(
        models.convolution(),
        str(tmp_path / "m.onnx"),
        save_as_external_data=True,
        location="w",
        size_threshold=0,
    )
    dropped: list[Path] = []
    monkeypatch.setattr(
        launch_worker,
        "drop_from_page_cache",
        lambda model, further: dropped.extend((model, *further)),
    )
    job: Any = SimpleNamespace(
        memory_budget_bytes=1 << 30, model_path=str(tmp_path / "m.onnx"), generate=None
    )
    launch_worker._budget(job)
    assert dropped == [tmp_path / "m.onnx", tmp_path / "w"]


def test_what_is_no_onnx_file_or_cannot_be_read_names_none(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    for name in ("broken.onnx", "gone.onnx", "m.gguf"):
        assert weights_beside(tmp_path / name) == []

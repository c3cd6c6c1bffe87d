"""Outputs are kept and read back as they were, text included; nothing is unpickled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgebench.files.model_outputs import load_outputs, save_outputs
from edgebench.models.output_distance import distances
from edgebench.preparation.input_pool import digest


def test_text_is_read_back_character_by_character(tmp_path: Path) -> None:
    labels = np.array([["setosa", "a\0"], ["\u00e9 ", ""]], dtype=object)
    empty = np.empty((0, 3), dtype=object)
    save_outputs(tmp_path / "kept.npz", [{"label/0": labels, "none": empty}])
    (read,) = load_outputs(tmp_path / "kept.npz", 1)
    assert read["label/0"].tolist() == labels.tolist()
    assert read["none"].shape == (0, 3)


def test_text_differs_by_the_share_of_entries_that_are_not_the_same(tmp_path: Path) -> None:
    save_outputs(tmp_path / "kept.npz", [{"label": np.array(["a", "b", "c", "d"], dtype=object)}])
    want = load_outputs(tmp_path / "kept.npz", 1)
    assert distances([{"label": np.array(["a", "b", "c", "d"], dtype=object)}], want) == {
        "label": 0
    }
    assert distances([{"label": np.array(["a", "b", "c ", "d"], dtype=object)}], want) == {
        "label": 0.25
    }


def test_numbers_keep_their_type_and_only_the_first_items_are_read(tmp_path: Path) -> None:
    items = [{"x": np.full(3, n, np.float16)} for n in range(3)]
    save_outputs(tmp_path / "kept.npz", items)
    read = load_outputs(tmp_path / "kept.npz", 2)
    assert [item["x"].tolist() for item in read] == [[0, 0, 0], [1, 1, 1]]
    assert read[0]["x"].dtype == np.float16


def test_a_pool_of_equal_text_has_one_digest() -> None:
    """Arrays of objects hold addresses, which differ from process to process."""
    first, second = (
        [{"x": np.array(["".join(("a", "b" * n)) for n in range(3)], dtype=object)}]
        for _ in range(2)
    )
    assert digest(first) == digest(second)
    assert digest(first) != digest([{"x": np.array(["a", "b", "c"], dtype=object)}])


def test_types_that_numpy_lacks_are_read_back_with_their_values(tmp_path: Path) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    values = [1.5, -3.0, 1e30]
    half = np.array(values, dtype=ml_dtypes.bfloat16)
    nibbles = np.array([-8, 7], dtype=ml_dtypes.int4)
    save_outputs(tmp_path / "kept.npz", [{"x": half, "n": nibbles}])
    (read,) = load_outputs(tmp_path / "kept.npz", 1)
    assert read["x"].tolist() == half.astype(np.float32).tolist()
    assert read["n"].tolist() == [-8, 7]
    assert set(distances([{"x": half, "n": nibbles}], [read]).values()) == {0}

"""The model on published tables: an excerpt of HELP's latencies (tests/data/help). The whole proof, of 20 draws, is
`python -m tests.perf.predict.published_tables`."""

from __future__ import annotations

from statistics import fmean

import numpy as np
import pytest

from tests.perf.predict.published_tables import CELLS, KNOWN, UNSEEN, excerpt, proof


def test_excerpt_holds_every_device_and_cell() -> None:
    kinds, latencies = excerpt()
    assert kinds.shape == (CELLS, 6)
    assert set(latencies) == {*KNOWN, *UNSEEN}
    assert all(np.isfinite(values).all() for values in latencies.values())


@pytest.mark.slow
def test_unseen_devices_are_ordered_and_bounded_from_ten_cells() -> None:
    pytest.importorskip("scipy")
    found = [figures for _, figures in proof(*excerpt(), draws=3)]
    assert fmean(each.spearman for each in found) >= 0.91
    assert fmean(each.mape for each in found) <= 0.08
    assert 0.85 <= fmean(each.covered for each in found) <= 0.97

"""OpenVINO GenAI, where it is installed: what its session says of the weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgebench import registry
from edgebench.generation import Room
from edgebench.testing.decoders import write_decoder

pytest.importorskip("gguf")
pytest.importorskip("openvino_genai")


@pytest.mark.parametrize(("weights", "rounded"), [("Q4_0", False), ("Q4_1", True)])
def test_offsets_are_said_to_be_rounded_where_there_are_any(
    tmp_path: Path, weights: str, rounded: bool
) -> None:
    """Blocks of Q4_0 have none: they are read as they are."""
    backend = registry.load("openvino_genai")
    backend.import_runtime()
    model = write_decoder(tmp_path / "tiny.gguf", weights=weights)
    converted = backend.convert(model, {}, tmp_path / "cache")
    session = backend.open_generation(converted, {}, Room(1, 48))
    facts = session.effective()
    session.close()
    assert facts.precision == "w4"
    assert any("rounds the offsets" in note for note in facts.notes) is rounded


def test_scores_of_a_text_are_of_the_type_of_the_cache(tmp_path: Path) -> None:
    """Read in one call, a text's own keys never were in the cache: perplexity was the same for every type."""
    backend = registry.load("openvino_genai")
    backend.import_runtime()
    model = backend.convert(write_decoder(tmp_path / "tiny.gguf"), {}, tmp_path / "cache")
    text = list(range(1, 41))
    scores = {}
    for kv_cache in ("fp32", "u8"):
        session = backend.open_generation(model, {"kv_cache": kv_cache}, Room(1, 48))
        scores[kv_cache] = session.score(text)
        session.close()
    assert scores["fp32"].shape == scores["u8"].shape == (40, session.vocabulary)
    assert np.array_equal(scores["fp32"][0].argmax(), scores["u8"][0].argmax())
    assert not np.allclose(scores["fp32"][1:], scores["u8"][1:], rtol=1e-6, atol=1e-6)

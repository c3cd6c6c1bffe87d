"""OpenVINO GenAI, where it is installed: what its session says of the weights."""

from __future__ import annotations

from pathlib import Path

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

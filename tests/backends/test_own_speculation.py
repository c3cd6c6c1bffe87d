"""Runtimes' own speculation, where they are installed: the answer is the decoder's own, and counts belong together."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from edgebench import registry
from edgebench.backend import Backend, ModelFile
from edgebench.errors import UnsupportedError
from edgebench.generation import Drafting, Room
from edgebench.testing.decoders import write_decoder

pytest.importorskip("gguf")

_PROMPT = [5, 6, 7, 8, 9, 5, 6, 7, 8, 9, 5, 6, 7]
_MOST = 20
_ROOM = Room(1, 48)
_RUNTIMES = {
    "openvino_genai": ("openvino_genai", "as-is"),
    "ort_genai": ("onnxruntime_genai", "fp32"),
}


@pytest.fixture(params=sorted(_RUNTIMES))
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Backend, ModelFile]:
    module, precision = _RUNTIMES[request.param]
    pytest.importorskip(module)
    if request.param == "ort_genai":
        pytest.importorskip("torch")
    backend = registry.load(request.param)
    backend.import_runtime()
    model = write_decoder(tmp_path / "tiny.gguf", weights="Q4_0")
    return backend, backend.convert(
        ModelFile(model.path, model.format, model.sha256, precision, 1), {}, tmp_path / "cache"
    )


@pytest.mark.parametrize("kind", ["lookup", "draft"])
def test_the_answer_is_the_decoders_own(opened: tuple[Backend, ModelFile], kind: str) -> None:
    backend, model = opened
    drafting = Drafting(4, lookup=3) if kind == "lookup" else Drafting(4, draft=model)
    own = backend.open_speculation(model, {}, _ROOM, drafting)
    plain = backend.open_generation(model, {}, _ROOM)
    expected = [token for [token] in plain.stream([_PROMPT], most=_MOST)]
    for _ in range(2):  # nothing of a request reaches the next
        assert list(own.stream(_PROMPT, _MOST)) == expected
        counts = own.counts
        assert counts.steps + counts.accepted == _MOST
        assert counts.drafted is None or counts.accepted <= counts.drafted
    stopped = own.stream(_PROMPT, _MOST)
    assert isinstance(stopped, Generator)
    assert next(stopped) == expected[0]
    stopped.close()  # a consumer may stop early
    assert list(own.stream(_PROMPT, 1)) == expected[:1]
    plain.close()
    own.close()


def test_more_than_the_options_hold_is_unsupported(opened: tuple[Backend, ModelFile]) -> None:
    backend, model = opened
    if backend.name != "ort_genai":
        pytest.skip("it has no such limit")
    with pytest.raises(UnsupportedError, match="at most 16"):
        backend.open_speculation(model, {}, _ROOM, Drafting(17, lookup=3))

"""llama.cpp, where it is installed, on small decoders: what its session sets, tells and answers."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebench import registry
from edgebench.backend import ModelFile, Scalar
from edgebench.errors import UnsupportedError
from edgebench.generation import GenerationSession, Room
from edgebench.measure.replicate.kept_prefix import KeptPrefix
from edgebench.measure.replicate.speculation import (
    Drafter,
    ModelDraft,
    PromptLookup,
    Speculative,
)
from edgebench.models.llm.gguf_file import GgufFile
from edgebench.models.llm.reference_decoder import ReferenceDecoder
from edgebench.models.llm.tokenizer import vocabulary_of
from edgebench.testing.decoders import Architecture, write_decoder

pytest.importorskip("gguf")
runtime = pytest.importorskip("llama_cpp.llama_cpp")

DEFINED = ("\n\n", "<think>", "</think>", "\u00e0 la", "na\u00efve", "\u65e5")
Open = Callable[[ModelFile], GenerationSession]


@pytest.fixture
def opened() -> Iterator[Open]:
    backend = registry.load("llama_cpp")
    backend.import_runtime()
    sessions: list[GenerationSession] = []

    def open_(model: ModelFile) -> GenerationSession:
        sessions.append(backend.open_generation(model, {"threads": 1}, Room(1, 48)))
        return sessions[-1]

    yield open_
    for session in sessions:
        session.close()


@pytest.mark.parametrize("architecture", ["qwen3", "gemma"])
@pytest.mark.parametrize("size", [16, 32])
def test_the_cache_has_the_size_of_its_heads(
    tmp_path: Path, opened: Open, architecture: Architecture, size: int
) -> None:
    """Heads may be wider than their share of the width, which is 16."""
    session = opened(write_decoder(tmp_path / "tiny.gguf", architecture, head_size=size))
    room = session.effective().options["positions"]
    assert isinstance(room, int)
    # layers x (key and value) x kv heads x positions x fp16
    assert session.kv_cache_bytes() == 2 * 2 * 2 * size * room * 2


@pytest.mark.parametrize(
    ("weights", "precision"),
    [("Q4_1", "q4_1"), ("Q4_K", "q4_k"), ("Q8_0", "q8_0"), ("F32", "fp32"), ("F16", "fp16")],
)
def test_the_precision_is_the_type_of_the_file(
    tmp_path: Path, opened: Open, weights: str, precision: str
) -> None:
    """llama.cpp describes Q4_K_M as "Q4_K - Medium"."""
    model = write_decoder(tmp_path / "tiny.gguf", weights=weights, width=256, hidden=256)
    assert opened(model).effective().precision == precision


@pytest.mark.parametrize(
    "facts",
    [
        {"rope.scale_linear": 4.0},
        {"rope.scaling.factor": 4.0},
        {"rope.scaling.type": "none", "rope.scaling.factor": 4.0},
    ],
)
def test_positions_are_scaled_as_in_the_reference(
    tmp_path: Path, opened: Open, facts: dict[str, str | float]
) -> None:
    """Fp32 weights: what is left is the cache in half precision. Unscaled, the error is above 0.1."""
    model = write_decoder(tmp_path / "tiny.gguf", weights="F32", facts=facts)
    prompt = [5, 44, 101, 7, 260, 19, 77, 132, 9]
    session = opened(model)
    found = session.logits(session.prefill([prompt]))[0]
    want = ReferenceDecoder(GgufFile(model.path)).feed(prompt)[-1]
    assert np.linalg.norm(found - want) / np.linalg.norm(want) < 0.03


@pytest.mark.parametrize(
    "text",
    [
        "7\n\nHope that helps",
        "<|im_start|>the<think>in\n\n\n</think> an",
        "a  b\n",
        "an \u00e0 la na\u00efve\u65e5 caf\u00e9",
    ],
)
def test_user_defined_tokens_are_read_and_written_alike(tmp_path: Path, text: str) -> None:
    import llama_cpp

    path = write_decoder(tmp_path / "tiny.gguf", defined=DEFINED).path
    theirs, ours = llama_cpp.Llama(str(path), vocab_only=True, verbose=False), vocabulary_of(path)
    tokens = theirs.tokenize(text.encode(), add_bos=False, special=True)
    assert ours.encode(text) == tokens
    assert ours.decode(tokens) == theirs.detokenize(tokens).decode()


@pytest.mark.parametrize("weights", ["Q4_0", "F32"])
def test_weights_that_were_not_laid_out_anew_are_not_said_to_be(
    tmp_path: Path, weights: str
) -> None:
    """Which types of weights are, depends on the processor: fp32 never is."""
    backend = registry.load("llama_cpp")
    model = write_decoder(tmp_path / "tiny.gguf", weights=weights, width=256, hidden=256)

    def repacked(options: dict[str, Scalar]) -> object:
        session = backend.open_generation(model, options, Room(1, 48))
        found = session.effective().options["repack"]
        session.close()
        return found

    assert repacked({"repack": False}) is False
    if repacked({}):
        assert weights != "F32"
        assert repacked({"repack": True}) is True
        return
    with pytest.raises(UnsupportedError, match="lays out no weights"):
        repacked({"repack": True})


def test_a_file_that_cannot_be_loaded_says_why(tmp_path: Path, opened: Open) -> None:
    with pytest.raises(UnsupportedError, match="wrong number of tensors; expected 21, got 20"):
        opened(write_decoder(tmp_path / "tiny.gguf", extra=("x.weight",)))


def test_no_device_but_the_cpu_is_offered(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build with Metal or CUDA would give the products of a long prompt to the GPU."""
    load, lists = runtime.llama_model_load_from_file, []

    def watched(path: bytes, settings: Any) -> Any:
        lists.append(ctypes.cast(settings.devices, ctypes.POINTER(ctypes.c_void_p)))
        assert lists[-1], "no list: all devices there are"
        assert lists[-1][0] is None, "a list that is not empty"
        return load(path, settings)

    monkeypatch.setattr(runtime, "llama_model_load_from_file", watched)
    session = opened(write_decoder(tmp_path / "tiny.gguf"))
    assert len(lists) == 1
    assert np.isfinite(session.logits(session.prefill([[5, 9, 100, 7]]))).all()


PHRASE = [5, 44, 101, 7, 260]


@pytest.mark.parametrize("kind", ["lookup", "draft", "another draft"])
def test_drafts_leave_the_answer_as_it_is(tmp_path: Path, opened: Open, kind: str) -> None:
    """Whatever is drafted; the rejected tokens are forgotten (`llama_memory_seq_rm`)."""
    model = write_decoder(tmp_path / "tiny.gguf", weights="F32")
    drafters: dict[str, Callable[[], Drafter]] = {
        "lookup": lambda: PromptLookup(3),
        "draft": lambda: ModelDraft(opened(model)),
        "another draft": lambda: ModelDraft(
            opened(write_decoder(tmp_path / "small.gguf", weights="F32", layers=1))
        ),
    }
    plain = opened(model)
    expected = list(plain.stream([PHRASE * 3], most=20))
    session = Speculative(opened(model), drafters[kind](), 4)
    for _ in range(2):  # nothing of a request reaches the next
        assert list(session.stream([PHRASE * 3], most=20)) == expected
        counted = session.last
        assert counted.steps + counted.accepted == 20
        assert counted.drafted is not None
        assert counted.accepted <= counted.drafted
        if kind == "draft":
            assert counted.accepted == counted.drafted > 0
    held = plain.kv_cache_bytes()
    assert held is not None
    assert plain.kv_used_bytes() == held * (15 + 19) // _room(plain)


def test_kept_turns_answer_as_those_read_anew(tmp_path: Path, opened: Open) -> None:
    model = write_decoder(tmp_path / "tiny.gguf", weights="F32")
    kept, anew = KeptPrefix(opened(model)), opened(model)
    for text in (PHRASE, [*PHRASE, 9, 12, 77], [*PHRASE, 9, 13], [3, 4]):
        assert list(kept.stream([text], most=6)) == list(anew.stream([text], most=6))
    assert kept.kept == 0, "nothing in common"


def _room(session: GenerationSession) -> int:
    room = session.effective().options["positions"]
    assert isinstance(room, int)
    return room

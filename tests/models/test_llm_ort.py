"""Decoders on ONNX Runtime against the reference in numpy: our graphs, and a user's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebench import registry
from edgebench.assets import file_sha256
from edgebench.backend import ModelFile, Scalar
from edgebench.errors import UnsupportedError
from edgebench.generation import GenerationSession, Room
from edgebench.models.llm.gguf_file import GgufFile
from edgebench.models.llm.onnx_standard import write_standard_decoder
from edgebench.models.llm.reference_decoder import ReferenceDecoder
from edgebench.models.llm.tokenizer import gguf_vocabulary
from edgebench.preparation.preparation_messages import PrepareJob
from edgebench.preparation.prepare import prepare
from edgebench.testing.decoders import Architecture, write_decoder

pytest.importorskip("gguf")

PROMPT, MORE = [5, 44, 101, 7, 260, 19, 77, 132, 9], [12, 200, 31]
#: Largest relative error of logits, by precision: fp16 rounds, int8 quantises weights and inputs anew.
LIMITS = {"as-is": 1e-5, "fp32": 1e-5, "fp16": 1e-2, "w8": 0.02, "int8-dynamic": 0.15}


def opened(
    model: ModelFile, folder: Path, options: Mapping[str, Scalar] | None = None, width: int = 1
) -> GenerationSession:
    backend = registry.load("ort")
    backend.import_runtime()
    given = {"threads": 1, **(options or {})}
    if backend.converts(model, given):
        model = backend.convert(model, given, folder / "converted")
    return backend.open_generation(model, given, Room(width, 32))


def answers(session: GenerationSession) -> Any:
    """Logits after the prompt and after each of some steps."""
    rows = [session.logits(session.prefill([PROMPT]))]
    rows += [session.logits(session.step([token])) for token in MORE]
    return np.concatenate(rows)


def expected(path: Path) -> Any:
    return ReferenceDecoder(GgufFile(path)).feed([*PROMPT, *MORE])[len(PROMPT) - 1 :]


def error(found: Any, want: Any) -> float:
    return float(np.linalg.norm(found - want) / np.linalg.norm(want))


@pytest.mark.parametrize("precision", LIMITS)
@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3", "gemma"])
def test_logits_are_those_of_the_reference(
    tmp_path: Path, architecture: Architecture, precision: str
) -> None:
    model = write_decoder(tmp_path / "tiny.gguf", architecture)
    session = opened(replace(model, precision=precision), tmp_path)
    assert error(answers(session), expected(model.path)) < LIMITS[precision]
    session.close()


@pytest.mark.parametrize("graph", ["contrib", "standard"])
@pytest.mark.parametrize("architecture", ["llama", "qwen3"])
def test_heads_may_be_wider_than_their_share(
    tmp_path: Path, architecture: Architecture, graph: str
) -> None:
    """Qwen3's heads together are wider than what goes into them."""
    model = write_decoder(tmp_path / "tiny.gguf", architecture, head_size=32)
    session = opened(replace(model, precision="fp32"), tmp_path, {"graph": graph})
    assert error(answers(session), expected(model.path)) < 1e-5


@pytest.mark.parametrize("weights", ["Q4_0", "Q4_1", "Q5_1", "Q8_0", "Q4_K", "Q6_K", "F32"])
@pytest.mark.parametrize("tied", [True, False])
def test_blocks_of_each_kind_are_multiplied_as_they_are(
    tmp_path: Path, weights: str, tied: bool
) -> None:
    model = write_decoder(
        tmp_path / "tiny.gguf", weights=weights, tied=tied, width=256, hidden=256, layers=1
    )
    for level, limit in ((0, 1e-5), (4, 0.05)):
        session = opened(model, tmp_path, {"accuracy_level": level})
        assert error(answers(session), expected(model.path)) < limit
        facts = session.effective()
        assert facts.options["accuracy_level"] == level
        if weights.startswith("Q4"):
            assert facts.compute_nodes is not None
            assert facts.compute_nodes["int4"] >= 4
        session.close()


def test_integers_take_inputs_in_integers(tmp_path: Path) -> None:
    """accuracy_level 4 has an effect: it is not the exact way under another name."""
    model = write_decoder(tmp_path / "tiny.gguf")
    exact, quick = (answers(opened(model, tmp_path, {"accuracy_level": level})) for level in (0, 4))
    assert error(quick, exact) > 1e-4


def test_an_accuracy_level_without_blocks_is_refused(tmp_path: Path) -> None:
    model = replace(write_decoder(tmp_path / "tiny.gguf"), precision="fp32")
    with pytest.raises(UnsupportedError, match="accuracy_level"):
        opened(model, tmp_path, {"accuracy_level": 4})


def test_an_accuracy_level_has_no_effect_on_a_file_of_plain_floats(tmp_path: Path) -> None:
    model = write_decoder(tmp_path / "tiny.gguf", weights="F16", ends="F16")
    with pytest.raises(UnsupportedError, match="accuracy_level has no effect on as-is of tiny"):
        opened(model, tmp_path, {"accuracy_level": 4})
    assert opened(model, tmp_path).effective().options["accuracy_level"] is None


def test_rows_that_fill_no_blocks_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    model = write_decoder(path, weights="F16", ends="F16", width=40, head_size=16, hidden=100)
    with pytest.raises(UnsupportedError, match="do not fit into blocks of 32"):
        opened(replace(model, precision="w8"), tmp_path)


def test_unknown_blocks_are_refused_as_they_are_and_run_in_fp32(tmp_path: Path) -> None:
    model = write_decoder(tmp_path / "tiny.gguf", weights="TQ2_0", width=256, hidden=256)
    with pytest.raises(UnsupportedError, match="TQ2_0"):
        opened(model, tmp_path)
    session = opened(replace(model, precision="fp32"), tmp_path)
    assert error(answers(session), expected(model.path)) < 1e-5


def test_the_cache_has_the_size_of_its_room(tmp_path: Path) -> None:
    session = opened(write_decoder(tmp_path / "tiny.gguf"), tmp_path, width=2)
    # layers x (key, value) x width x kv heads x positions x head size x float32
    assert session.kv_cache_bytes() == 2 * 2 * 2 * 2 * 32 * 16 * 4
    assert session.effective().options["kv_cache"] == "fp32"


def test_more_room_than_the_model_was_trained_for_is_refused(tmp_path: Path) -> None:
    model = write_decoder(tmp_path / "tiny.gguf", context_length=16)
    with pytest.raises(UnsupportedError, match="16"):
        opened(model, tmp_path)


def test_a_converted_decoder_is_kept_and_never_half_written(tmp_path: Path) -> None:
    model = write_decoder(tmp_path / "tiny.gguf")
    backend = registry.load("ort")
    first = backend.convert(model, {}, tmp_path / "cache")
    stamp = first.path.stat().st_mtime_ns
    assert backend.convert(model, {}, tmp_path / "cache") == first
    assert first.path.stat().st_mtime_ns == stamp
    assert sorted(path.suffix for path in first.path.parent.iterdir()) == [".data", ".onnx"]


def test_one_session_leaves_threads_as_asked(tmp_path: Path) -> None:
    session = opened(write_decoder(tmp_path / "tiny.gguf"), tmp_path, {"threads": 2})
    assert session.effective().threads == 2


# --- a user's own ONNX file


def own_decoder(folder: Path) -> ModelFile:
    """As an exporter writes it: nothing in it says who made it."""
    import onnx

    path = folder / "own.onnx"
    write_standard_decoder(GgufFile(write_decoder(folder / "tiny.gguf").path), path, "fp32")
    model = onnx.load(str(path))
    del model.metadata_props[:]
    onnx.save(model, str(path))
    return ModelFile(path, "onnx", "0" * 64)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "w8", "int8-dynamic"])
def test_an_own_graph_has_its_own_precision(tmp_path: Path, precision: str) -> None:
    path = own_decoder(tmp_path).path
    job = PrepareJob(
        task="generate",
        source=str(path),
        source_sha256="0" * 64,
        precision=precision,
        cache=str(tmp_path),
        generates=True,
    )
    with pytest.raises(UnsupportedError, match="used unchanged") as refused:
        prepare(job)
    assert refused.value.fix == "--set precision=as-is"


def test_an_own_graph_is_its_weights_and_tokens_too(tmp_path: Path) -> None:
    """Other weights beside the same graph, or another template, have another reference."""
    gguf, path = GgufFile(write_decoder(tmp_path / "tiny.gguf").path), tmp_path / "own.onnx"
    write_standard_decoder(gguf, path, "fp32")
    gguf_vocabulary(gguf.metadata).save(tmp_path / "tokenizer.json")
    job = PrepareJob(
        task="generate",
        source=str(path),
        source_sha256=file_sha256(path),
        cache=str(tmp_path / "cache"),
        generates=True,
    )
    first = prepare(job)
    weights = path.with_suffix(".data")
    assert first.size_bytes == path.stat().st_size + weights.stat().st_size
    assert prepare(job).reference == first.reference
    settings = {"chat_template": "{{ messages[0]['content'] }}"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    other_tokens = prepare(job)
    assert other_tokens.reference != first.reference
    assert other_tokens.sha256 == first.sha256
    np.flip(np.fromfile(weights, np.float32)).tofile(weights)
    other_weights = prepare(job)
    assert other_weights.reference != other_tokens.reference
    assert other_weights.sha256 != first.sha256


@pytest.mark.parametrize(
    "option", [{"accuracy_level": 0}, {"accuracy_level": 4}, {"graph": "standard"}]
)
def test_options_of_graphs_made_here_are_refused_for_an_own_one(
    tmp_path: Path, option: dict[str, Scalar]
) -> None:
    model = own_decoder(tmp_path)
    with pytest.raises(UnsupportedError, match=f"{next(iter(option))}=.* has no effect"):
        opened(model, tmp_path, option)
    assert opened(model, tmp_path).effective().options["graph"] is None


def test_a_graph_made_here_is_held_to_what_it_was_made_with(tmp_path: Path) -> None:
    """A converted file of the cache, opened again as an ONNX file."""
    options = {"accuracy_level": 4}
    gguf = write_decoder(tmp_path / "tiny.gguf")
    model = registry.load("ort").convert(gguf, options, tmp_path / "converted")
    opened(model, tmp_path, options)
    for other in ({"accuracy_level": 0}, {"graph": "standard"}):
        with pytest.raises(UnsupportedError, match="has no effect"):
            opened(model, tmp_path, other)


# --- standard operators alone


@pytest.mark.parametrize(("precision", "limit"), [("fp32", 1e-5), ("fp16", 1e-2)])
@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3", "gemma"])
def test_a_graph_of_standard_operators_gives_the_same(
    tmp_path: Path, architecture: Architecture, precision: str, limit: float
) -> None:
    model = write_decoder(tmp_path / "tiny.gguf", architecture)
    session = opened(replace(model, precision=precision), tmp_path, {"graph": "standard"})
    assert session.effective().options["graph"] == "standard"
    assert error(answers(session), expected(model.path)) < limit


def test_standard_graph_is_valid_onnx_with_standard_operators(tmp_path: Path) -> None:
    import onnx

    path = tmp_path / "standard.onnx"
    write_standard_decoder(GgufFile(write_decoder(tmp_path / "tiny.gguf").path), path, "fp16")
    onnx.checker.check_model(str(path), full_check=True)
    model = onnx.load(str(path))
    assert {node.domain for node in model.graph.node} == {""}
    assert [opset.domain for opset in model.opset_import] == [""]
    wide = [tensor.name for tensor in model.graph.initializer if tensor.data_type == 1]
    assert all("norm" in name or name.startswith("f_") for name in wide), "weights are fp16"


def test_sequences_of_a_standard_graph_stand_side_by_side(tmp_path: Path) -> None:
    model = replace(write_decoder(tmp_path / "tiny.gguf"), precision="fp32")
    alone = opened(model, tmp_path, {"graph": "standard"})
    both = opened(model, tmp_path, {"graph": "standard"}, width=2)
    found = both.logits(both.prefill([PROMPT, PROMPT[::-1]]))
    np.testing.assert_allclose(found[0], alone.logits(alone.prefill([PROMPT]))[0], atol=1e-4)
    np.testing.assert_allclose(found[1], alone.logits(alone.prefill([PROMPT[::-1]]))[0], atol=1e-4)


def test_blocks_have_no_standard_operators(tmp_path: Path) -> None:
    model = write_decoder(tmp_path / "tiny.gguf")
    with pytest.raises(UnsupportedError, match="as-is"):
        opened(model, tmp_path, {"graph": "standard"})

"""GGUF files: architecture, blocks, tokens, templates; what is not known is refused by its name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgebench.errors import EdgebenchError, UnsupportedError
from edgebench.models.llm.gguf_file import GgufFile
from edgebench.models.llm.hf_folder import write_folder
from edgebench.models.llm.reference_decoder import ReferenceDecoder
from edgebench.models.llm.tokenizer import (
    Vocabulary,
    files_beside,
    folder_vocabulary,
    gguf_vocabulary,
    vocabulary_of,
)
from edgebench.testing.decoders import TEMPLATE, vocabulary, write_decoder

gguf = pytest.importorskip("gguf")


def written(folder: Path, *arguments: str, **changes: object) -> GgufFile:
    return GgufFile(write_decoder(folder / "tiny.gguf", *arguments, **changes).path)  # type: ignore[arg-type]


def test_an_architecture_is_told_by_the_metadata(tmp_path: Path) -> None:
    decoder = written(tmp_path, "llama", heads=4, kv_heads=2, width=64, layers=3).decoder
    assert (decoder.layers, decoder.heads, decoder.kv_heads, decoder.head_size) == (3, 4, 2, 16)
    assert (decoder.width, decoder.hidden, decoder.vocabulary) == (64, 96, len(vocabulary()))
    assert (decoder.tied, decoder.interleaved_rope, decoder.qkv_bias) == (True, True, False)


def test_families_differ(tmp_path: Path) -> None:
    qwen2 = written(tmp_path, "qwen2").decoder
    assert (qwen2.interleaved_rope, qwen2.qkv_bias, qwen2.qk_norm) == (False, True, False)
    assert written(tmp_path, "qwen3").decoder.qk_norm
    gemma = written(tmp_path, "gemma").decoder
    assert (gemma.activation, gemma.embedding_scale) == ("gelu", 8.0)


@pytest.mark.parametrize(
    ("facts", "scale"),
    [
        ({}, 1.0),
        ({"rope.scale_linear": 4.0}, 0.25),
        ({"rope.scaling.factor": 2.0}, 0.5),
        ({"rope.scaling.factor": 2.0, "rope.scale_linear": 4.0}, 0.5),
        ({"rope.scaling.type": "linear", "rope.scale_linear": 4.0}, 0.25),
        ({"rope.scaling.type": "linear", "rope.scaling.factor": 0.0}, 1.0),
        ({"rope.scaling.type": "none", "rope.scaling.factor": 2.0}, 1.0),
    ],
)
def test_positions_are_scaled_as_llama_cpp_reads_the_file(
    tmp_path: Path, facts: dict[str, str | float], scale: float
) -> None:
    """tests/backends/test_llama_cpp.py holds the answers of such files against llama.cpp's."""
    assert written(tmp_path, facts=facts).decoder.rope_scale == scale


@pytest.mark.parametrize("changes", [{"facts": {"rope.scale_linear": 4.0}}, {"turned": 8}])
def test_positions_are_not_lost_on_the_way_to_another_form(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    pytest.importorskip("safetensors")
    with pytest.raises(UnsupportedError, match="scaled positions, and those of a part"):
        write_folder(written(tmp_path, **changes), tmp_path)


def test_another_scaling_of_positions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="'yarn'"):
        _ = written(tmp_path, facts={"rope.scaling.type": "yarn"}).decoder


def test_a_factor_on_what_is_turned_is_refused(tmp_path: Path) -> None:
    """llama.cpp multiplies cosines and sines by it, whatever the kind of scaling."""
    with pytest.raises(UnsupportedError, match="attn_factor"):
        _ = written(tmp_path, facts={"rope.scaling.attn_factor": 1.5}).decoder
    assert written(tmp_path, facts={"rope.scaling.attn_factor": 1.0}).decoder.rope_scale == 1


def test_another_architecture_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="'mamba'"):
        _ = written(tmp_path, "mamba").decoder


def test_a_tensor_that_nothing_would_use_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"post_attention_norm\.weight"):
        _ = written(tmp_path, extra=("blk.0.post_attention_norm.weight",)).decoder


@pytest.mark.parametrize("content", [b"", b"no gguf at all", b"GGUF" + b"\xff" * 40])
def test_a_file_that_is_not_gguf_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(content)
    with pytest.raises(EdgebenchError, match=r"broken\.gguf"):
        GgufFile(path)


def test_a_file_that_ends_too_early_is_refused(tmp_path: Path) -> None:
    path = write_decoder(tmp_path / "tiny.gguf").path
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(EdgebenchError, match=r"tiny\.gguf is damaged: it ends before"):
        _ = GgufFile(path).tensors


def test_a_number_of_layers_beyond_reason_is_refused_at_once(tmp_path: Path) -> None:
    file = written(tmp_path)
    file.metadata = {**file.metadata, "llama.block_count": 1 << 16}
    with pytest.raises(EdgebenchError, match="declares 65536 layers but has 20 tensors"):
        _ = file.decoder


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"])
def test_blocks_hold_the_same_values(tmp_path: Path, kind: str) -> None:
    tensor = written(tmp_path, weights=kind, width=256, hidden=256).tensor("blk.1.ffn_up.weight")
    blocks = tensor.blocks()
    assert blocks is not None
    assert blocks.numbers.max() < 2**blocks.bits
    np.testing.assert_allclose(blocks.values(), tensor.values(), rtol=0, atol=1e-6)
    if blocks.zero is not None:
        np.testing.assert_array_equal(blocks.offset, -blocks.zero * blocks.scale)


def test_blocks_of_another_kind_are_refused_and_their_values_read(tmp_path: Path) -> None:
    tensor = written(tmp_path, weights="TQ2_0", width=256, hidden=256).tensor("blk.0.attn_q.weight")
    with pytest.raises(UnsupportedError, match="TQ2_0"):
        tensor.blocks()
    assert tensor.values().shape == (256, 256)


def test_the_reference_feeds_at_once_and_step_by_step_alike(tmp_path: Path) -> None:
    reference = ReferenceDecoder(written(tmp_path))
    tokens = [5, 9, 100, 7, 30]
    whole = reference.feed(tokens)
    reference.reset()
    each = np.concatenate([reference.feed([token]) for token in tokens])
    np.testing.assert_allclose(each, whole, rtol=2e-4, atol=2e-5)
    assert reference.used == len(tokens)


# --- tokens


@pytest.fixture
def words(tmp_path: Path) -> Vocabulary:
    return gguf_vocabulary(written(tmp_path).metadata)


@pytest.mark.parametrize(
    "text",
    ["hello the thing", " in  the\n\nworld", "1234 + 5", "z\u00fcrich \u00b7 \U0001f600", ""],
)
def test_text_comes_back(words: Vocabulary, text: str) -> None:
    assert words.decode(words.encode(text)) == text


def test_merges_are_used(words: Vocabulary) -> None:
    assert [words.text_of(token) for token in words.encode(" the")] == ["\u0120the"]


def test_digits_stand_alone_as_the_split_says(words: Vocabulary) -> None:
    assert [words.text_of(token) for token in words.encode("12")] == ["1", "2"]


def test_the_chat_template_of_the_file_is_filled(words: Vocabulary) -> None:
    tokens = words.chat([{"role": "user", "content": "in"}])
    texts = [words.text_of(token) for token in tokens]
    assert texts[0] == "<|im_start|>"
    assert texts.count("<|im_start|>") == 2
    assert words.decode(tokens) == "user\nin\nassistant\n"


def test_the_end_of_a_turn_ends_an_answer(words: Vocabulary) -> None:
    assert {words.text_of(token) for token in words.ends} == {"<|im_end|>", "<|endoftext|>"}


def metadata(**changes: object) -> dict[str, object]:
    plain: dict[str, object] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": vocabulary(),
        "tokenizer.ggml.token_type": [3, 3, 3] + [1] * (len(vocabulary()) - 3),
        "tokenizer.ggml.merges": ["i n"],
        "tokenizer.chat_template": TEMPLATE,
    }
    return plain | {f"tokenizer.{key}": value for key, value in changes.items()}


@pytest.mark.parametrize(
    ("change", "named"),
    [({"ggml.model": "bert"}, "'bert'"), ({"ggml.pre": "falcon"}, "'falcon'")],
)
def test_another_tokenizer_is_refused_by_its_name(change: dict[str, object], named: str) -> None:
    with pytest.raises(UnsupportedError, match=named):
        gguf_vocabulary(metadata(**change))


def test_a_file_that_does_not_say_how_text_is_split_is_refused() -> None:
    """llama.cpp splits by a default of its own there, and warns that answers may suffer."""
    with pytest.raises(UnsupportedError, match="'default'"):
        gguf_vocabulary({k: v for k, v in metadata().items() if k != "tokenizer.ggml.pre"})


@pytest.mark.parametrize("missing", ["tokens", "merges"])
def test_a_file_without_its_words_says_so(missing: str) -> None:
    left = {k: v for k, v in metadata().items() if k != f"tokenizer.ggml.{missing}"}
    with pytest.raises(EdgebenchError, match=f"does not state tokenizer.ggml.{missing}"):
        gguf_vocabulary(left)


def test_merges_of_what_is_no_token_are_damage() -> None:
    with pytest.raises(EdgebenchError, match="tokenizer is damaged"):
        gguf_vocabulary(metadata(**{"ggml.merges": ["i n", "\u65e5 i"]}))


def test_a_template_runs_in_a_sandbox() -> None:
    hostile = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
    with pytest.raises(EdgebenchError, match="chat template"):
        gguf_vocabulary(metadata(chat_template=hostile)).chat([{"role": "user", "content": "x"}])


def test_a_template_may_refuse_a_conversation() -> None:
    refusing = "{{ raise_exception('no system prompt') }}"
    with pytest.raises(EdgebenchError, match="no system prompt"):
        gguf_vocabulary(metadata(chat_template=refusing)).chat([{"role": "system", "content": "x"}])


def beside(folder: Path, words: Vocabulary) -> None:
    """What exporters leave beside a model, of the same tokenizer."""
    words._inner.save(str(folder / "tokenizer.json"))
    settings = {"chat_template": TEMPLATE, "bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def test_files_beside_a_model_say_the_same(tmp_path: Path, words: Vocabulary) -> None:
    beside(tmp_path, words)
    other = folder_vocabulary(tmp_path)
    messages = [{"role": "user", "content": "hello the thing 12"}]
    assert other.chat(messages) == words.chat(messages)
    assert other.ends == words.ends
    assert len(other) == len(words)


@pytest.mark.parametrize(("said", "start"), [({}, [1]), ({"add_bos_token": False}, [])])
def test_a_text_begins_as_the_files_beside_a_model_say(
    tmp_path: Path, words: Vocabulary, said: dict[str, object], start: list[int]
) -> None:
    """The tokenizer's post-processor, which `encode` leaves out; tokenizer_config.json has the last word."""
    from tokenizers import Tokenizer, processors

    beside(tmp_path, words)
    path, settings = tmp_path / "tokenizer.json", tmp_path / "tokenizer_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | said))
    inner = Tokenizer.from_file(str(path))
    inner.post_processor = processors.TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)]
    )
    assert folder_vocabulary(tmp_path).start == []
    inner.save(str(path))
    assert folder_vocabulary(tmp_path).start == start


def test_a_model_without_its_tokenizer_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EdgebenchError, match=r"tokenizer\.json") as raised:
        folder_vocabulary(tmp_path)
    assert "beside the model" in raised.value.fix


def test_user_defined_tokens_are_text(tmp_path: Path) -> None:
    """Gemma's line breaks and Qwen3's <think> are such; what ends a turn is none, whatever its kind."""
    defined = ("\n\n", "<think>", "<end_of_turn>", "na\u00efve")
    words = gguf_vocabulary(written(tmp_path, defined=defined).metadata)
    tokens = words.encode("<|im_start|>7\n\nthe<think><end_of_turn>")
    assert [words.text_of(token) for token in tokens] == [
        *("<|im_start|>", "7", "\n\n", "the", "<think>", "<end_of_turn>")
    ]
    assert words.decode(tokens) == "7\n\nthe<think>"
    for text in ("in na\u00efve an", "caf\u00e9 na\u00efvena\u00efve", "\u00ef"):
        assert words.decode(words.encode(text)) == text


# --- SentencePiece's byte pairs


def pieces(**changes: object) -> Vocabulary:
    letters = ["a", "b", "c", "\u2581"]
    words = {"ab": -2.0, "bc": -1.0, "cc": -3.0, "\u2581a": -4.0, "<turn>": 0.0}
    byte_tokens = [f"<0x{value:02X}>" for value in range(256)]
    tokens = ["<unk>", "<s>", "</s>", *byte_tokens, *letters, *words]
    plain = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [0.0] * 259 + [-9.0] * 4 + list(words.values()),
        "tokenizer.ggml.token_type": [2, 3, 3] + [6] * 256 + [1] * 8 + [4],
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    }
    return gguf_vocabulary(
        plain | {f"tokenizer.ggml.{key}": value for key, value in changes.items()}
    )


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("abc", ["\u2581a", "bc"]),  # bc before ab
        ("b", ["\u2581", "b"]),
        ("a b", ["\u2581a", "\u2581", "b"]),
        ("\u00e9", ["\u2581", "<0xC3>", "<0xA9>"]),
        ("a<turn>a", ["\u2581a", "<turn>", "\u2581a"]),
        ("", []),
    ],
)
def test_the_best_score_is_merged_first(text: str, tokens: list[str]) -> None:
    words = pieces()
    assert [words.text_of(token) for token in words.encode(text)] == tokens


def test_a_text_begins_as_the_file_says_else_as_its_kind_of_tokens_does(tmp_path: Path) -> None:
    assert pieces().start == [1]
    assert pieces(add_bos_token=False).start == []
    metadata = dict(written(tmp_path).metadata)
    assert gguf_vocabulary(metadata).start == []
    del metadata["tokenizer.ggml.add_bos_token"]
    for split, start in (("smollm", []), ("qwen2", []), ("llama-bpe", [1])):
        assert gguf_vocabulary(metadata | {"tokenizer.ggml.pre": split}).start == start


def test_user_defined_pieces_are_text() -> None:
    words = pieces()
    assert words.decode(words.encode("a<turn>a")) == "a<turn> a"


def test_no_space_is_put_before_where_the_file_says_so() -> None:
    words = pieces(add_space_prefix=False)
    assert [words.text_of(token) for token in words.encode("abc")] == ["a", "bc"]
    assert words.decode(words.encode("a b\u00e9 c")) == "a b\u00e9 c"


def test_both_kinds_of_tokens_are_those_of_llama_cpp(tmp_path: Path) -> None:
    """Where llama-cpp-python is installed: the whole way through a file, on a small vocabulary."""
    llama_cpp = pytest.importorskip("llama_cpp")
    from edgebench.models.llm.tokenizer import vocabulary_of

    path = write_decoder(tmp_path / "tiny.gguf").path
    theirs, ours = llama_cpp.Llama(str(path), vocab_only=True, verbose=False), vocabulary_of(path)
    for text in ("hello the thing", " in 1234 the\n", "z\u00fcrich \U0001f600", "<|im_start|>an"):
        assert theirs.tokenize(text.encode(), add_bos=False, special=True) == ours.encode(text)


# --- damaged files, and files of another kind -------------------------------------------------------


def changed(path: Path, start: bytes) -> Path:
    path.write_bytes(start + path.read_bytes()[len(start) :])
    return path


def test_a_part_of_a_split_model_says_which_part(tmp_path: Path) -> None:
    path = tmp_path / "model-00001-of-00002.gguf"
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_uint16("split.no", 0)
    writer.add_uint16("split.count", 2)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(UnsupportedError, match="is part 1 of 2") as caught:
        GgufFile(path)
    assert "llama-gguf-split --merge" in caught.value.fix


def test_a_big_endian_file_says_how_to_turn_it(tmp_path: Path) -> None:
    path = write_decoder(tmp_path / "tiny.gguf").path
    with pytest.raises(UnsupportedError, match="big-endian") as caught:
        GgufFile(changed(path, b"GGUF\0\0\0\x03"))
    assert "gguf-convert-endian" in caught.value.fix


@pytest.mark.parametrize("fact", ["rope.dimension_count", "attention.head_count", "block_count"])
@pytest.mark.parametrize("value", [0, 3, 2**32 - 1])
def test_a_fact_that_the_tensors_contradict_is_damage(
    tmp_path: Path, fact: str, value: int
) -> None:
    """As a size of what the reference allocates it would fill the memory, or divide by zero."""
    file = written(tmp_path)
    file.metadata = {**file.metadata, f"llama.{fact}": value}
    with pytest.raises(EdgebenchError) as caught:
        _ = file.decoder
    assert not isinstance(caught.value, UnsupportedError)


@pytest.mark.parametrize("value", [-1, 10**6, "2", 2.0])
def test_a_named_token_that_is_none_is_damage(tmp_path: Path, value: object) -> None:
    """Its text would be the word None, in every prompt."""
    metadata = {**written(tmp_path).metadata, "tokenizer.ggml.eos_token_id": value}
    with pytest.raises(EdgebenchError, match="eos_token_id of the GGUF file is"):
        gguf_vocabulary(metadata)


@pytest.mark.parametrize(
    "template", ["{{ 1 / 0 }}", "{{ messages[0] + 1 }}", "{{ 'a' * 10 ** 30 }}"]
)
def test_a_template_that_fails_is_one_error(tmp_path: Path, template: str) -> None:
    metadata = {**written(tmp_path).metadata, "tokenizer.chat_template": template}
    with pytest.raises(EdgebenchError, match="chat template cannot be filled"):
        gguf_vocabulary(metadata).chat([{"role": "user", "content": "hello"}])


@pytest.mark.parametrize("content", [b"\xff\xfe", b"{}", b'{"model": {"type": "BPE"}}'])
def test_a_damaged_tokenizer_beside_a_model_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(EdgebenchError, match=r"tokenizer\.json is damaged"):
        folder_vocabulary(tmp_path)


def test_a_suffix_in_capital_letters_is_the_same_format(tmp_path: Path) -> None:
    path = write_decoder(tmp_path / "TINY.GGUF").path
    assert len(vocabulary_of(path)) == len(vocabulary())
    assert files_beside(path) == []


@pytest.mark.parametrize("keep", [0, 3, 40, -100])
def test_a_damaged_file_is_failed_and_not_unsupported(keep: int, tmp_path: Path) -> None:
    whole = write_decoder(tmp_path / "whole.gguf").path
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(whole.read_bytes()[:keep])
    with pytest.raises(EdgebenchError) as caught:
        _ = GgufFile(cut).tensors
    assert not isinstance(caught.value, UnsupportedError)
    assert "whole" in caught.value.fix

"""The MiniLM graph against the same arithmetic in numpy, on random weights of the right shapes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgebench.backend import TensorInfo
from edgebench.errors import EdgebenchError
from edgebench.models import minilm
from edgebench.task import TaskContext
from edgebench.tasks.sentence_embedding import SentenceEmbedding, read_pairs, read_texts

WIDTH, LENGTH, HEADS, WORDS, WIDE = 384, 128, 12, 50, 1536


def random_weights() -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> NDArray[Any]:
        return rng.normal(0, 0.05, shape).astype(np.float32)

    weights = {
        "embeddings.word_embeddings.weight": normal(WORDS, WIDTH),
        "embeddings.position_embeddings.weight": normal(512, WIDTH),
        "embeddings.token_type_embeddings.weight": normal(2, WIDTH),
        "embeddings.LayerNorm.weight": 1 + normal(WIDTH),
        "embeddings.LayerNorm.bias": normal(WIDTH),
    }
    for layer in range(minilm.LAYERS):
        name = f"encoder.layer.{layer}"
        shapes = {
            **{f"{name}.attention.self.{p}": (WIDTH, WIDTH) for p in ("query", "key", "value")},
            f"{name}.attention.output.dense": (WIDTH, WIDTH),
            f"{name}.intermediate.dense": (WIDE, WIDTH),
            f"{name}.output.dense": (WIDTH, WIDE),
        }
        for part, shape in shapes.items():
            weights[f"{part}.weight"], weights[f"{part}.bias"] = normal(*shape), normal(shape[0])
        for part in (f"{name}.attention.output.LayerNorm", f"{name}.output.LayerNorm"):
            weights[f"{part}.weight"], weights[f"{part}.bias"] = 1 + normal(WIDTH), normal(WIDTH)
    return weights


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    safetensors = pytest.importorskip("safetensors.numpy")
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    # Some files carry the prefix of the whole model on every name.
    safetensors.save_file({f"bert.{k}": v for k, v in random_weights().items()}, str(path))
    return path


@pytest.mark.slow
def test_the_open_graph_gives_a_short_text_the_embedding_that_padding_gives(
    weights_file: Path, tmp_path: Path
) -> None:
    import onnxruntime

    minilm.build(weights_file, tmp_path / "fixed.onnx")
    minilm.build_open(weights_file, tmp_path / "open.onnx")
    ids = np.zeros((1, LENGTH), np.int64)
    ids[0, :7] = [3, 1, 4, 1, 5, 9, 2]
    mask = (np.arange(LENGTH)[None] < 7).astype(np.int64)
    found = []
    for name, length in (("fixed", LENGTH), ("open", 7)):
        session = onnxruntime.InferenceSession(str(tmp_path / f"{name}.onnx"))
        feeds = {"input_ids": ids[:, :length], "attention_mask": mask[:, :length]}
        found.append(session.run(None, feeds)[0])
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)


def embed(w: dict[str, NDArray[Any]], ids: NDArray[Any]) -> NDArray[np.float64]:
    """One sentence without padding, in numpy, float64."""

    def normalise(x: NDArray[Any], name: str) -> NDArray[Any]:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
        return np.asarray(x * w[f"{name}.weight"] + w[f"{name}.bias"])

    def linear(x: NDArray[Any], name: str) -> NDArray[Any]:
        return np.asarray(x @ w[f"{name}.weight"].T.astype(np.float64) + w[f"{name}.bias"])

    def heads(x: NDArray[Any]) -> NDArray[Any]:
        return x.reshape(len(ids), HEADS, -1).transpose(1, 0, 2)

    x = w["embeddings.word_embeddings.weight"][ids].astype(np.float64)
    x = x + w["embeddings.position_embeddings.weight"][: len(ids)]
    x = normalise(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for layer in range(minilm.LAYERS):
        name = f"encoder.layer.{layer}"
        query, key, value = (
            heads(linear(x, f"{name}.attention.self.{part}")) for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(WIDTH // HEADS)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (weights / weights.sum(-1, keepdims=True)) @ value
        joined = mixed.transpose(1, 0, 2).reshape(len(ids), WIDTH)
        attended = linear(joined, f"{name}.attention.output.dense")
        x = normalise(x + attended, f"{name}.attention.output.LayerNorm")
        wide = linear(x, f"{name}.intermediate.dense")
        wide = wide * (1 + np.vectorize(math.erf)(wide / math.sqrt(2))) / 2
        x = normalise(x + linear(wide, f"{name}.output.dense"), f"{name}.output.LayerNorm")
    mean = x.mean(axis=0)
    return np.asarray(mean / np.linalg.norm(mean))


def test_the_graph_agrees_with_numpy_whatever_the_padding_holds(
    weights_file: Path, tmp_path: Path
) -> None:
    ort = pytest.importorskip("onnxruntime")
    minilm.build(weights_file, tmp_path / "m.onnx")
    session = ort.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    ids = np.random.default_rng(1).integers(0, WORDS, (2, LENGTH))
    mask = np.zeros((2, LENGTH), dtype=np.int64)
    mask[0, :7] = mask[1, :20] = 1
    (embedding,) = session.run(["embedding"], {"input_ids": ids, "attention_mask": mask})
    weights = random_weights()
    assert embedding.shape == (2, WIDTH)
    assert embedding[0] == pytest.approx(embed(weights, ids[0, :7]), abs=2e-4)
    assert embedding[1] == pytest.approx(embed(weights, ids[1, :20]), abs=2e-4)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    safetensors.save_file({"x": np.zeros(3, np.float32)}, str(tmp_path / "other.safetensors"))
    with pytest.raises(EdgebenchError, match="not MiniLM's weights"):
        minilm.build(tmp_path / "other.safetensors", tmp_path / "m.onnx")
    (tmp_path / "torn.safetensors").write_bytes(b"\x00\x01")
    with pytest.raises(EdgebenchError, match=r"torn\.safetensors cannot be read"):
        minilm.build(tmp_path / "torn.safetensors", tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()


@pytest.fixture
def task(tmp_path: Path) -> SentenceEmbedding:
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = {"[UNK]": 0, "[PAD]": 1, "cat": 2, "dog": 3, "car": 4, "road": 5}
    model = tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "documents").write_text("cat dog\ndog cat cat\n\ncar road\n", "utf-8")
    (tmp_path / "similarities").write_text("1 0.9 0.1\n0.9 1 0.2\n0.1 0.2 1\n", "utf-8")
    (tmp_path / "words").write_text(
        "# first\tsecond\tmean\ncat\tdog\t8\ncar\troad\t6\ncat\troad\t1\nx\ty\t3\n", "utf-8"
    )
    (tmp_path / "calibration").write_text("road road\ncat car\n", "utf-8")
    names = ("tokenizer.json", "documents", "similarities", "words", "calibration")
    return SentenceEmbedding(
        TaskContext(
            data={Path(name).stem: tmp_path / name for name in names},
            options={"word_pairs": 3},
            inputs=[TensorInfo("input_ids", "int64", (1, 6))],
        )
    )


def test_items_are_documents_then_distinct_words(task: SentenceEmbedding) -> None:
    texts = [task.raw(index) for index in range(len(task))]
    assert texts == ["cat dog", "dog cat cat", "car road", "cat", "dog", "car", "road"]


def test_texts_are_cut_and_padded(task: SentenceEmbedding) -> None:
    feeds = task.preprocess("dog unknown " + "cat " * 9)
    assert feeds["input_ids"].tolist() == [[3, 0, 2, 2, 2, 2]]
    assert feeds["attention_mask"].tolist() == [[1] * 6]
    assert task.preprocess("cat")["attention_mask"].tolist() == [[1, 0, 0, 0, 0, 0]]
    assert all(array.dtype == np.int64 for array in feeds.values())


def test_embeddings_that_agree_with_people_score_high(task: SentenceEmbedding) -> None:
    angle = {"cat": 0.0, "dog": 0.2, "car": 1.5, "road": 2.0, "cat dog": 0.1, "dog cat cat": 0.0}
    angle["car road"] = 1.6
    vectors = [np.array([math.cos(a), math.sin(a)]) for a in map(angle.__getitem__, task.texts)]
    agreeing = task.score(vectors)
    assert agreeing["document_pearson"] > 0.95
    assert agreeing["word_spearman"] == pytest.approx(1.0)
    vectors[2], vectors[1] = vectors[1], vectors[2]
    vectors[4], vectors[6] = vectors[6], vectors[4]
    disagreeing = task.score(vectors)
    assert disagreeing["document_pearson"] < 0
    assert disagreeing["word_spearman"] < 0


def test_calibration_texts_are_no_items(task: SentenceEmbedding) -> None:
    items = {task.preprocess(text)["input_ids"].tobytes() for text in task.texts}
    calibration = [feeds["input_ids"].tobytes() for feeds in task.calibration()]
    assert len(calibration) == 2
    assert not items & set(calibration)


def test_readers_skip_comments_and_empty_lines(task: SentenceEmbedding) -> None:
    assert len(list(read_pairs(task.context.data["words"]))) == 4
    assert len(read_texts(task.context.data["documents"])) == 3

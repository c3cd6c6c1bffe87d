"""Tables, their split, and the classifier that is trained on the spot."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebench.backend import TensorInfo
from edgebench.errors import EdgebenchError
from edgebench.models import mlp
from edgebench.models.labelled_tables import Table, read_table, split
from edgebench.models.onnx_file import save_model
from edgebench.task import TaskContext
from edgebench.tasks.tabular_classification import TabularClassification


def clusters(classes: int, rows: int = 40, seed: int = 0) -> Table:
    """Well separated classes in three dimensions; the fourth feature is constant."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), rows)
    centres = rng.uniform(-10, 10, (classes, 3))
    features = np.zeros((len(labels), 4), dtype=np.float32)
    features[:, :3] = centres[labels] + rng.normal(0, 0.3, (len(labels), 3))
    features[:, 3] = 7
    return Table(features, labels)


def write_table(path: Path, table: Table, heading: str = "") -> Path:
    rows = np.column_stack([table.features, table.labels + 5])  # labels need not count from 0
    text = heading + "".join(",".join(f"{cell:.6g}" for cell in row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
@pytest.mark.parametrize("heading", ["", "120,4,malignant\n", "a,b,c,d,class\n"])
def test_tables_are_read_with_and_without_heading(tmp_path: Path, name: str, heading: str) -> None:
    table = clusters(3)
    read = read_table(write_table(tmp_path / name, table, heading))
    assert read.labels.tolist() == table.labels.tolist()
    assert read.features == pytest.approx(table.features, rel=1e-5)
    assert read.features.dtype == np.float32


@pytest.mark.parametrize("content", [b"a,b\nc,d\n", b"\x1f\x8bnot gzip", b"1,2\n3\n4,5\n"])
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    with pytest.raises(EdgebenchError, match=r"x\.csv is not a table"):
        read_table(path)


@given(st.lists(st.integers(20, 60), min_size=2, max_size=5))
def test_the_split_has_no_row_in_common_and_loses_none(counts: list[int]) -> None:
    labels = np.concatenate([np.full(n, label) for label, n in enumerate(counts)])
    numbers = np.arange(len(labels), dtype=np.float32)[:, None]
    parts = split(Table(numbers, labels))
    rows = np.concatenate([part.features[:, 0] for part in parts])
    assert sorted(rows.tolist()) == numbers[:, 0].tolist()
    for part in parts:
        assert np.array_equal(labels[part.features[:, 0].astype(int)], part.labels)
    for label, n in enumerate(counts):
        assert (parts.test.labels == label).sum() == round(0.3 * n)
        assert (parts.calibration.labels == label).sum() == round(0.05 * n)


def test_the_split_is_the_same_every_time() -> None:
    one, two = split(clusters(3)), split(clusters(3))
    assert all(np.array_equal(a.features, b.features) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("classes", [2, 3])
def test_a_trained_model_knows_the_test_rows(tmp_path: Path, classes: int) -> None:
    pytest.importorskip("sklearn")
    ort = pytest.importorskip("onnxruntime")
    source = write_table(tmp_path / "t.csv", clusters(classes))
    mlp.build(source, tmp_path / "m.onnx")
    session = ort.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    task = TabularClassification(
        TaskContext(data={"table": source}, inputs=[TensorInfo("row", "float32", (1, 4))])
    )

    def run(feeds: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]) -> object:
        return {"probability": session.run(None, feeds)[0]}

    scores = task.evaluate(lambda queries: [run(query) for query in queries])  # type: ignore[misc]
    assert scores == {"accuracy": 1.0}
    batch = {"row": np.concatenate([task.preprocess(task.raw(i))["row"] for i in range(5)])}
    (probabilities,) = session.run(None, batch)
    assert probabilities.shape == (5, classes)
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(5), abs=1e-5)


def test_two_classes_get_the_probability_of_the_library(tmp_path: Path) -> None:
    neural_network = pytest.importorskip("sklearn.neural_network")
    ort = pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(0)
    features = rng.normal(0, 1, (200, 4)).astype(np.float32)
    table = Table(features, (features[:, 0] + rng.normal(0, 1, 200) > 0).astype(np.int64))
    trained = mlp.train(table)
    save_model(mlp.to_onnx(trained), tmp_path / "m.onnx")
    session = ort.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    scaled = (features - trained.mean) / trained.scale
    library = neural_network.MLPClassifier((mlp.HIDDEN,), max_iter=mlp.MAX_EPOCHS, random_state=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_args, **_kwargs: None)  # that it did not converge
        library.fit(scaled, table.labels)
    (probabilities,) = session.run(None, {"row": features})
    assert probabilities == pytest.approx(library.predict_proba(scaled), abs=1e-4)


def test_training_twice_gives_the_same_file(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    source = write_table(tmp_path / "t.csv", clusters(3))
    mlp.build(source, tmp_path / "one.onnx")
    mlp.build(source, tmp_path / "two.onnx")
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()


def test_wrong_answers_count(tmp_path: Path) -> None:
    source = write_table(tmp_path / "t.csv", clusters(3))
    task = TabularClassification(TaskContext(data={"table": source}))
    labels = task.test.labels
    assert task.score(labels.tolist()) == {"accuracy": 1.0}
    half = np.where(np.arange(len(labels)) % 2 == 0, labels, (labels + 1) % 3)
    assert task.score(half.tolist())["accuracy"] == pytest.approx(0.5)

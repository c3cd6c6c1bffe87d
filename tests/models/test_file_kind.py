"""What lies where a model should is named: pointers, web pages, damaged and missing weights."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebench.errors import EdgebenchError, UnsupportedError
from edgebench.models import onnx_file
from edgebench.models.file_kind import check_arrived, format_of
from edgebench.planning.cells import model_format
from edgebench.planning.own_models import workload_for_model
from edgebench.preparation.preparation_messages import PrepareJob
from edgebench.preparation.prepare import prepare
from tests import onnx_models as models

POINTER = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 2327524\n"
)


def job(source: Path, form: str = "onnx", **changes: Any) -> PrepareJob:
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    return PrepareJob(
        task="seeded_inputs",
        source=str(source),
        source_sha256=digest,
        format=form,
        cache=str(source.parent / "cache"),
        **changes,
    )


def with_weights_beside(folder: Path, name: str = "model.onnx") -> Path:
    """A model whose weights lie in `<name>_data`."""
    import onnx

    folder.mkdir(parents=True, exist_ok=True)
    weights = {"w": np.linspace(-1, 1, 3200).reshape(8, 400)}
    nodes: list[models.Node] = [("MatMul", ["x", "w"], "y", {})]
    model = models.model(nodes, {"x": ["n", 8]}, {"y": ["n", 400]}, weights)
    path = folder / name
    onnx.save(
        model, str(path), save_as_external_data=True, location=f"{name}_data", size_threshold=0
    )
    return path


@pytest.mark.parametrize(
    ("content", "what", "fix"),
    [
        (POINTER, "a pointer of Git LFS", "git lfs pull"),
        (b"/annex/objects/SHA256E-s12--ab.onnx\n", "a pointer of git-annex", "git annex get"),
        (b"\n<!DOCTYPE html><html>", "a web page", "download the file itself"),
        (b"", "empty", "arrived whole"),
    ],
)
@pytest.mark.parametrize("name", ["model.onnx", "model.tflite", "model.gguf"])
def test_a_file_that_is_not_a_model_is_named_with_a_fix(
    tmp_path: Path, content: bytes, what: str, fix: str, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(EdgebenchError, match=what) as caught:
        prepare(job(path, format_of(path), generates=name.endswith("gguf")))
    assert not isinstance(caught.value, UnsupportedError)
    assert str(path) in caught.value.message
    assert fix in caught.value.fix


def test_a_file_without_its_formats_mark_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(bytes(100))
    with pytest.raises(EdgebenchError, match="the mark TFL3 is missing") as caught:
        prepare(job(path, "tflite"))
    assert not isinstance(caught.value, UnsupportedError)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda data: data.unlink(), r"its weights are missing: model\.onnx_data"),
        (lambda data: data.write_bytes(POINTER), "a pointer of Git LFS"),
        (lambda data: data.write_bytes(bytes(100)), r"model\.onnx_data ends before tensor 'w'"),
    ],
)
def test_weights_that_are_not_there_or_not_whole_are_named(
    tmp_path: Path, damage: Any, complaint: str
) -> None:
    path = with_weights_beside(tmp_path)
    damage(tmp_path / "model.onnx_data")
    with pytest.raises(EdgebenchError, match=complaint) as caught:
        prepare(job(path))
    assert not isinstance(caught.value, UnsupportedError)


def test_weights_outside_the_models_folder_are_refused(tmp_path: Path) -> None:
    path = with_weights_beside(tmp_path / "inner")
    model = onnx_file.load_model(path, weights=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = "../model.onnx_data"
    path.write_bytes(model.SerializeToString())
    (path.parent / "model.onnx_data").rename(tmp_path / "model.onnx_data")
    with pytest.raises(EdgebenchError, match="points outside its folder"):
        prepare(job(path))


@pytest.fixture
def cached_download(tmp_path: Path) -> Path:
    """A model in the layout of Hugging Face's cache: names are links to content kept by its hash."""
    kept, shown = tmp_path / "blobs", tmp_path / "snapshots" / "abc"
    with_weights_beside(kept)
    shown.mkdir(parents=True)
    for name, content in (("model.onnx", "aaaa"), ("model.onnx_data", "bbbb")):
        (kept / name).rename(kept / content)
        (shown / name).symlink_to(Path("..", "..", "blobs", content))
    return shown / "model.onnx"


def test_weights_are_found_beside_a_link_and_brought_together(cached_download: Path) -> None:
    """Runtimes refuse weights that a link brings from another folder."""
    prepared = prepare(job(cached_download))
    (y,) = models.run(Path(prepared.path), {"x": np.ones((1, 8), np.float32)})
    assert y.shape == (1, 400)
    assert not Path(prepared.path).is_symlink()


def test_a_fixed_model_behind_links_runs_from_one_folder(tmp_path: Path) -> None:
    import onnx

    path = with_weights_beside(tmp_path / "blobs")
    model = onnx.load(str(path))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, str(path), save_as_external_data=True, location="weights", size_threshold=0)
    shown = tmp_path / "shown"
    shown.mkdir()
    for name in ("model.onnx", "weights"):
        (shown / name).symlink_to(tmp_path / "blobs" / name)
    prepared = prepare(job(shown / "model.onnx"))
    together = Path(prepared.path).parent
    assert {file.name for file in together.iterdir()} >= {"model.onnx", "weights"}
    assert not (together / "weights").is_symlink()
    assert prepared.reference.path


def test_a_links_own_name_tells_the_format(tmp_path: Path) -> None:
    (tmp_path / "0123abcd").write_bytes(b"content")
    link = tmp_path / "MODEL.TFLITE"
    link.symlink_to(tmp_path / "0123abcd")
    workload = workload_for_model(link, {})
    assert model_format(workload.model) == "tflite"
    assert workload.title == "MODEL.TFLITE"


def test_a_sound_file_has_arrived(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x08\x0a\x12\x07pytorch")
    check_arrived(path)

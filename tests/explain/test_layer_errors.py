"""Layers that are wrong on purpose are named, in float files and in integer ones."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgebench import registry
from edgebench.backend import ModelFile, Unavailable
from edgebench.errors import EdgebenchError, UnsupportedError
from edgebench.explain import numeric
from edgebench.explain.numeric import Other, numeric_report
from edgebench.explain.numeric_report import NumericReport
from edgebench.render.numeric_text import sentences
from tests.explain import planted
from tests.explain.planted import Fault

pytest.importorskip("onnxruntime")
ITEMS = [planted.feeds(seed) for seed in (100, 101)]


def report(reference: Path, other: Path, backend: str = "ort") -> NumericReport:
    runtime = registry.load(backend)
    runtime.import_runtime()
    model = ModelFile(other, "onnx", "0" * 64)
    return numeric_report(reference, Other(runtime, model, {"threads": 1}, "other"), ITEMS)


def names_the_layer(folder: Path, fault: Fault, seed: int, integers: bool) -> bool:
    """Whether a layer that is wrong is the first one named, and among those that do most damage: two channels that
    changed places may do less than rounding at the end does."""
    reference = planted.network(folder / "float.onnx", seed)
    source = planted.quantised(reference, folder / "int8.onnx") if integers else reference
    wrong = planted.planted(source, folder / "wrong.onnx", fault, seed)
    found = report(reference, folder / "wrong.onnx")
    place = wrong.removeprefix("conv")
    # The quantizer merges a convolution and its ReLU: either of them names the layer.
    names = {wrong, f"relu{place}"}
    return found.first_over in names and bool(names & set(found.worst[:3]))


@pytest.mark.parametrize("fault", ["scale", "swapped"])
def test_a_wrong_float_layer_is_named(tmp_path: Path, fault: Fault) -> None:
    assert names_the_layer(tmp_path, fault, seed=1, integers=False)


@pytest.mark.parametrize("fault", ["scale", "swapped", "activation"])
def test_a_wrong_integer_layer_is_named(tmp_path: Path, fault: Fault) -> None:
    assert names_the_layer(tmp_path, fault, seed=2, integers=True)


@pytest.mark.slow
@pytest.mark.parametrize("integers", [False, True], ids=["float", "int8"])
@pytest.mark.parametrize("fault", ["scale", "swapped", "activation"])
def test_every_planted_layer_is_named(tmp_path: Path, fault: Fault, integers: bool) -> None:
    if fault == "activation" and not integers:
        pytest.skip("a float file has no scales of activations")
    missed = []
    for seed in range(20):
        folder = tmp_path / str(seed)
        folder.mkdir()
        if not names_the_layer(folder, fault, seed, integers):
            missed.append(seed)
    assert missed == []


def test_sound_integer_model_has_no_layer_above_its_limit(tmp_path: Path) -> None:
    reference = planted.network(tmp_path / "float.onnx", 3)
    found = report(reference, planted.quantised(reference, tmp_path / "int8.onnx"))
    assert found.first_over is None
    assert found.limit == numeric.LIMITS["int8"]
    total = np.sqrt(sum((each.damage or 0.0) ** 2 for each in found.layers))
    assert 0.3 < total / found.output_error < 3, "damages add up in the square, nearly"


def test_errors_grow_behind_the_layer_in_which_they_arise(tmp_path: Path) -> None:
    reference = planted.network(tmp_path / "float.onnx", 4)
    wrong = planted.planted(reference, tmp_path / "wrong.onnx", "scale", 4)
    layers = {each.node: each for each in report(reference, tmp_path / "wrong.onnx").layers}
    names = list(layers)
    behind = [layers[name] for name in names[names.index(wrong) + 1 :]]
    assert all(each.local is not None and each.local < 1e-6 for each in behind)
    assert any(each.accumulated is not None and each.accumulated > 0.01 for each in behind)


def test_memory_is_bounded_by_batches_of_layers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = planted.network(tmp_path / "float.onnx", 5)
    planted.planted(reference, tmp_path / "wrong.onnx", "scale", 5)
    whole = report(reference, tmp_path / "wrong.onnx")
    monkeypatch.setattr(numeric, "MAX_BATCH_BYTES", 1)
    assert report(reference, tmp_path / "wrong.onnx") == whole


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["openvino", "mlx"])
def test_another_runtime_is_held_against_the_reference(tmp_path: Path, backend: str) -> None:
    if isinstance(registry.load(backend).availability(), Unavailable):
        pytest.skip(f"{backend} is not installed")
    reference = planted.network(tmp_path / "float.onnx", 6)
    wrong = planted.planted(reference, tmp_path / "wrong.onnx", "scale", 6)
    assert report(reference, tmp_path / "wrong.onnx", backend).first_over == wrong


def test_layers_that_nobody_could_compare_are_no_sound_model(tmp_path: Path) -> None:
    """A backend that opens none of them; and one that opens some."""
    reference = planted.network(tmp_path / "float.onnx", 6)
    planted.planted(reference, tmp_path / "wrong.onnx", "scale", 6)
    with pytest.raises(UnsupportedError, match="no layer could be compared on litert: "):
        report(reference, tmp_path / "wrong.onnx", "litert")
    found = report(reference, reference)
    one, *rest = found.layers
    some = [msgspec.structs.replace(one, local=None), *rest]
    (first,) = sentences(msgspec.structs.replace(found, layers=some, output_error=None, worst=[]))
    assert first.startswith(f"No layer of the {len(rest)} that could be compared is off by more")
    assert first.endswith("how far the outputs are off is unknown.")


def test_files_without_a_common_tensor_are_refused(tmp_path: Path) -> None:
    from tests import onnx_models

    reference = planted.network(tmp_path / "float.onnx", 7)
    other = tmp_path / "another.onnx"
    model = onnx_models.convolution()
    for node in model.graph.node:
        node.output[:] = [f"another.{name}" for name in node.output]
        node.input[:] = [f"another.{name}" for name in node.input]
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        value.name = f"another.{value.name}"
    other.write_bytes(model.SerializeToString())
    with pytest.raises(EdgebenchError, match="no tensor in common"):
        report(reference, other)


def test_words_name_the_layer(tmp_path: Path) -> None:
    reference = planted.network(tmp_path / "float.onnx", 8)
    wrong = planted.planted(reference, tmp_path / "wrong.onnx", "scale", 8)
    first, second = sentences(report(reference, tmp_path / "wrong.onnx"))
    assert first.startswith(f"{wrong} (Conv) is the first layer above the limit of 0.001")
    assert second.startswith(f"{wrong} (Conv) does most damage")

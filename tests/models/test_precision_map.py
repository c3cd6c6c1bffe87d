"""Precision maps: what a hash is of, how they are kept, and groups as ONNX Runtime's quantizer takes them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebench.errors import SpecError, UnsupportedError, UsageError
from edgebench.models import onnx_file, quantize
from edgebench.models.operator_groups import units_of
from edgebench.models.precision_map import (
    CalibrationSpec,
    PrecisionMap,
    keep_map,
    kept_map,
    map_text,
    precision_kind,
)
from edgebench.models.products import blocks_of
from edgebench.models.quantization_recipes import RECIPES, recipes_for
from edgebench.planning.precision_files import read_map
from tests import onnx_models as models

SHA = "a" * 64


def a_map(**changes: Any) -> PrecisionMap:
    given = {
        "model_sha256": SHA,
        "recipe": "u8s8/1",
        "groups": {"Conv_0": "int8", "Gemm_4": "fp32"},
    }
    return PrecisionMap(**{**given, **changes})


def images(count: int) -> Iterator[dict[str, Any]]:
    rng = np.random.RandomState(1)
    for _ in range(count):
        yield {"image": rng.normal(0, 1, (1, 3, 8, 8)).astype(np.float32)}


def mixed(wanted: PrecisionMap) -> Any:
    source = quantize.quantizable(frozen(), RECIPES["u8s8/1"])
    return quantize.quantize_mixed(
        source, quantize.ranges_of(source, images(8), wanted.calibration), wanted
    )


def frozen() -> Any:
    model = models.convolution()
    return onnx_file.freeze(model, onnx_file.resolve_shapes(model, {}, 1))


def test_the_hash_is_of_what_is_done_not_of_words() -> None:
    plain = a_map()
    assert plain.precision == a_map(workload="named").precision
    assert plain.precision == a_map(groups={"Conv_0": "int8"}).precision
    assert precision_kind(plain.precision) == "mixed"
    others = [
        a_map(groups={"Gemm_4": "int8"}),
        a_map(recipe="s8s8/1"),
        a_map(model_sha256="b" * 64),
        a_map(calibration=CalibrationSpec(method="entropy")),
    ]
    assert len({each.precision for each in [plain, *others]}) == 5


def test_a_map_is_read_back_from_its_file(tmp_path: Path) -> None:
    odd = a_map(
        groups={'a: "b" # c': "int8", "/m/Conv": "fp32"},
        calibration=CalibrationSpec(method="percentile", percentile=99.9),
    )
    path = tmp_path / "map.yaml"
    path.write_text(map_text(odd, {"/m/Conv": "slow"}))
    assert read_map(path) == odd


def test_a_map_is_kept_by_its_hash(tmp_path: Path) -> None:
    precision = keep_map(a_map(), tmp_path)
    assert kept_map(precision, tmp_path) == a_map()
    with pytest.raises(UsageError, match="no precision map 'mixed:0123' is known here"):
        kept_map("mixed:0123", tmp_path)
    [file] = (tmp_path / "precision-maps").iterdir()
    file.write_bytes(file.read_bytes().replace(b"u8s8/1", b"s8s8/1"))
    with pytest.raises(UsageError, match="was changed"):
        kept_map(precision, tmp_path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("recipe: u8s8/1\ngroups: {}\n", "model_sha256"),
        (f"model_sha256: {SHA}\nrecipe: u8s9/1\ngroups: {{}}\n", "no recipe 'u8s9/1'.*u8s8/1"),
        (f"model_sha256: {SHA}\nrecipe: u8s8/1\ngroups: {{a: int4}}\n", "map.yaml:3"),
        (
            f"model_sha256: {SHA}\nrecipe: u8s8/1\ncalibration: {{percentile: 99}}\ngroups: {{}}\n",
            "percentile is given with",
        ),
    ],
)
def test_a_wrong_file_is_told_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "map.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=told):
        read_map(path)


def test_groups_take_what_only_follows_them() -> None:
    source = quantize.quantizable(frozen(), RECIPES["u8s8/1"])
    assert [unit.op for unit in source.units.units] == ["Conv", "Gemm"]
    conv, gemm = source.units.units
    assert len(conv.nodes) == 4  # with its activation, pooling and flattening
    [between] = [e for e in source.units.edges if e.source == conv.name and e.target == gemm.name]
    assert between.elements == 8


def test_an_add_of_two_groups_is_a_joiner_of_its_own() -> None:
    weights = {"a": np.ones((4, 4)), "b": np.ones((4, 4))}
    nodes: list[models.Node] = [
        ("MatMul", ["x", "a"], "left", {}),
        ("MatMul", ["x", "b"], "right", {}),
        ("Add", ["left", "right"], "y", {}),
    ]
    model = models.model(nodes, {"x": [1, 4]}, {"y": [1, 4]}, weights)
    quantize._name_constant_adds(model)
    units = units_of(model, RECIPES["u8s8/1"])
    assert [unit.joiner for unit in units.units] == [False, False, True]
    assert {(e.source, e.target) for e in units.edges if e.source and e.target} == {
        (unit.name, units.units[2].name) for unit in units.groups
    }


def test_only_the_groups_of_a_map_become_int8() -> None:
    source = quantize.quantizable(frozen(), RECIPES["u8s8/1"])
    names = [unit.name for unit in source.units.groups]
    sizes = []
    for chosen in (names[:1], names[1:], names):
        wanted = a_map(groups=dict.fromkeys(chosen, "int8"))
        model = mixed(wanted)
        _, weights = onnx_file.precision_census(model)
        sizes.append(weights["int8"])
    conv, gemm, both = sizes  # with the zero points of some scales
    assert 8 * 3 * 9 <= conv < 8 * 3 * 9 + 16
    assert 8 * 5 <= gemm < 8 * 5 + 16
    assert both >= 8 * 3 * 9 + 8 * 5


def test_a_group_that_is_not_there_is_told_with_its_nearest() -> None:
    source = quantize.quantizable(frozen(), RECIPES["u8s8/1"])
    near = f"{source.units.names[0]}x"
    with pytest.raises(UsageError, match=rf"no group of this model.*{source.units.names[0]}"):
        mixed(a_map(groups={near: "int8"}))


def test_maps_and_models_without_anything_to_quantise_are_told() -> None:
    name = quantize.quantizable(frozen(), RECIPES["u8s8/1"]).units.names[0]
    with pytest.raises(UnsupportedError, match="leaves every group in fp32"):
        mixed(a_map(groups={name: "fp32"}))
    with pytest.raises(UnsupportedError, match="no operator with constant weights"):
        quantize.quantizable(models.two_sequences(), RECIPES["u8s8/1"])


def test_recipes_fit_the_backend_and_the_machine() -> None:
    assert recipes_for("litert")[0].symmetric
    assert recipes_for("ort", "aarch64")[0].activation == "int8"
    assert recipes_for("ort", "x86_64")[0].activation == "uint8"


def test_quantising_one_map_leaves_the_ranges_of_the_next() -> None:
    source = quantize.quantizable(frozen(), RECIPES["u8s8/1"])
    ranges = quantize.ranges_of(source, images(8), CalibrationSpec())
    before = dict(ranges)
    names = source.units.names
    first = quantize.quantize_units(source, ranges, names[:1]).SerializeToString()
    quantize.quantize_units(source, ranges, names)
    assert ranges == before
    assert quantize.quantize_units(source, ranges, names[:1]).SerializeToString() == first


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
def test_ranges_are_the_same_however_many_items_are_held_at_once(
    method: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A histogram's calibrator keeps every tensor of all items that it is shown at once: 7 GiB of one model."""
    source = quantize.quantizable(frozen(), RECIPES["u8s8/1"])
    spec = CalibrationSpec(method=method, percentile=99.9 if method == "percentile" else None)
    few = quantize.ranges_of(source, images(32), spec)
    monkeypatch.setattr(quantize, "CALIBRATED_AT_ONCE", 64)
    together = quantize.ranges_of(source, images(32), spec)
    assert few.keys() == together.keys()
    for name, (low, high) in together.items():
        assert few[name] == pytest.approx((low, high), rel=1e-5)


@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_quiet_items_first_do_not_make_histograms_endless(method: Any) -> None:
    """Bins as wide as those of silence would be millions by the first word."""
    source = quantize.quantizable(frozen(), RECIPES["u8s8/1"])
    spec = CalibrationSpec(method=method, percentile=99.9 if method == "percentile" else None)
    quiet_first = [
        {"image": item["image"] * (1e-6 if number < 4 else 1.0)}
        for number, item in enumerate(images(8))
    ]
    found = quantize.ranges_of(source, quiet_first, spec)
    known = quantize.ranges_of(source, reversed(quiet_first), spec)
    assert found == {name: pytest.approx(ends, rel=1e-5) for name, ends in known.items()}


def recurrent() -> Any:
    """An LSTM behind a matrix product."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.RandomState(3)
    shapes = {"w": (1, 32, 8), "r": (1, 32, 8), "m": (8, 8)}
    constants = [
        numpy_helper.from_array(rng.normal(0, 0.3, shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "m"], ["y"], name="product"),
        helper.make_node("LSTM", ["y", "w", "r"], ["z"], name="memory", hidden_size=8),
    ]
    graph = helper.make_graph(
        nodes,
        "recurrent",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 1, 8])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [4, 1, 1, 8])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def sequences(count: int) -> Iterator[dict[str, Any]]:
    rng = np.random.RandomState(1)
    for _ in range(count):
        yield {"x": rng.normal(0, 1, (4, 1, 8)).astype(np.float32)}


def of_recurrent(groups: dict[str, Any]) -> Any:
    source = quantize.quantizable(recurrent(), RECIPES["u8s8/1"])
    ranges = quantize.ranges_of(source, sequences(8), CalibrationSpec())
    return quantize.quantize_mixed(source, ranges, a_map(groups=groups))


def test_what_runs_in_dynamic_int8_counts_for_the_hash_and_only_where_there_is_any() -> None:
    assert a_map().precision != a_map(groups={"Conv_0": "int8", "Gemm_4": "int8-dynamic"}).precision
    assert "1 in int8-dynamic" in map_text(a_map(groups={"Gemm_4": "int8-dynamic"}))


@pytest.mark.parametrize(
    ("groups", "operators"),
    [
        ({"memory": "int8-dynamic"}, {"DynamicQuantizeLSTM", "MatMul"}),
        ({"product": "int8-dynamic"}, {"MatMulInteger", "LSTM"}),
        ({"product": "int8", "memory": "int8-dynamic"}, {"DynamicQuantizeLSTM", "QuantizeLinear"}),
    ],
)
def test_groups_are_quantised_at_run_time_beside_others(
    groups: dict[str, Any], operators: set[str]
) -> None:
    import onnxruntime as ort

    made = of_recurrent(groups)
    assert operators <= {node.op_type for node in made.graph.node}
    [item] = sequences(1)
    [known], [found] = (
        ort.InferenceSession(each.SerializeToString()).run(None, item)
        for each in (recurrent(), made)
    )
    assert 0 < np.abs(known - found).max() < 0.1


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        ({"memory": "int8"}, "recurrent layer 'memory' in int8"),
        ({"memorie": "int8-dynamic"}, r"names 'memorie'.*did you mean 'memory'"),
    ],
)
def test_a_group_has_the_precisions_that_its_kernels_have(
    groups: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        of_recurrent(groups)


def test_a_convolution_is_not_quantised_at_run_time() -> None:
    with pytest.raises(UsageError, match="which is for MatMul, Gemm and LSTM alone"):
        mixed(a_map(groups={frozen().graph.node[0].name or "Conv_0": "int8-dynamic"}))


def products() -> Any:
    """A MatMul and a Gemm, transposed and with a bias, of 64 inputs each."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.RandomState(0)
    weights = {
        "first": rng.normal(0, 0.1, (64, 64)),
        "second": rng.normal(0, 0.1, (8, 64)),
        "bias": rng.normal(0, 1, 8),
    }
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "first"], ["h"], "product"),
            helper.make_node("Gemm", ["h", "second", "bias"], ["y"], "dense", transB=1),
        ],
        "products",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 8])],
        [numpy_helper.from_array(v.astype(np.float32), n) for n, v in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def rows(count: int) -> Iterator[dict[str, Any]]:
    rng = np.random.RandomState(2)
    for _ in range(count):
        yield {"x": rng.normal(0, 1, (4, 64)).astype(np.float32)}


@pytest.mark.parametrize(
    ("kinds", "operators", "most"),
    [
        (("int8-dynamic", "int8-dynamic"), {"MatMulInteger"}, 0.03),
        (("w8", "w8"), {"MatMulNBits"}, 0.03),
        (("w4", "w4"), {"MatMulNBits"}, 0.2),
        (("int8", "w8"), {"MatMulNBits", "QuantizeLinear"}, 0.05),
        (("int8-dynamic", "w4"), {"MatMulNBits", "MatMulInteger"}, 0.2),
        (("fp32", "int8-dynamic"), {"MatMul", "MatMulInteger"}, 0.03),
    ],
)
def test_products_have_every_precision_each_on_its_own(
    kinds: tuple[Any, Any], operators: set[str], most: float
) -> None:
    import onnxruntime as ort

    source = quantize.quantizable(products(), RECIPES["u8s8/1"])
    ranges = quantize.ranges_of(source, rows(8), CalibrationSpec())
    wanted = a_map(groups=dict(zip(("product", "dense"), kinds, strict=True)))
    made = quantize.quantize_mixed(source, ranges, wanted)
    assert operators <= {node.op_type for node in made.graph.node}
    assert ("Gemm" in {node.op_type for node in made.graph.node}) == (kinds[1] == "int8")
    [item] = rows(1)
    [known], [found] = (
        ort.InferenceSession(each.SerializeToString()).run(None, item)
        for each in (products(), made)
    )
    error = np.linalg.norm(known - found) / np.linalg.norm(known)
    assert 0 < error < most


def test_blocks_give_back_what_four_and_eight_bits_can_hold() -> None:
    weights = np.random.RandomState(3).normal(0, 1, (64, 5)).astype(np.float32)
    for bits, most in ((8, 0.01), (4, 0.15)):
        numbers, scales = blocks_of(weights, bits)
        assert numbers.shape == (5, 2, 32 * bits // 8)
        if bits == 4:
            numbers = np.stack([numbers & 15, numbers >> 4], axis=-1).reshape(5, 2, 32)
        values = (numbers.astype(np.float32) - 2 ** (bits - 1)) * scales[..., None]
        error = np.linalg.norm(values.reshape(5, 64).T - weights) / np.linalg.norm(weights)
        assert 0 < error < most
    numbers, scales = blocks_of(np.zeros((32, 1), np.float32), 8)
    assert (numbers == 128).all()
    assert (scales == 0).all()


def test_weights_in_blocks_count_for_the_hash_and_are_named() -> None:
    found = [a_map(groups={"Gemm_4": kind}) for kind in ("w8", "w4", "int8-dynamic", "int8")]
    assert len({each.precision for each in found}) == 4
    assert "1 in w4" in map_text(found[1])
    with pytest.raises(UsageError, match=r"wants .* in w8, which is for MatMul and Gemm"):
        mixed(a_map(groups={frozen().graph.node[0].name or "Conv_0": "w8"}))

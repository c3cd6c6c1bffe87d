"""Operations and bytes counted from a graph, held against what the graph really computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgebench.models.quantize import quantize_static
from edgebench.models.work_count import work_of
from edgebench.preparation.prepare import prepare
from tests.onnx_models import Node, Shape, convolution, model
from tests.preparation.test_prepare import job, source, write

__all__ = ["source"]  # a fixture


def single(node: Node, inputs: dict[str, Shape], output: Shape, weights: dict[str, Any]) -> Any:
    return model([node], inputs, {node[2]: output}, weights)


def products(made: Any, inputs: dict[str, Shape]) -> int:
    """Multiplications of a graph of sums of products: fed with ones, its outputs add up to them."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(
        made.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feeds = {
        name: np.ones([int(size) for size in shape], np.float32) for name, shape in inputs.items()
    }
    return round(sum(float(np.sum(out, dtype=np.float64)) for out in session.run(None, feeds)))


@settings(max_examples=30, deadline=None)
@given(
    groups=st.sampled_from([1, 2, 4]),
    per_group=st.integers(1, 3),
    out_per_group=st.integers(1, 3),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 2),
    size=st.integers(3, 9),
    batch=st.integers(1, 3),
)
def test_convolution_counts_its_products(
    groups: int, per_group: int, out_per_group: int, kernel: int, stride: int, size: int, batch: int
) -> None:
    shape: Shape = [batch, groups * per_group, size, size]
    weight = np.ones((groups * out_per_group, per_group, kernel, kernel), np.float32)
    node: Node = ("Conv", ["x", "w"], "y", {"group": groups, "strides": [stride, stride]})
    made = single(node, {"x": shape}, ["a", "b", "c", "d"], {"w": weight})
    out = (size - kernel) // stride + 1
    work = work_of(made)
    assert work.flops == 2 * products(made, {"x": shape})
    elements = batch * groups * per_group * size**2 + weight.size
    elements += batch * groups * out_per_group * out**2
    assert work.moved_bytes == 4 * elements
    assert (work.uncounted, work.uncounted_share) == ({}, 0.0)


@pytest.mark.parametrize(
    ("node", "shape", "weight"),
    [
        (("MatMul", ["x", "w"], "y", {}), [2, 3, 5], (5, 7)),
        (("Gemm", ["x", "w"], "y", {}), [3, 5], (5, 7)),
        (("Gemm", ["x", "w"], "y", {"transA": 1, "transB": 1}), [5, 3], (7, 5)),
        (("ConvTranspose", ["x", "w"], "y", {"group": 2}), [1, 4, 5, 5], (4, 3, 3, 3)),
        (("Conv", ["x", "w"], "y", {"group": 4}), [1, 4, 9], (4, 1, 3)),
    ],
)
def test_products_of_each_operator_are_counted(
    node: Node, shape: Shape, weight: tuple[int, ...]
) -> None:
    out: Shape = ["a", "b", "c", "d"]
    made = single(node, {"x": shape}, out, {"w": np.ones(weight, np.float32)})
    del made.graph.output[0].type.tensor_type.shape.dim[:]
    made.graph.output[0].type.tensor_type.ClearField("shape")
    assert work_of(made).flops == 2 * products(made, {"x": shape})


def test_work_of_a_small_network_matches_a_hand_count() -> None:
    work = work_of(convolution([1, 3, 8, 8]))
    layers = [(layer.op, layer.flops, layer.moved_bytes) for layer in work.layers]
    assert layers == [
        # 8x8x8 outputs of 27 products, and a Relu each; image, kernel, bias in, the Relu's out
        ("Conv", 512 * 27 * 2 + 512, 4 * (192 + 216 + 8 + 512)),
        ("GlobalAveragePool", 512, 4 * (512 + 8)),
        ("Gemm", 2 * 8 * 5, 4 * (8 + 40 + 5 + 5)),
    ]
    assert work.flops == sum(flops for _, flops, _ in layers)


def test_a_value_with_several_readers_is_not_fused() -> None:
    nodes: list[Node] = [
        ("Relu", ["x"], "a", {}),
        ("Sigmoid", ["a"], "b", {}),
        ("Mul", ["a", "b"], "y", {}),
    ]
    work = work_of(model(nodes, {"x": [1, 10]}, {"y": [1, 10]}, {}))
    assert [layer.op for layer in work.layers] == ["Relu", "Sigmoid"]
    assert work.layers[1].flops == 20  # the Mul joined it
    assert work.moved_bytes == 4 * (20 + 20)


def test_quantized_tensors_count_at_their_width() -> None:
    rng = np.random.default_rng(0)
    calibration = [{"image": rng.random((1, 3, 8, 8), np.float32)} for _ in range(4)]
    plain = work_of(convolution([1, 3, 8, 8]))
    work = work_of(quantize_static(convolution([1, 3, 8, 8]), iter(calibration), 1))
    assert work.layers[0].op == "Conv"
    assert work.layers[0].flops >= plain.layers[0].flops - 512  # a Relu may be in the Q/DQ
    assert work.layers[0].moved_bytes == pytest.approx(plain.layers[0].moved_bytes / 4, rel=0.35)
    assert work.moved_bytes < plain.moved_bytes / 2
    assert work.uncounted == {}


@pytest.mark.parametrize(
    ("words", "table", "moved_bytes"),
    [
        (
            3,
            1000,
            8 * 3 + 4 * (3 * 5 + 3 * 5),
        ),  # indices, rows that are read, rows that are written
        (3, 2, 8 * 3 + 4 * (2 * 5 + 3 * 5)),  # a row read twice comes from memory once
    ],
)
def test_of_a_table_the_rows_that_are_looked_up_are_read(
    words: int, table: int, moved_bytes: int
) -> None:
    weights = {"table": np.ones((table, 5), np.float32)}
    made = single(("Gather", ["table", "ids"], "y", {}), {"ids": [words]}, [words, 5], weights)
    made.graph.input[0].type.tensor_type.elem_type = 7  # int64
    assert work_of(made).moved_bytes == moved_bytes


def test_of_a_slice_what_it_takes_is_read() -> None:
    bounds = {"starts": np.array([2], np.int64), "ends": np.array([4], np.int64)}
    node: Node = ("Slice", ["x", "starts", "ends"], "y", {})
    work = work_of(single(node, {"x": [100, 5]}, [2, 5], bounds))
    assert work.moved_bytes == 4 * 10 * 2 + 8 * 2
    nodes: list[Node] = [node, ("Mul", ["y", "x"], "z", {})]
    bounds["ends"] = np.array([3], np.int64)
    work = work_of(model(nodes, {"x": [100, 5]}, {"z": [100, 5]}, bounds))
    assert work.moved_bytes == 4 * 500 * 2 + 8 * 2  # the product reads all of it


@pytest.mark.parametrize(
    ("node", "each"),
    [
        (("Add", ["x", "y"], "z", {}), 1),
        (("Sum", ["x", "y", "y"], "z", {}), 2),
        (("Clip", ["x", "low", "high"], "z", {}), 1),
        (("Where", ["chosen", "x", "y"], "z", {}), 1),
    ],
)
def test_operations_on_an_element(node: Node, each: int) -> None:
    inputs: dict[str, Shape] = {"x": [4, 5], "y": [4, 5]}
    weights = {
        "low": np.float32(0),
        "high": np.float32(6),
        "chosen": np.ones((4, 5), np.bool_),
    }
    assert work_of(single(node, inputs, [4, 5], weights)).flops == 20 * each


def test_a_recurrent_layer() -> None:
    weights = {"w": np.ones((1, 16, 3), np.float32), "r": np.ones((1, 16, 4), np.float32)}
    made = single(
        ("LSTM", ["x", "w", "r"], "y", {"hidden_size": 4}), {"x": [5, 2, 3]}, [5, 1, 2, 4], weights
    )
    assert work_of(made).flops == 5 * 2 * 2 * 16 * (3 + 4)


def test_uncounted_operators_are_listed_with_their_share() -> None:
    nodes: list[Node] = [("Relu", ["x"], "a", {}), ("Det", ["a"], "y", {})]
    work = work_of(model(nodes, {"x": [4, 4]}, {"y": []}, {}))
    assert (work.flops, work.uncounted) == (16, {"Det": 1})
    assert work.uncounted_share == pytest.approx((64 + 4) / (128 + 64 + 4))
    open_axes = work_of(model([("Relu", ["x"], "y", {})], {"x": ["n", 4]}, {"y": ["n", 4]}, {}))
    assert (open_axes.flops, open_axes.uncounted, open_axes.uncounted_share) == (
        0,
        {"Relu": 1},
        None,
    )


def test_preparing_counts_the_file_that_runs(source: Path) -> None:
    single_item = prepare(job(source, shapes={"image": ["batch", 3, 8, 8]}))
    batch = prepare(job(source, shapes={"image": ["batch", 3, 8, 8]}, batch=4))
    assert single_item.work is not None
    assert batch.work is not None
    assert batch.work.flops == 4 * single_item.work.flops
    assert batch.work.moved_bytes < 4 * single_item.work.moved_bytes  # weights move once
    write(source, convolution())


def test_nodes_that_no_output_needs_are_not_counted(tmp_path: Path) -> None:
    """A runtime leaves it out: counted, it would make an honest latency too short to be true."""
    import onnx

    from edgebench.testing.models import chain

    model = onnx.load(chain(8).write(tmp_path).path)
    counted = work_of(model)
    weight = model.graph.initializer[0].name
    model.graph.node.append(onnx.helper.make_node("MatMul", ["x", weight], ["nobody"]))
    model.graph.node.append(onnx.helper.make_node("Relu", ["nobody"], ["reads it"]))
    assert work_of(model) == counted

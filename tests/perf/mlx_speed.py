"""An imported network against the same one written by hand with `mlx.nn`.

    LD_PRELOAD=libopenblas.so.0 python -m tests.perf.mlx_speed

Both sides have the same weights and run in this process in turns, each as the better of eager and
compiled. Prints the median of the paired ratios (hand-written time over imported time: above 1 the
import is faster), and the MLX primitives of either compiled graph.
"""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

PAIRS = 30
TRIALS = 11


@dataclass(frozen=True)
class Side:
    """One way to run a network: the faster form, and how many primitives its graph has."""

    run: Callable[[], Any]
    form: str
    primitives: int


def main() -> None:
    from edgebench.backends.mlx import blas

    print(f"BLAS: {blas.running().name}, {blas.threads()} threads")
    for name, make in (("MiniLM", minilm), ("EfficientNet-Lite0", efficientnet)):
        with tempfile.TemporaryDirectory(prefix="edgebench-") as folder:
            imported, hand, error = make(Path(folder) / "model.onnx")
        ratios = []
        for _ in range(PAIRS):
            ratios.append(_seconds(hand.run) / _seconds(imported.run))
        print(
            f"{name}: {median(ratios):.3f} of the hand-written speed (n={PAIRS}), imported "
            f"{imported.form}, by hand {hand.form}; primitives {imported.primitives} against "
            f"{hand.primitives} ({imported.primitives / hand.primitives:.2f}); "
            f"outputs differ by {error:.1e}"
        )


def _seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _side(function: Callable[[list[Any]], Any], arrays: list[Any]) -> Side:
    import mlx.core as mx

    compiled = mx.compile(function)
    forms = {"compiled": compiled, "eager": function}
    for form in forms.values():
        mx.eval(form(arrays))

    times: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(TRIALS):
        for name, form in forms.items():
            times[name].append(_seconds(functools.partial(_evaluated, form, arrays)))
    best = min(times, key=lambda name: median(times[name]))
    chosen = forms[best]
    return Side(functools.partial(_evaluated, chosen, arrays), best, _primitives(compiled(arrays)))


def _evaluated(form: Callable[[list[Any]], Any], arrays: list[Any]) -> None:
    import mlx.core as mx

    mx.eval(form(arrays))


def _primitives(outputs: Any) -> int:
    """Nodes of MLX's graph that compute, as its own export counts them."""
    import mlx.core as mx

    with tempfile.NamedTemporaryFile(suffix=".dot") as file:
        mx.export_to_dot(file.name, *outputs)
        return Path(file.name).read_text().count("shape=rectangle")


def _imported(path: Path, feeds: dict[str, Any]) -> tuple[Side, Any]:
    from edgebench.backends.mlx.program import Program
    from edgebench.models.onnx_file import load_model

    program = Program(load_model(path))
    plan = program.plan(feeds)
    assert plan is not None
    arrays = program.arguments(plan, feeds)
    return _side(plan, arrays), plan(arrays)[0]


def _compared(path: Path, feeds: dict[str, Any], hand: Callable[[list[Any]], Any]) -> Any:
    import mlx.core as mx

    imported, first = _imported(path, feeds)
    arrays = [mx.array(value) for value in feeds.values()]
    other = _side(hand, arrays)
    want, got = np.array(hand(arrays)[0]), np.array(first)
    return imported, other, float(np.linalg.norm(got - want) / np.linalg.norm(want))


# MiniLM


def minilm(path: Path) -> Any:
    from safetensors.numpy import save_file

    from edgebench.models import minilm as network

    weights = _minilm_weights()
    source = path.with_suffix(".safetensors")
    save_file(weights, str(source))
    network.build(source, path)
    rng = np.random.default_rng(0)
    feeds = {
        "input_ids": rng.integers(0, 1000, (1, network.LENGTH)),
        "attention_mask": np.ones((1, network.LENGTH), np.int64),
    }
    feeds["attention_mask"][0, 100:] = 0
    return _compared(path, feeds, _minilm_by_hand(weights))


def _minilm_weights() -> dict[str, Any]:
    """Weights of the right shapes: speed does not depend on their values."""
    from edgebench.models.minilm import LAYERS, WIDTH

    rng = np.random.default_rng(0)

    def matrix(*shape: int) -> Any:
        return (rng.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)

    made: dict[str, Any] = {
        "embeddings.word_embeddings.weight": matrix(1000, WIDTH),
        "embeddings.position_embeddings.weight": matrix(512, WIDTH),
        "embeddings.token_type_embeddings.weight": matrix(2, WIDTH),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(LAYERS):
        prefix = f"encoder.layer.{layer}"
        sizes = {
            "attention.self.query": (WIDTH, WIDTH),
            "attention.self.key": (WIDTH, WIDTH),
            "attention.self.value": (WIDTH, WIDTH),
            "attention.output.dense": (WIDTH, WIDTH),
            "intermediate.dense": (4 * WIDTH, WIDTH),
            "output.dense": (WIDTH, 4 * WIDTH),
        }
        for name, shape in sizes.items():
            made[f"{prefix}.{name}.weight"] = matrix(*shape)
            made[f"{prefix}.{name}.bias"] = matrix(shape[0])
        norms += [f"{prefix}.attention.output.LayerNorm", f"{prefix}.output.LayerNorm"]
    for name in norms:
        made[f"{name}.weight"] = np.ones(WIDTH, np.float32)
        made[f"{name}.bias"] = np.zeros(WIDTH, np.float32)
    return made


def _minilm_by_hand(weights: dict[str, Any]) -> Callable[[list[Any]], Any]:
    """BERT as one writes it with `mlx.nn` and `mx.fast`, and the mean over shown words."""
    import mlx.core as mx
    from mlx import nn

    from edgebench.models.minilm import HEADS, LAYERS, LENGTH, WIDTH

    w = {name: mx.array(value) for name, value in weights.items()}

    def linear(name: str) -> Any:
        rows, columns = weights[f"{name}.weight"].shape
        layer = nn.Linear(columns, rows)
        layer.weight, layer.bias = w[f"{name}.weight"], w[f"{name}.bias"]
        return layer

    def norm(name: str) -> Any:
        layer = nn.LayerNorm(WIDTH, eps=1e-12)
        layer.weight, layer.bias = w[f"{name}.weight"], w[f"{name}.bias"]
        return layer

    places = w["embeddings.position_embeddings.weight"][:LENGTH]
    places = places + w["embeddings.token_type_embeddings.weight"][0]
    first = norm("embeddings.LayerNorm")
    layers = []
    for index in range(LAYERS):
        prefix = f"encoder.layer.{index}"
        names = ("query", "key", "value")
        layers.append(
            (
                [linear(f"{prefix}.attention.self.{part}") for part in names],
                linear(f"{prefix}.attention.output.dense"),
                norm(f"{prefix}.attention.output.LayerNorm"),
                linear(f"{prefix}.intermediate.dense"),
                linear(f"{prefix}.output.dense"),
                norm(f"{prefix}.output.LayerNorm"),
            )
        )
    table = w["embeddings.word_embeddings.weight"]
    mx.eval(places)

    def run(arrays: list[Any]) -> list[Any]:
        ids, mask = arrays
        shown = mask.astype(mx.bool_)[:, None, None, :]
        x = first(table[ids] + places)
        for projections, joined, norm1, wide, narrow, norm2 in layers:
            q, k, v = (
                part(x).reshape(-1, LENGTH, HEADS, WIDTH // HEADS).transpose(0, 2, 1, 3)
                for part in projections
            )
            scale = (WIDTH // HEADS) ** -0.5
            mixed = mx.fast.scaled_dot_product_attention(q, k, v, scale=scale, mask=shown)
            mixed = mixed.transpose(0, 2, 1, 3).reshape(-1, LENGTH, WIDTH)
            x = norm1(joined(mixed) + x)
            x = norm2(narrow(nn.gelu(wide(x))) + x)
        weight = mask.astype(mx.float32)[..., None]
        mean = (x * weight).sum(axis=1) / weight.sum(axis=1)
        return [mean / mx.linalg.norm(mean, axis=1, keepdims=True)]

    return run


# EfficientNet-Lite0


def efficientnet(path: Path) -> Any:
    import onnx

    from edgebench.models.efficientnet_lite0 import network_of

    model = network_of(_efficientnet_weights())
    onnx.save(model, str(path))
    image = np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32)
    return _compared(path, {"image": image}, _efficientnet_by_hand(model))


def _efficientnet_weights() -> dict[str, Any]:
    """Weights of the right names and shapes, with batch normalisations that change nothing."""
    from edgebench.models.efficientnet_lite0 import _STAGES

    rng = np.random.default_rng(0)
    made: dict[str, Any] = {}

    def conv(name: str, norm: str, rows: int, columns: int, kernel: int) -> None:
        shape = (rows, columns, kernel, kernel)
        scale = np.sqrt(columns * kernel * kernel)
        made[f"{name}.weight"] = rng.standard_normal(shape).astype(np.float32) / scale
        for part, value in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
            made[f"{norm}.{part}"] = np.full(rows, value, np.float32)

    conv("_conv_stem", "_bn0", 32, 3, 3)
    index = 0
    for stage in _STAGES:
        for repeat in range(stage.repeats):
            before = stage.channels_in if repeat == 0 else stage.channels_out
            wide, prefix = before * stage.expand, f"_blocks.{index}."
            if stage.expand != 1:
                conv(f"{prefix}_expand_conv", f"{prefix}_bn0", wide, before, 1)
            conv(f"{prefix}_depthwise_conv", f"{prefix}_bn1", wide, 1, stage.kernel)
            conv(f"{prefix}_project_conv", f"{prefix}_bn2", stage.channels_out, wide, 1)
            index += 1
    conv("_conv_head", "_bn1", 1280, 320, 1)
    made["_fc.weight"] = rng.standard_normal((1000, 1280)).astype(np.float32) / 36
    made["_fc.bias"] = np.zeros(1000, np.float32)
    return made


def _efficientnet_by_hand(model: Any) -> Callable[[list[Any]], Any]:
    """The same layers with `nn.Conv2d`, `nn.relu6` and `nn.Linear`, channels last throughout."""
    import mlx.core as mx
    from mlx import nn
    from onnx import helper, numpy_helper

    weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    layers: list[tuple[str, Any, list[int]]] = []
    shortcuts: dict[int, int] = {}  # layer after which a shortcut is added -> layer it starts from
    places = {"image": -1}
    for node in model.graph.node:
        number = len(layers) - 1
        if node.op_type == "Conv":
            given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            weight = weights[node.input[1]]
            layer = nn.Conv2d(
                weight.shape[1] * given["group"],
                weight.shape[0],
                given["kernel_shape"][0],
                stride=given["strides"][0],
                padding=given["pads"][0] if given["pads"][0] == given["pads"][2] else 0,
                groups=given["group"],
            )
            layer.weight = mx.array(np.ascontiguousarray(weight.transpose(0, 2, 3, 1)))
            layer.bias = mx.array(weights[node.input[2]])
            layers.append(("conv", layer, list(given["pads"])))
        elif node.op_type == "Clip":
            layers.append(("relu6", None, []))
        elif node.op_type == "Add":
            shortcuts[number] = places[node.input[1]]
        places[node.output[0]] = len(layers) - 1
    dense = nn.Linear(1280, 1000)
    dense.weight, dense.bias = mx.array(weights["fc_weight"]), mx.array(weights["fc_bias"])
    kept = set(shortcuts.values())

    def run(arrays: list[Any]) -> list[Any]:
        x = arrays[0].transpose(0, 2, 3, 1)
        saved: dict[int, Any] = {}
        for number, (kind, layer, pads) in enumerate(layers):
            if kind == "relu6":
                x = nn.relu6(x)
            else:
                if pads[0] != pads[2]:  # TensorFlow's "same" for strides of two
                    x = mx.pad(x, [(0, 0), (pads[0], pads[2]), (pads[1], pads[3]), (0, 0)])
                x = layer(x)
            if number in shortcuts:
                x = x + saved[shortcuts[number]]
            if number in kept:
                saved[number] = x
        return [dense(x.mean(axis=(1, 2)))]

    return run


if __name__ == "__main__":
    main()

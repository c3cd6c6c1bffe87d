"""A small classifier trained on the spot: the source is a table, the result an ONNX file.

One hidden layer, seeded, on the rows that `edgebench.models.labelled_tables` keeps for training. Input `row`
[batch, features], scaled inside the graph; output `probability` [batch, classes].
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edgebench.errors import EdgebenchError
from edgebench.models.labelled_tables import Table, read_table, split
from edgebench.models.onnx_file import save_model

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto

HIDDEN = 128
SEED = 0
MAX_EPOCHS = 300
_OPSET = 13


class Mlp(NamedTuple):
    """Trained weights: scaling of the features, then matrices and biases layer by layer."""

    mean: NDArray[Any]
    scale: NDArray[Any]
    weights: list[NDArray[Any]]
    biases: list[NDArray[Any]]


def build(source: Path, out: Path) -> None:
    """Trains on the table `source` (CSV) and writes the ONNX file `out`.

    Raises EdgebenchError where scikit-learn is not installed or `source` is no table.
    """
    save_model(to_onnx(train(split(read_table(source)).training)), out)


def train(table: Table) -> Mlp:
    """Fits the classifier; the same table and library give the same weights."""
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPClassifier
    except ImportError:
        raise EdgebenchError(
            "scikit-learn, which trains this model, is not installed",
            fix='pip install "edgebench[full]"',
        ) from None
    mean = table.features.mean(axis=0, dtype=np.float64)
    spread = table.features.std(axis=0, dtype=np.float64)
    scale = np.where(spread < 1e-6, 1.0, spread)  # a constant feature tells nothing: leave it be
    classifier = MLPClassifier((HIDDEN,), max_iter=MAX_EPOCHS, random_state=SEED)
    with warnings.catch_warnings():  # the quality floor decides whether it learnt enough
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier.fit((table.features - mean) / scale, table.labels)
    return Mlp(mean, scale, *_two_or_more_classes(classifier.coefs_, classifier.intercepts_))


def _two_or_more_classes(
    weights: list[NDArray[Any]], biases: list[NDArray[Any]]
) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """A lone logit z becomes the pair (0, z): its softmax is the sigmoid of z."""
    if weights[-1].shape[1] > 1:
        return weights, biases
    pair = np.pad(weights[-1], ((0, 0), (1, 0)))
    return [*weights[:-1], pair], [*biases[:-1], np.pad(biases[-1], (1, 0))]


def to_onnx(mlp: Mlp) -> ModelProto:
    """The graph: scale, matrix products with ReLU between them, softmax."""
    from onnx import TensorProto, helper, numpy_helper

    constants = {"mean": mlp.mean, "scale": mlp.scale}
    nodes = [
        helper.make_node("Sub", ["row", "mean"], ["centred"], "centre"),
        helper.make_node("Div", ["centred", "scale"], ["scaled"], "scale_row"),
    ]
    value, last = "scaled", len(mlp.weights) - 1
    for number, (weight, bias) in enumerate(zip(mlp.weights, mlp.biases, strict=True)):
        constants[f"weight{number}"], constants[f"bias{number}"] = weight, bias
        inputs = [value, f"weight{number}", f"bias{number}"]
        nodes.append(helper.make_node("Gemm", inputs, [f"sum{number}"], f"layer{number}"))
        value = f"sum{number}"
        if number < last:
            nodes.append(helper.make_node("Relu", [value], [f"active{number}"], f"relu{number}"))
            value = f"active{number}"
    nodes.append(helper.make_node("Softmax", [value], ["probability"], "softmax", axis=-1))

    features, classes = len(mlp.mean), mlp.weights[-1].shape[1]
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("row", TensorProto.FLOAT, ["batch", features])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["batch", classes])],
        [numpy_helper.from_array(a.astype(np.float32), name) for name, a in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])

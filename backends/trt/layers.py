"""Holds what an engine's layers compute in and where, from the JSON of TensorRT's engine inspector.

TensorRT 10 gives a tensor's type and layout in one text ("Format/Datatype"), 11 apart ("DataType",
"Format"); layers are objects only where the engine was built with detailed verbosity, else names. A builder
says the same in lines of text, which is all there is where no GPU can load the engine.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

#: What layers that multiply and add are called: "CaskConvolution", "gemm", "MatrixMultiply", ...
_COMPUTE = re.compile(
    r"conv|correlation|gemm|matrix_?multiply|matmul|fullyconnected|lstm|gru|rnn|mha", re.IGNORECASE
)
#: Kernels made of several layers: what they do stands in their name alone.
_FUSED = re.compile(r"kgen|myelin|fusion|foreign", re.IGNORECASE)
#: Layers that TensorRT adds itself, or that only move and retype data.
_MOVES = re.compile(
    r"reformat|shuffle|constant|cast|quantize|identity|noop|signal|wait|copy", re.IGNORECASE
)
#: From the narrowest to the widest.
_TYPES = (
    (re.compile(r"\bint8\b|_i8", re.IGNORECASE), "int8"),
    (re.compile(r"\bfp8\b|\be4m3", re.IGNORECASE), "fp8"),
    (re.compile(r"\bbf16\b|bfloat16", re.IGNORECASE), "bf16"),
    (re.compile(r"\bfp16\b|\bhalf\b|float16", re.IGNORECASE), "fp16"),
    (re.compile(r"\bfp32\b|\bfloat\b|float32", re.IGNORECASE), "fp32"),
)


@dataclass
class Layers:
    """Counts over an engine's layers."""

    total: int = 0
    detailed: bool = True  # False: the engine tells names only
    compute: dict[str, int] = field(default_factory=dict)  # precision -> compute-heavy layers
    other: dict[str, int] = field(default_factory=dict)  # precision -> layers of other arithmetic
    reformats: int = 0  # layers that move or retype data
    tf32: int = 0  # compute-heavy layers whose kernel's name says TF32
    names: dict[str, list[str]] = field(default_factory=dict)  # precision -> compute-heavy layers

    @property
    def precision(self) -> str | None:
        """Returns the precision of the compute-heavy layers, else of all arithmetic; "mixed" if they differ."""
        kinds = self.compute or self.other
        if not self.detailed or not kinds or "unknown" in kinds:
            return None
        return next(iter(kinds)) if len(kinds) == 1 else "mixed"


def read_layers(text: str) -> Layers:
    """Counts from what `get_engine_information(JSON)` returned."""
    return _counted(json.loads(text).get("Layers", []))


def read_layer_lines(lines: Sequence[str]) -> Layers:
    """Counts from the lines in which a builder tells of the engine that it made."""
    return _counted([layer for line in lines if (layer := _layer_of(line)) is not None])


#: "Name: N, LayerType: T, Inputs: [ { Name: ..., Datatype: Float, ... } ], Constants: [ ... ], Outputs: [ ... ], TacticName: ..."
_LINE = re.compile(
    r"Name: (?P<name>.*?), LayerType: (?P<type>\w+), Inputs: \[(?P<taken>.*?)\](?:, Constants: \[(?P<kept>.*?)\])?"
    r", Outputs: \[(?P<given>.*?)\], TacticName: (?P<tactic>[^,]*)(?:, .*?Metadata: ?(?P<made_of>.*))?"
)
_DATA_TYPE = re.compile(r"Data[tT]ype: (\w+)")


def _layer_of(line: str) -> dict[str, Any] | None:
    """A line as the inspector's JSON has it. A layer's constants are among what it takes in: weights come so."""
    flat = re.sub(r"\[[\d,x -]+\]", "", line)  # shapes and strides: brackets within brackets
    match = _LINE.match(flat)
    if match is None:
        return None
    taken = [match["taken"], match["kept"] or ""]
    return {
        "Name": f"{match['name']} {match['made_of'] or ''}".strip(),
        "LayerType": match["type"],
        "Inputs": [{"DataType": name} for name in _DATA_TYPE.findall(" ".join(taken))],
        "Outputs": [{"DataType": name} for name in _DATA_TYPE.findall(match["given"])],
        "TacticName": match["tactic"],
    }


def _counted(listed: Sequence[Any]) -> Layers:
    layers = Layers(total=len(listed))
    compute: Counter[str] = Counter()
    other: Counter[str] = Counter()
    for layer in listed:
        if not isinstance(layer, dict):
            layers.detailed = False
            continue
        name = str(layer.get("Name", ""))
        kind = " ".join(str(layer.get(key, "")) for key in ("LayerType", "ParameterType"))
        if _COMPUTE.search(kind) or (_FUSED.search(kind) and _COMPUTE.search(name)):
            precision = _precision(layer)
            compute[precision] += 1
            layers.tf32 += precision == "tf32"
            layers.names.setdefault(precision, []).append(name)
        elif _MOVES.search(kind):
            layers.reformats += 1
        elif (precision := _precision(layer)) != "unknown":
            other[precision] += 1
    layers.compute, layers.other = dict(compute), dict(other)
    return layers


def _precision(layer: dict[str, Any]) -> str:
    """The type a layer multiplies in: that of its weights, else the narrowest of its inputs.

    A fused kernel may cast what comes in, hence the narrowest. A whole subgraph in one opaque layer
    ("ForeignNode") tells nothing of its inside.
    """
    if "ForeignNode" in str(layer.get("Name", "")):
        return "unknown"
    weights = layer.get("Weights")
    kind = _named(str(weights.get("Type", ""))) if isinstance(weights, dict) else None
    for tensors in ("Inputs", "Outputs"):
        if kind is None:
            types = {_type_of(tensor) for tensor in layer.get(tensors, [])}
            kind = next((name for _, name in _TYPES if name in types), None)
    if kind == "fp32" and "tf32" in str(layer.get("TacticName", "")).lower():
        return "tf32"
    return kind or "unknown"


def _type_of(tensor: Any) -> str | None:
    if not isinstance(tensor, dict):
        return None
    return _named(str(tensor.get("DataType") or tensor.get("Format/Datatype") or ""))


def _named(text: str) -> str | None:
    return next((name for pattern, name in _TYPES if pattern.search(text)), None)

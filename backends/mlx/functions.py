"""Bodies of operators that ONNX defines as functions of other operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Scope:
    """Holds what names mean in a graph or a function body: operator versions, attributes, functions."""

    opsets: Mapping[str, int]
    functions: Mapping[tuple[str, str], Any] = field(default_factory=dict)  # of the model itself
    attributes: Mapping[str, Any] = field(default_factory=dict)  # AttributeProtos of the caller
    path: str = ""  # of the callers, for error messages


def domain_of(name: str) -> str:
    return "" if name == "ai.onnx" else name


def opsets_of(proto: Any) -> dict[str, int]:
    """Versions of operator sets that a model or function imports."""
    return {domain_of(entry.domain): entry.version for entry in proto.opset_import}


def resolved(node: Any, scope: Scope) -> dict[str, Any]:
    """The node's AttributeProtos by name, references to the caller's attributes followed."""
    import onnx

    bodies: dict[str, Any] = {}
    for attribute in node.attribute:
        if not attribute.ref_attr_name:
            bodies[attribute.name] = attribute
        elif attribute.ref_attr_name in scope.attributes:
            copy = onnx.AttributeProto()
            copy.CopyFrom(scope.attributes[attribute.ref_attr_name])
            copy.name = attribute.name
            bodies[attribute.name] = copy
    return bodies


def schema_of(operator: str, domain: str, opset: int | None) -> Any | None:
    """ONNX's schema of an operator; None where this operator set has none of that name."""
    import onnx

    try:
        return onnx.defs.get_schema(operator, opset or 0, domain)
    except onnx.defs.SchemaError:
        return None


def with_attributes(node: Any, attributes: Mapping[str, Any]) -> Any:
    """A copy of the node with these AttributeProtos instead of its own."""
    import onnx

    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    del copy.attribute[:]
    copy.attribute.extend(attributes.values())
    return copy


def model_function(scope: Scope, domain: str, name: str) -> Any | None:
    """A function that the model brings along."""
    return scope.functions.get((domain, name))


def standard_body(
    schema: Any, node: Any, attributes: Mapping[str, Any], types: Sequence[Any], opset: int
) -> Any | None:
    """The FunctionProto that ONNX gives for this node, or None.

    `types` are the TypeProtos of the inputs, empty for those left out.
    """
    import onnx

    function = onnx.FunctionProto()
    if schema.has_function:
        version = _version(schema.function_opset_versions, opset)
        if version is not None:
            function.ParseFromString(schema.get_function_with_opset_version(version))
            return function
    if schema.has_context_dependent_function:
        version = _version(schema.context_dependent_function_opset_versions, opset)
        if version is None:
            return None
        copy = with_attributes(node, attributes)
        body = schema.get_context_dependent_function_with_opset_version(
            version, copy.SerializeToString(), [t.SerializeToString() for t in types]
        )
        if body:
            function.ParseFromString(body)
            return function
    return None


def with_defaults(schema: Any, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The node's attributes, and the defaults of those it leaves out."""
    filled = {
        name: spec.default_value
        for name, spec in schema.attributes.items()
        if spec.default_value is not None and spec.default_value.type
    }
    filled.update(attributes)
    return filled


def function_attributes(function: Any, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The same for a function of the model, whose defaults stand in its own proto."""
    filled = {proto.name: proto for proto in function.attribute_proto}
    filled.update(attributes)
    return filled


def _version(versions: Sequence[int], opset: int) -> int | None:
    fitting = [version for version in versions if version <= opset]
    return max(fitting) if fitting else None

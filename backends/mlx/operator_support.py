"""Which operators can be served at all, without data: the first look at a model."""

from __future__ import annotations

from typing import Any

from . import functions, structure
from . import operator_registry as registry
from .functions import Scope
from .unsupported import UnsupportedOperator


def check_graph(graph: Any, scope: Scope) -> None:
    """Raises UnsupportedOperator for the first node that no function, body or walk serves."""
    for node in graph.node:
        domain = functions.domain_of(node.domain)
        function = functions.model_function(scope, domain, node.op_type)
        if function is not None:
            inner = Scope({**scope.opsets, **functions.opsets_of(function)}, scope.functions)
            check_graph(function, inner)
            continue
        opset = scope.opsets.get(domain)
        name = node.name or (node.output[0] if node.output else node.op_type)
        schema = functions.schema_of(node.op_type, domain, opset)
        if schema is None:
            why = f"no operator of domain {domain or 'ai.onnx'!r}, opset {opset}"
            raise UnsupportedOperator(name, node.op_type, "operator", why)
        if not _served(schema, domain, node.op_type):
            why = f"not supported (version {schema.since_version})"
            raise UnsupportedOperator(name, node.op_type, "operator", why)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                check_graph(attribute.g, scope)


def _served(schema: Any, domain: str, operator: str) -> bool:
    return (
        operator == "Constant"
        or registry.find(domain, operator, schema.since_version) is not None
        or structure.find(domain, operator) is not None
        or schema.has_function
        or schema.has_context_dependent_function
    )

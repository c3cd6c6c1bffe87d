"""The importer's one refusal."""

from __future__ import annotations

from edgebench.errors import UnsupportedError


class UnsupportedOperator(UnsupportedError):
    """A node that MLX cannot execute with the answer ONNX defines.

    `reason` is one of a few words that group refusals ("operator", "attribute", "type", "shape");
    the message names node, operator and cause.
    """

    def __init__(self, node: str, operator: str, reason: str, why: str) -> None:
        super().__init__(f"node {node!r} ({operator}): {why}")
        self.node = node
        self.operator = operator
        self.reason = reason
        self.why = why

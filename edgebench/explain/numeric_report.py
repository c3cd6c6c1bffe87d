"""Holds what `--numeric` found, as data, `edgebench.explain-numeric/1`."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

NUMERIC_SCHEMA: Final = "edgebench.explain-numeric/1"


class LayerError(msgspec.Struct, frozen=True, kw_only=True):
    """The error of one layer, relative to the size of what the reference writes there."""

    node: str
    tensor: str
    kind: str
    local: float | None  # on the reference's own inputs: what arises here
    accumulated: float | None  # in a run of the whole model: what has grown up to here
    damage: float | None = (
        None  # of the model's outputs, where this layer's local error is the only one
    )


class NumericReport(msgspec.Struct, frozen=True, kw_only=True):
    """Every common layer of a model and its reference, in the order in which they run."""

    schema: Literal["edgebench.explain-numeric/1"] = NUMERIC_SCHEMA
    name: str  # of the deployment
    backend: str
    reference: str  # what it is held against
    items: int
    limit: float  # of a layer's local error
    limit_source: str
    output_error: float  # of the whole model
    first_over: str | None  # the first node whose local error exceeds the limit
    worst: list[str]  # nodes by damage, the most harmful first
    layers: list[LayerError]
    layers_skipped: dict[str, str] = {}  # node -> why nothing is known of it
    notes: list[str] = []

"""ONNX Runtime under several names: cells that are one and the same, so that every ratio is 1."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from edgebench.backend import Capabilities, Option
from edgebench.backends.ort import OrtBackend

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgebench.backend import ModelFile, Scalar, Session


class Aliases(OrtBackend):
    """Takes `alias`, which changes nothing."""

    name = "aliases"
    summary = "ONNX Runtime, with an option that changes nothing"
    capabilities: ClassVar[Capabilities] = replace(
        OrtBackend.capabilities,
        options=(*OrtBackend.capabilities.options, Option("alias", "int", 0, "changes nothing")),
    )

    def open(self, model: ModelFile, options: Mapping[str, Scalar]) -> Session:
        self.capabilities.check(model, options)
        return super().open(model, {k: v for k, v in options.items() if k != "alias"})

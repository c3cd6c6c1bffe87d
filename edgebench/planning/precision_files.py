"""Reads the precision maps that `--set precision=@FILE` names, and keeps each under its hash, which is its name from then on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgebench.assets import cache_dir
from edgebench.backend import Scalar
from edgebench.definitions.typed_values import convert
from edgebench.definitions.yaml_reader import read_yaml
from edgebench.errors import UsageError
from edgebench.models.precision_map import PrecisionMap, keep_map
from edgebench.models.quantization_recipes import RECIPES
from edgebench.text.did_you_mean import did_you_mean

MARK = "@"


def read_map(path: Path) -> PrecisionMap:
    """The map of a file. Raises SpecError with file, line and column, or UsageError where it cannot be read."""
    document = read_yaml(path)
    found = convert(document, PrecisionMap)
    if found.recipe not in RECIPES:
        raise document.error(
            ("recipe",),
            f"no recipe {found.recipe!r} of quantisation{did_you_mean(found.recipe, RECIPES)}",
        )
    method, percentile = found.calibration.method, found.calibration.percentile
    if (method == "percentile") != (percentile is not None):
        raise document.error(
            ("calibration",), "percentile is given with method: percentile, and only there"
        )
    return found


def with_maps(sets: Mapping[str, Sequence[Scalar]]) -> dict[str, list[Scalar]]:
    """The axes of `--set` with each `precision=@FILE` as `mixed:HASH`."""
    return {
        axis: [_precision(value) if axis == "precision" else value for value in values]
        for axis, values in sets.items()
    }


def _precision(value: Scalar) -> Scalar:
    if not isinstance(value, str) or not value.startswith(MARK):
        return value
    name = value.removeprefix(MARK)
    if not name:
        raise UsageError("precision=@ names no file", "--set precision=@FILE.yaml")
    return keep_map(read_map(Path(name).expanduser()), cache_dir())

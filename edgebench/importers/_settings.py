"""Settings of another tool's result as axes of a variant."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from edgebench.backend import Scalar
from edgebench.importers._source import slug


def flat_settings(
    part: Mapping[str, Any],
    axes: Mapping[str, str] | None = None,
    left_out: Collection[str] = (),
    prefix: str = "",
) -> dict[str, Scalar]:
    """Every setting of a part of a result, those of its own parts by their names with a dot.

    `axes` gives settings the name that the axis has elsewhere; `left_out` names what is no setting. Lists stand as
    JSON; what is empty or null is left out.
    """
    axes = axes or {}
    settings: dict[str, Scalar] = {}
    for name, value in part.items():
        axis = axes.get(prefix + str(name), prefix + slug(str(name)))
        if axis in left_out:
            continue
        if isinstance(value, dict):
            settings |= flat_settings(value, axes, left_out, f"{axis}.")
        elif isinstance(value, list) and value:
            settings[axis] = json.dumps(value)
        elif isinstance(value, str | int | float) and value != "":
            settings[axis] = value
    return settings

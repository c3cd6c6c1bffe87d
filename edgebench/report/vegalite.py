"""Vega-Lite by vl-convert: pictures without a browser, and the scripts of the page.

The extra `report` brings it; imported when it is needed.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from edgebench.errors import UsageError

#: Of the versions that vl-convert holds, the one the templates are written for.
VERSION = "6.1"


def _converter() -> Any:
    try:
        import vl_convert
    except ImportError:
        raise UsageError(
            "charts need vl-convert, which is not installed", "pip install 'edgebench[report]'"
        ) from None
    return vl_convert


def require() -> None:
    """Raises UsageError, naming the extra, where vl-convert is not installed."""
    _converter()


@lru_cache(maxsize=1)
def scripts() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that defines `vegaEmbed`."""
    bundle: str = _converter().javascript_bundle(
        "window.vegaEmbed = vegaEmbed;", vl_version=VERSION
    )
    return bundle


def svg(spec: dict[str, Any], config: dict[str, Any]) -> str:
    """The chart as SVG; loads nothing."""
    drawn: str = _converter().vegalite_to_svg(
        spec, vl_version=VERSION, config=config, allowed_base_urls=[]
    )
    return drawn


def png(spec: dict[str, Any], config: dict[str, Any], scale: float = 2.0) -> bytes:
    """The chart as PNG, `scale` pixels a unit; loads nothing."""
    drawn: bytes = _converter().vegalite_to_png(
        spec, vl_version=VERSION, config=config, scale=scale, allowed_base_urls=[]
    )
    return drawn


def png_of(drawing: str, scale: float = 2.0) -> bytes:
    """A drawing in SVG, which names no other file, as PNG of `scale` pixels a unit."""
    drawn: bytes = _converter().svg_to_png(drawing, scale=scale)
    return drawn

"""Which distributions are installed, by their metadata alone: nothing is imported."""

from __future__ import annotations

import importlib.metadata


def installed_version(*distributions: str) -> str | None:
    """The version of the first of these distributions that is installed; None: none is."""
    for distribution in distributions:
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None
